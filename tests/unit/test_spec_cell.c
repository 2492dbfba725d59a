#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "spec/cell.h"

static struct cell make_cell(void)
{
    struct cell cell = {.precision = CELL_PRECISION_BF16,
                        .mode = CELL_MODE_DECODE,
                        .seq_len = 64,
                        .batch_size = 3,
                        .threads_count = 2,
                        .seed = UINT64_MAX,
                        .data = CELL_DATA_TEXT,
                        .engine = "native",
                        .framework = "native",
                        .model_source = "preset",
                        .device = "cpu",
                        .data_path = "/a/b \"c\"",
                        .data_hash = "0123456789abcdef"};
    cell.model = (struct model_spec){.name = "x",
                                     .vocab_size = 100,
                                     .max_seq_len = 64,
                                     .dim = 16,
                                     .layers_count = 1,
                                     .heads_count = 2,
                                     .ffn_hidden = 8,
                                     .experts_count = 2,
                                     .experts_active = 1,
                                     .rotary_dim = 4,
                                     .rotary_base = 10000,
                                     .norm_eps = 1e-6};
    return cell;
}

/* The open message's keys as they go over the wire; the caller's to release. */
static json_t *written(const struct cell *cell)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    json_begin_object(&writer);
    cell_write(cell, &writer);
    json_end_object(&writer);
    json_t *object = json_loads(out.data, 0, NULL);
    cr_assert_not_null(object);
    buf_release(&out);
    return object;
}

Test(spec_cell, open_fields_round_trip)
{
    struct cell cell = make_cell();
    json_t *object = written(&cell);
    struct cell again;
    struct err err = {0};
    cr_assert_eq(cell_read(object, &again, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(memcmp(&cell, &again, sizeof(cell)), 0);

    /* every key is needed: dropping any one is an error, never a default */
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        json_t *less = json_copy(object);
        json_object_del(less, key);
        err = (struct err){0};
        cr_assert_neq(cell_read(less, &again, &err), STATUS_OK, "%s", key);
        json_decref(less);
    }
    json_decref(object);
}

Test(spec_cell, the_id_is_of_the_content_and_not_of_how_its_hash_is_written)
{
    char id[HASH_ID_BYTES];
    char old_id[HASH_ID_BYTES];
    struct cell cell = make_cell();
    struct cell old = make_cell();
    (void)snprintf(cell.data_hash, sizeof(cell.data_hash), "h346306279874e673");
    (void)snprintf(old.data_hash, sizeof(old.data_hash), "346306279874e673");
    (void)snprintf(cell.weights_hash, sizeof(cell.weights_hash), "h0123456789abcdef");
    (void)snprintf(old.weights_hash, sizeof(old.weights_hash), "0123456789abcdef");
    cell_id(&cell, id);
    cell_id(&old, old_id);
    cr_expect_str_eq(id, old_id);
    (void)snprintf(old.weights_hash, sizeof(old.weights_hash), "0123456789abcdee");
    cell_id(&old, old_id);
    cr_expect_str_neq(id, old_id);
}

Test(spec_cell, options_round_trip_and_are_left_out_where_there_are_none)
{
    struct cell cell = make_cell();
    char plain_id[HASH_ID_BYTES];
    char id[HASH_ID_BYTES];
    cell_id(&cell, plain_id);
    for (int step = 0; step < 6; step++) {
        struct cell changed = make_cell();
        if (step == 1)
            (void)snprintf(changed.model_ref, sizeof(changed.model_ref), "mine.model:Mine");
        if (step == 2)
            changed.options.moe = CELL_MOE_PUBLISHED;
        if (step == 3)
            changed.options.compile = CELL_COMPILE_MAX_AUTOTUNE;
        if (step == 4)
            changed.options.source = CELL_SOURCE_BUILTIN;
        if (step == 5)
            (void)snprintf(changed.options.settings_json, sizeof(changed.options.settings_json),
                           "{\"n_layers\":\"2\",\"act\":\"silu\"}");
        if (step == 2)
            changed.options.keeps_defaults = true;
        json_t *object = written(&changed);
        cr_assert_eq(json_object_get(object, "options") != NULL, step >= 2);
        cr_assert_eq(json_object_get(object, "model_ref") != NULL, step == 1);
        struct cell again;
        struct err err = {0};
        cr_assert_eq(cell_read(object, &again, &err), STATUS_OK, "%s", err.text);
        cr_assert_eq(memcmp(&changed, &again, sizeof(changed)), 0, "%d", step);
        cell_id(&changed, id);
        cr_assert_eq(strcmp(id, plain_id) == 0, step == 0, "%d", step);
        json_decref(object);
    }
}

/* Records of years are found by these: a change of one is a change of the schema. */
Test(spec_cell, ids_stay_what_they_are)
{
    struct cell cell = make_cell();
    char id[HASH_ID_BYTES];
    cell_id(&cell, id);
    cr_assert_str_eq(id, "h513ec9d9b0cab429");
    (void)snprintf(cell.model_ref, sizeof(cell.model_ref), "mine.model:Mine");
    cell_id(&cell, id);
    cr_assert_str_eq(id, "he268264d8c61bad4");
    cell = make_cell();
    cell.options.compile = CELL_COMPILE_DEFAULT;
    cell_id(&cell, id);
    cr_assert_str_eq(id, "h8f346911e4fb8245");
    (void)snprintf(cell.options.settings_json, sizeof(cell.options.settings_json),
                   "{\"n_layers\":\"2\"}");
    cell_id(&cell, id);
    cr_assert_str_eq(id, "hec279bd86f59d97b");
}

Test(spec_cell, broken_options_are_refused)
{
    static const char *const broken[] = {
        "{\"options\":[]}",
        "{\"options\":{\"moe\":\"all\"}}",
        "{\"options\":{\"moe\":1}}",
        "{\"options\":{\"compile\":\"on\"}}",
        "{\"model_ref\":7}",
        "{\"options\":{\"set\":\"a=b\"}}",
        "{\"options\":\"\"}",
        "{\"options\":{\"figures\":\"\"}}",
        "{\"options\":{\"lr\":0.1}}",
        "{\"options\":{\"lr\":\"-1\"}}",
        "{\"options\":{\"lr\":\"x\"}}",
    };
    struct cell cell = make_cell();
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        json_t *object = written(&cell);
        json_t *change = json_loads(broken[i], 0, NULL);
        cr_assert_eq(json_object_update(object, change), 0);
        struct cell again;
        struct err err = {0};
        cr_assert_neq(cell_read(object, &again, &err), STATUS_OK, "%s", broken[i]);
        json_decref(change);
        json_decref(object);
    }
}

Test(spec_cell, null_is_absent_where_a_key_may_be)
{
    static const char *const absent[] = {
        "{\"model_ref\":null}",
        "{\"options\":null}",
        "{\"options\":{\"moe\":null,\"set\":null}}",
    };
    struct cell cell = make_cell();
    for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
        json_t *object = written(&cell);
        json_t *change = json_loads(absent[i], 0, NULL);
        cr_assert_eq(json_object_update(object, change), 0);
        struct cell again;
        struct err err = {0};
        cr_assert_eq(cell_read(object, &again, &err), STATUS_OK, "%s: %s", absent[i], err.text);
        cr_assert_eq(memcmp(&cell, &again, sizeof(cell)), 0, "%s", absent[i]);
        json_decref(change);
        json_decref(object);
    }
}

Test(spec_cell, limits_hold)
{
    static const struct {
        const char *key;
        const char *value;
        enum status status;
    } cases[] = {
        {"seq_len", "0", STATUS_INVALID},
        {"seq_len", "65", STATUS_INVALID}, /* over max_seq_len */
        {"batch_size", "4294967295", STATUS_OK},
        {"batch_size", "4294967296", STATUS_INVALID},
        {"batch_size", "2.0", STATUS_INVALID},
        {"threads", "0", STATUS_OK},
        {"threads", "-1", STATUS_INVALID},
        {"seed", "\"18446744073709551615\"", STATUS_OK},
        {"seed", "\"18446744073709551616\"", STATUS_INVALID},
        {"seed", "7", STATUS_INVALID},
        {"data_hash", "\"h0123456789abcdef\"", STATUS_OK},
        {"data_hash", "\"h0123456789abcdef0\"", STATUS_LIMIT},
        {"precision", "\"bf16-pure\"", STATUS_OK},
        {"precision", "\"\"", STATUS_INVALID},
        {"model", "[]", STATUS_INVALID},
    };
    struct cell cell = make_cell();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        json_t *object = written(&cell);
        json_object_set_new(object, cases[i].key,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        struct cell again;
        struct err err = {0};
        cr_assert_eq(cell_read(object, &again, &err), cases[i].status, "%s %s: %s", cases[i].key,
                     cases[i].value, err.text);
        json_decref(object);
    }
}

Test(spec_cell, a_larger_cell_needs_the_memory_of_a_smaller_one)
{
    struct cell small = make_cell();
    small.mode = CELL_MODE_INFER;
    struct cell large = small;
    cr_assert(cell_needs_memory_of(&large, &small));
    large.seq_len *= 2;
    large.model.max_seq_len = large.seq_len;
    cr_assert(cell_needs_memory_of(&large, &small));
    cr_assert_not(cell_needs_memory_of(&small, &large));
    large.mode = CELL_MODE_TRAIN;
    cr_assert(cell_needs_memory_of(&large, &small), "training keeps what inference keeps");
    small.mode = CELL_MODE_TRAIN;
    large.mode = CELL_MODE_INFER;
    cr_assert_not(cell_needs_memory_of(&large, &small));
    large.mode = CELL_MODE_TRAIN;
    large.batch_size--;
    cr_assert_not(cell_needs_memory_of(&large, &small), "longer but fewer rows");
    large = small;
    large.precision = CELL_PRECISION_TF32;
    cr_assert_not(cell_needs_memory_of(&large, &small), "another precision");
    large = small;
    large.model.layers_count++;
    cr_assert_not(cell_needs_memory_of(&large, &small), "another model");
}

Test(spec_cell, id_depends_on_content_and_not_on_paths)
{
    struct cell cell = make_cell();
    char first[HASH_ID_BYTES];
    char second[HASH_ID_BYTES];
    cell_id(&cell, first);
    (void)snprintf(cell.data_path, sizeof(cell.data_path), "/elsewhere");
    cell_id(&cell, second);
    cr_assert_str_eq(first, second);
    cell.batch_size = 4;
    cell_id(&cell, second);
    cr_assert_str_neq(first, second);
    cell.batch_size = 3;
    cell.model.dropout = 0.5;
    cell_id(&cell, second);
    cr_assert_str_neq(first, second);
}

static bool put(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
    return true;
}

/* A row a field: what changes what is measured changes the id, and nothing else does. */
Test(spec_cell, what_changes_the_id)
{
    const struct cell base = make_cell();
    char ids[48][HASH_ID_BYTES];
    size_t count = 0;
    cell_id(&base, ids[count++]);
#define CHANGED(assignment)                                           \
    {                                                                 \
        struct cell cell = base;                                      \
        (void)(assignment);                                           \
        cell_id(&cell, ids[count]);                                   \
        for (size_t i = 0; i < count; i++)                            \
            cr_expect_str_neq(ids[count], ids[i], "%s", #assignment); \
        count++;                                                      \
    }
    CHANGED(put(cell.engine, "other"))
    CHANGED(put(cell.model.name, "other"))
    CHANGED(cell.model.vocab_size++)
    CHANGED(cell.model.max_seq_len++)
    CHANGED(cell.model.dim += 16)
    CHANGED(cell.model.layers_count++)
    CHANGED(cell.model.heads_count++)
    CHANGED(cell.model.ffn_hidden++)
    CHANGED(cell.model.experts_count++)
    CHANGED(cell.model.experts_active++)
    CHANGED(cell.model.rotary_dim++)
    CHANGED(cell.model.rotary_base = 5)
    CHANGED(cell.model.norm_eps = 1)
    CHANGED(cell.model.is_causal = true)
    CHANGED(cell.model.is_head_tied = true)
    CHANGED(cell.model.norm = MODEL_NORM_LAYER)
    CHANGED(cell.model.ffn = MODEL_FFN_GELU)
    CHANGED(put(cell.model_source, "factory"))
    CHANGED(put(cell.model_ref, "a.b:C"))
    CHANGED(cell.options.moe = CELL_MOE_PUBLISHED)
    CHANGED(cell.options.compile = CELL_COMPILE_DEFAULT)
    CHANGED(cell.options.attention = CELL_ATTENTION_FLASH)
    CHANGED(cell.options.source = CELL_SOURCE_BUILTIN)
    CHANGED(cell.options.keeps_defaults = true)
    CHANGED(cell.options.trusts_code = true)
    CHANGED(put(cell.options.learning_rate, "0.001"))
    CHANGED(cell.options.recompute = CELL_RECOMPUTE_FULL)
    CHANGED(cell.options.accumulate_count = 2)
    CHANGED(cell.options.optimizer_dtype = CELL_OPTIMIZER_DTYPE_BF16)
    CHANGED(put(cell.options.settings_json, "{\"a\":1}"))
    CHANGED(put(cell.device, "cuda:0"))
    CHANGED(put(cell.parallel, "fsdp"))
    CHANGED(cell.precision = CELL_PRECISION_INT8)
    CHANGED(cell.mode = CELL_MODE_INFER)
    CHANGED(cell.seq_len++)
    CHANGED(cell.batch_size++)
    CHANGED(cell.threads_count++)
    CHANGED(cell.seed++)
    CHANGED(cell.data = CELL_DATA_UINT32)
    CHANGED(put(cell.data_hash, "hfedcba9876543210"))
    CHANGED(put(cell.weights_hash, "hfedcba9876543210"))
#undef CHANGED
}

Test(spec_cell, that_a_prediction_is_overridden_is_said_but_is_no_part_of_the_id)
{
    struct cell cell = make_cell();
    json_t *object = written(&cell);
    cr_assert_null(json_object_get(object, "memory_check"));
    json_decref(object);
    char first[HASH_ID_BYTES];
    char second[HASH_ID_BYTES];
    cell_id(&cell, first);
    cell.skips_memory_check = true;
    cell_id(&cell, second);
    cr_assert_str_eq(first, second);
    object = written(&cell);
    struct cell again;
    struct err err = {0};
    cr_assert_eq(cell_read(object, &again, &err), STATUS_OK, "%s", err.text);
    cr_assert(again.skips_memory_check);
    json_decref(object);
}

Test(spec_cell, tokens_of_a_step)
{
    struct cell cell = make_cell();
    cr_assert_eq(cell_tokens_per_step(&cell), 3);
    cell.mode = CELL_MODE_TRAIN;
    cr_assert_eq(cell_tokens_per_step(&cell), 192);
}

Test(spec_cell, unknown_words_name_the_nearest)
{
    static const char *const cases[][3] = {{"precision", "bf61", "'bf16'"},
                                           {"mode", "trian", "'train'"},
                                           {"data", "unit16", "'uint16'"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct cell cell = make_cell();
        json_t *object = written(&cell);
        json_object_set_new(object, cases[i][0], json_string(cases[i][1]));
        struct err err = {0};
        cr_assert_eq(cell_read(object, &cell, &err), STATUS_INVALID);
        cr_assert(strstr(err.text, cases[i][2]) != NULL, "%s", err.text);
        json_decref(object);
    }
}

/* One training has one id, however it was asked for; what trains nothing has none of its options.
 */
Test(spec_cell, options_that_say_nothing_new_are_settled)
{
    struct cell plain = {.mode = CELL_MODE_TRAIN};
    struct cell cell = plain;
    cell.options.accumulate_count = 1;
    cell.options.optimizer_dtype = CELL_OPTIMIZER_DTYPE_FP32;
    cell_settle(&cell);
    cr_expect_not(cell_has_options(&cell));
    cr_expect_eq(cell_accumulate(&cell), 1);
    cr_expect_str_eq(cell_optimizer_dtype_name(&cell), "fp32");
    cell.precision = CELL_PRECISION_BF16_PURE;
    cr_expect_str_eq(cell_optimizer_dtype_name(&cell), "bf16");
    cell.options = (struct cell_options){.recompute = CELL_RECOMPUTE_FULL,
                                         .accumulate_count = 4,
                                         .optimizer_dtype = CELL_OPTIMIZER_DTYPE_FP32};
    cell_settle(&cell);
    cr_expect_eq(cell.options.recompute, CELL_RECOMPUTE_FULL);
    cr_expect_eq(cell_accumulate(&cell), 4);
    cr_expect_str_eq(cell_optimizer_dtype_name(&cell), "fp32");
    cell.mode = CELL_MODE_INFER;
    cell_settle(&cell);
    cr_expect_not(cell_has_options(&cell));
}
