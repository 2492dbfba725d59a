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

Test(spec_cell, open_fields_round_trip)
{
    struct cell cell = make_cell();
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    json_begin_object(&writer);
    cell_write(&cell, &writer);
    json_end_object(&writer);
    json_t *object = json_loads(out.data, 0, NULL);
    cr_assert_not_null(object);
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
    buf_release(&out);
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

Test(spec_cell, tokens_of_a_step)
{
    struct cell cell = make_cell();
    cr_assert_eq(cell_tokens_per_step(&cell), 3);
    cell.mode = CELL_MODE_TRAIN;
    cr_assert_eq(cell_tokens_per_step(&cell), 192);
}

Test(spec_cell, unknown_words_name_the_nearest)
{
    enum cell_precision precision = CELL_PRECISION_FP32;
    struct err err = {0};
    cr_assert_eq(cell_precision_parse("bfloat16", &precision, &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "'bf16'") != NULL, "%s", err.text);
    enum cell_mode mode = CELL_MODE_INFER;
    err = (struct err){0};
    cr_assert_eq(cell_mode_parse("trian", &mode, &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "'train'") != NULL, "%s", err.text);
}
