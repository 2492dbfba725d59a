#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "spec/model.h"

static struct model_spec superintelligence(void)
{
    return (struct model_spec){.name = "superintelligence",
                               .vocab_size = 64000,
                               .max_seq_len = 128,
                               .dim = 2048,
                               .layers_count = 24,
                               .heads_count = 16,
                               .ffn_hidden = 8192,
                               .experts_count = 8,
                               .experts_active = 2,
                               .rotary_dim = 32,
                               .rotary_base = 10000,
                               .dropout = 0.1,
                               .norm_eps = 1e-6,
                               .norm = MODEL_NORM_RMS,
                               .ffn = MODEL_FFN_MOE_SWIGLU};
}

static struct model_spec gpt2(void)
{
    return (struct model_spec){.name = "gpt2-124m",
                               .vocab_size = 50257,
                               .max_seq_len = 1024,
                               .dim = 768,
                               .layers_count = 12,
                               .heads_count = 12,
                               .ffn_hidden = 3072,
                               .experts_count = 1,
                               .experts_active = 1,
                               .rotary_base = 10000,
                               .dropout = 0.1,
                               .norm_eps = 1e-5,
                               .norm = MODEL_NORM_LAYER,
                               .ffn = MODEL_FFN_GELU,
                               .is_causal = true,
                               .is_head_tied = true};
}

Test(spec_model, parameter_counts_are_the_published_ones)
{
    struct model_spec spec = superintelligence();
    /* "10,333 M parameters", with max_seq_len set to the cell's seq_len */
    cr_assert_eq((model_params_total(&spec) + 500000) / 1000000, 10333);
    /* GPT-2 124M: 124,439,808 (the count of OpenAI's released checkpoint) */
    spec = gpt2();
    cr_assert_eq(model_params_total(&spec), 124439808);
    cr_assert_eq(model_params_active(&spec), 124439808);
}

Test(spec_model, active_parameters_leave_out_six_of_eight_experts)
{
    struct model_spec spec = superintelligence();
    uint64_t expert = 3ull * 2048 * 8192 + 2 * 8192 + 2048;
    cr_assert_eq(model_params_total(&spec) - model_params_active(&spec), 24 * 6 * expert);
}

Test(spec_model, state_dict_names_are_the_published_ones)
{
    struct model_spec spec = superintelligence();
    const char *const wanted[] = {"token_embedding.weight",
                                  "position_embedding",
                                  "layers.0.norm1.weight",
                                  "layers.0.attn.qkv_proj.weight",
                                  "layers.0.attn.qkv_proj.bias",
                                  "layers.0.attn.out_proj.weight",
                                  "layers.0.attn.out_proj.bias",
                                  "layers.0.norm2.weight",
                                  "layers.0.moe.gate.weight",
                                  "layers.0.moe.experts.0.ffn.w1.weight",
                                  "layers.0.moe.experts.0.ffn.w1.bias",
                                  "layers.0.moe.experts.0.ffn.w2.weight",
                                  "layers.0.moe.experts.0.ffn.w2.bias",
                                  "layers.0.moe.experts.0.ffn.w3.weight",
                                  "layers.0.moe.experts.0.ffn.w3.bias",
                                  "layers.0.moe.experts.1.ffn.w1.weight"};
    struct model_tensor tensor;
    for (uint32_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        model_tensor_at(&spec, i, &tensor);
        cr_assert_str_eq(tensor.name, wanted[i]);
    }
    uint32_t count = model_tensors_count(&spec);
    model_tensor_at(&spec, count - 2, &tensor);
    cr_assert_str_eq(tensor.name, "norm.weight");
    model_tensor_at(&spec, count - 1, &tensor);
    cr_assert_str_eq(tensor.name, "lm_head.weight");
    cr_assert_eq(tensor.dims[0], 64000);
    cr_assert_eq(tensor.dims[1], 2048);
}

Test(spec_model, flops_of_gpt2_match_the_known_figure)
{
    struct model_spec spec = gpt2();
    /* 0.247 GFLOP a token forward with all logits, without the matmuls of attention */
    double flops = model_forward_flops(&spec, 1, 0);
    cr_assert(flops > 0.2465e9 && flops < 0.2475e9, "%g", flops);
}

Test(spec_model, json_round_trip_and_nearest_key)
{
    struct model_spec spec = gpt2();
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    model_spec_write(&spec, &writer);
    json_t *object = json_loads(out.data, 0, NULL);
    struct model_spec again = {0};
    struct err err = {0};
    cr_assert_eq(model_spec_read(object, &again, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(memcmp(&spec, &again, sizeof(spec)), 0);
    cr_assert_eq(model_spec_set(&again, "heads_cuont", "4", &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "heads_count") != NULL, "%s", err.text);
    json_decref(object);
    buf_release(&out);
}

Test(spec_model, impossible_models_name_the_nearest_possible)
{
    struct model_spec spec = superintelligence();
    struct err err = {0};
    spec.heads_count = 15;
    cr_assert_eq(model_spec_validate(&spec, &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "is 16") != NULL, "%s", err.text);
    spec = superintelligence();
    err = (struct err){0};
    cr_assert_eq(model_spec_set(&spec, "dim", "0", &err), STATUS_INVALID);
    cr_assert_eq(spec.dim, 2048);
    err = (struct err){0};
    cr_assert_eq(model_spec_set(&spec, "dropout", "nan", &err), STATUS_INVALID);
}

Test(spec_model, a_model_that_validates_can_be_read_back_from_its_own_text)
{
    struct model_spec spec = gpt2();
    spec.rotary_base = 0; /* left out of a hand-written file: nothing rotates, so it seems to do */
    struct err err = {0};
    cr_assert_eq(model_spec_validate(&spec, &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "rotary_base") != NULL, "%s", err.text);
}

/* What a model's file says in another type than its own is refused, and never read as something. */
Test(spec_model, a_value_of_another_type_is_refused)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"[]", "must be a JSON object"},
        {"{\"dim\": \"4\"}", "dim must be a number"},
        {"{\"dim\": true}", "dim must be a number"},
        {"{\"dim\": 4.5}", "dim must be a whole number; try 4"},
        {"{\"dim\": 0}", "dim cannot be 0; the nearest is 1"},
        {"{\"dim\": 1048577}", "dim cannot be 1048577; the nearest is 1048576"},
        {"{\"dropout\": null}", "dropout must be a number"},
        {"{\"is_causal\": 1}", "is_causal must be a boolean"},
        {"{\"is_causal\": \"true\"}", "is_causal must be a boolean"},
        {"{\"norm\": 1}", "norm must be a word"},
        {"{\"norm\": true}", "norm must be a word"},
        {"{\"ffn\": null}", "ffn must be a word"},
        {"{\"norm\": \"rmss\"}", "norm cannot be 'rmss'; did you mean 'rms'?"},
        {"{\"name\": 3}", "a model has no 'name'"},
    };
    const struct model_spec before = gpt2();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct model_spec spec = before;
        struct err err = {0};
        json_t *object = json_loads(cases[i].text, 0, NULL);
        cr_assert_not_null(object);
        cr_expect_eq(model_spec_read(object, &spec, &err), STATUS_INVALID, "%s", cases[i].text);
        cr_expect_not_null(strstr(err.text, cases[i].wanted), "%s: %s", cases[i].text, err.text);
        cr_expect_eq(memcmp(&spec, &before, sizeof(spec)), 0, "%s", cases[i].text);
        json_decref(object);
    }
}

/* `--set`: a text for each type, and one that is none. */
Test(spec_model, a_setting_is_read_by_its_type)
{
    static const struct {
        const char *key, *value, *wanted; /* NULL: it is taken */
    } cases[] = {
        {"dim", "512", NULL},
        {"dropout", "0.25", NULL},
        {"is_causal", "true", NULL},
        {"is_head_tied", "false", NULL},
        {"norm", "layer", NULL},
        {"ffn", "gelu", NULL},
        {"dim", "4.5", "dim must be a whole number; try 4"},
        {"dim", "4x", ""},
        {"is_causal", "1", "is_causal cannot be '1'"},
        {"is_causal", "treu", "did you mean 'true'?"},
        {"norm", "gelu", "norm cannot be 'gelu'"},
        {"ffn", "layer", "ffn cannot be 'layer'"},
    };
    struct model_spec spec = superintelligence();
    spec.is_head_tied = true;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = {0};
        enum status status = model_spec_set(&spec, cases[i].key, cases[i].value, &err);
        cr_expect_eq(status, cases[i].wanted == NULL ? STATUS_OK : STATUS_INVALID, "%s=%s",
                     cases[i].key, cases[i].value);
        cr_expect_not_null(strstr(err.text, cases[i].wanted == NULL ? "" : cases[i].wanted), "%s",
                           err.text);
    }
    cr_expect_eq(spec.dim, 512);
    cr_expect_eq(spec.dropout, 0.25);
    cr_expect(spec.is_causal);
    cr_expect_not(spec.is_head_tied);
    cr_expect_eq(spec.norm, MODEL_NORM_LAYER);
    cr_expect_eq(spec.ffn, MODEL_FFN_GELU);
    cr_expect(model_spec_has("norm_eps"));
    cr_expect_not(model_spec_has("norm_epsilon"));
}

/* Each rule on both sides of its bound. */
Test(spec_model, a_model_is_refused_by_one_rule_at_a_time)
{
    static const struct {
        const char *key, *value, *wanted; /* NULL: the model is one */
    } cases[] = {
        {"vocab_size", "2", NULL},
        {"heads_count", "2048", NULL}, /* but for rotary_dim, which is set to 0 below */
        {"rotary_dim", "128", NULL},
        {"rotary_dim", "130", "the nearest is 128"},
        {"rotary_dim", "31", "the nearest is 30"},
        {"heads_count", "24", "the nearest that does is 16"},
        {"heads_count", "31", "the nearest that does is 32"},
        {"experts_active", "8", NULL},
        {"experts_active", "9", "from 1 to experts_count 8"},
        {"ffn", "gelu", "experts_count and experts_active must be 1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct model_spec spec = superintelligence();
        struct err err = {0};
        cr_assert_eq(model_spec_set(&spec, cases[i].key, cases[i].value, &err), STATUS_OK, "%s",
                     err.text);
        if (spec.heads_count == 2048)
            spec.rotary_dim = 0;
        enum status status = model_spec_validate(&spec, &err);
        cr_expect_eq(status, cases[i].wanted == NULL ? STATUS_OK : STATUS_INVALID, "%s=%s: %s",
                     cases[i].key, cases[i].value, err.text);
        cr_expect_not_null(strstr(err.text, cases[i].wanted == NULL ? "" : cases[i].wanted), "%s",
                           err.text);
    }
}

/* A setting that was not given is 0; each that must be is asked for. */
Test(spec_model, what_must_be_given_is_asked_for)
{
    const struct model_spec whole = superintelligence();
    struct model_spec spec;
    uint32_t *const must[] = {&spec.vocab_size,    &spec.max_seq_len, &spec.dim,
                              &spec.layers_count,  &spec.heads_count, &spec.ffn_hidden,
                              &spec.experts_active};
    for (size_t i = 0; i < ARRAY_COUNT(must); i++) {
        spec = whole;
        cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_OK);
        *must[i] = 0;
        cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_INVALID, "%zu", i);
    }
    spec = whole;
    spec.vocab_size = 1;
    cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_INVALID);
    static const double no_dropout[] = {-0.01, 1, (double)NAN};
    for (size_t i = 0; i < ARRAY_COUNT(no_dropout); i++) {
        spec = whole;
        spec.dropout = no_dropout[i];
        cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_INVALID, "%g", no_dropout[i]);
    }
    spec = whole;
    spec.dropout = 0;
    cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_OK);
    spec.ffn = MODEL_FFN_GELU;
    spec.experts_count = 1;
    cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_INVALID, "two of one are active");
    spec.experts_active = 1;
    cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_OK);
    spec.experts_count = 2;
    cr_expect_eq(model_spec_validate(&spec, NULL), STATUS_INVALID, "gelu has one expert");
}
