#include <math.h>

#include "data/safetensors.h"
#include "drive/check_output.h"
#include "scratch.h"

#define ENTRIES_MAX 256

static char dir[FILE_PATH_BYTES];
static char output[FILE_PATH_BYTES];
static char reference[FILE_PATH_BYTES];
static struct cell cell;
static struct check_job job;

/* A worker's output that a test can spoil before it is written. */
static struct safetensors_entry entries[ENTRIES_MAX];
static char names[ENTRIES_MAX][128];
static size_t entries_count;

static void add(const char *prefix, const char *name, unsigned dims_count, const uint64_t *dims)
{
    uint64_t count = 1;
    struct safetensors_entry *entry = &entries[entries_count];
    (void)snprintf(names[entries_count], sizeof(names[0]), "%s%s", prefix, name);
    *entry = (struct safetensors_entry){
        .name = names[entries_count], .dtype = "F32", .dims_count = dims_count};
    for (unsigned i = 0; i < dims_count; i++) {
        entry->dims[i] = dims[i];
        count *= dims[i];
    }
    float *values = calloc(count, sizeof(*values));
    for (uint64_t i = 0; i < count; i++)
        values[i] = 0.5f + (float)((i * 7 + entries_count) % 13) / 8.0f;
    entry->data = values;
    entries_count++;
}

static void fill(void)
{
    const struct model_spec *spec = &cell.model;
    add("", "logits", 3, (const uint64_t[]){cell.batch_size, cell.seq_len, spec->vocab_size});
    add("", "loss", 1, (const uint64_t[]){1});
    for (uint32_t i = 0; i < model_tensors_count(spec); i++) {
        struct model_tensor tensor;
        model_tensor_at(spec, i, &tensor);
        add("weight.", tensor.name, tensor.dims_count, tensor.dims);
        add("grad.", tensor.name, tensor.dims_count, tensor.dims);
        add("param.", tensor.name, tensor.dims_count, tensor.dims);
    }
}

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(output, dir, "output");
    scratch_path(reference, dir, "reference");
    cell = (struct cell){.seq_len = 4, .batch_size = 2, .mode = CELL_MODE_TRAIN};
    cell.model = (struct model_spec){.vocab_size = 11,
                                     .max_seq_len = 4,
                                     .dim = 8,
                                     .layers_count = 1,
                                     .heads_count = 2,
                                     .ffn_hidden = 6,
                                     .experts_count = 2,
                                     .experts_active = 1,
                                     .rotary_dim = 2,
                                     .norm = MODEL_NORM_RMS,
                                     .ffn = MODEL_FFN_MOE_SWIGLU};
    job = (struct check_job){
        .cell = &cell, .output_path = output, .steps_path = output, .train_steps = 1};
    fill();
    cr_assert_eq(safetensors_write(reference, entries, entries_count, NULL), STATUS_OK);
}

static void tear_down(void)
{
    for (size_t i = 0; i < entries_count; i++)
        free((void *)(uintptr_t)entries[i].data);
    scratch_free(dir);
}

TestSuite(drive_check_output, .init = set_up, .fini = tear_down);

static size_t index_of(const char *name)
{
    size_t i = 0;
    while (i < entries_count && strcmp(names[i], name) != 0)
        i++;
    cr_assert_lt(i, entries_count, "%s", name);
    return i;
}

static float *values_of(const char *name)
{
    return (float *)(uintptr_t)entries[index_of(name)].data;
}

static void drop(const char *name)
{
    size_t at = index_of(name);
    free((void *)(uintptr_t)entries[at].data);
    entries_count--;
    for (size_t i = at; i < entries_count; i++) {
        memcpy(names[i], names[i + 1], sizeof(names[0]));
        entries[i] = entries[i + 1];
        entries[i].name = names[i];
    }
}

static struct reasons verify(bool *ret_has_weights)
{
    struct reasons reasons = {0};
    struct err err = {0};
    cr_assert_eq(check_output_verify(&job, &reasons, ret_has_weights, &err), STATUS_OK, "%s",
                 err.text);
    return reasons;
}

static struct reasons write_and_verify(void)
{
    bool has_weights = false;
    cr_assert_eq(safetensors_write(output, entries, entries_count, NULL), STATUS_OK);
    return verify(&has_weights);
}

static void expect_reason(const struct reasons *reasons, const char *code, const char *words)
{
    for (size_t i = 0; i < reasons->count; i++)
        if (strcmp(reasons->items[i].code, code) == 0) {
            cr_expect_not_null(strstr(reasons->items[i].text, words), "%s", reasons->items[i].text);
            return;
        }
    cr_expect(false, "no reason %s", code);
}

Test(drive_check_output, a_whole_output_is_fine_with_and_without_weights)
{
    bool has_weights = false;
    cr_assert_eq(write_and_verify().count, 0);
    cr_assert_eq(verify(&has_weights).count, 0);
    cr_assert(has_weights);
    for (uint32_t i = 0; i < model_tensors_count(&cell.model); i++) {
        struct model_tensor tensor;
        char name[128];
        model_tensor_at(&cell.model, i, &tensor);
        (void)snprintf(name, sizeof(name), "weight.%s", tensor.name);
        drop(name);
    }
    cr_assert_eq(write_and_verify().count, 0);
    cr_assert_eq(verify(&has_weights).count, 0);
    cr_assert_not(has_weights);
}

Test(drive_check_output, only_what_the_mode_gives_is_due)
{
    entries_count = 2; /* logits and loss; the others leak with the process */
    struct reasons reasons = write_and_verify();
    expect_reason(&reasons, "bad_output", "did not write 'grad.token_embedding.weight'");
    cell.mode = CELL_MODE_INFER;
    cr_assert_eq(write_and_verify().count, 0);
}

Test(drive_check_output, what_is_missing_or_misshapen_is_named)
{
    drop("param.norm.weight");
    struct reasons reasons = write_and_verify();
    expect_reason(&reasons, "bad_output", "did not write 'param.norm.weight'");
    entries[index_of("grad.layers.0.moe.gate.weight")].dims[0] = 1;
    reasons = write_and_verify();
    expect_reason(&reasons, "bad_output",
                  "'grad.layers.0.moe.gate.weight' of shape [1, 8]; [2, 8] is due");
}

Test(drive_check_output, leading_dimensions_of_1_are_taken_as_absent)
{
    struct safetensors_entry *entry = &entries[index_of("grad.position_embedding")];
    entry->dims_count = 3;
    memcpy(entry->dims, (const uint64_t[]){1, 4, 8}, 3 * sizeof(uint64_t));
    cr_assert_eq(write_and_verify().count, 0);
    memcpy(entry->dims, (const uint64_t[]){4, 8, 1}, 3 * sizeof(uint64_t));
    cr_assert_eq(write_and_verify().count, 1);
}

Test(drive_check_output, another_type_and_values_that_are_not_finite_are_named)
{
    entries[index_of("logits")].dtype = "I32";
    struct reasons reasons = write_and_verify();
    expect_reason(&reasons, "bad_output", "'logits' as I32; F32 is due");
    entries[index_of("logits")].dtype = "F32";
    values_of("grad.norm.weight")[3] = NAN;
    values_of("grad.norm.weight")[5] = -INFINITY;
    reasons = write_and_verify();
    expect_reason(&reasons, "nonfinite", "'grad.norm.weight' holds 2 of 8 values");
}

Test(drive_check_output, no_file_and_no_safetensors_are_said)
{
    bool has_weights = false;
    struct reasons reasons = verify(&has_weights);
    expect_reason(&reasons, "bad_output", "No such file");
    scratch_write_text(dir, "output", "this is no such file");
    reasons = verify(&has_weights);
    expect_reason(&reasons, "bad_output", "cannot be read");
}

static struct check_comparison compare(bool has_weights)
{
    struct check_comparison comparison;
    struct check_job due = job;
    due.output_path = reference;
    due.steps_path = reference;
    struct err err = {0};
    cr_assert_eq(safetensors_write(output, entries, entries_count, NULL), STATUS_OK);
    cr_assert_eq(check_output_compare(&job, &due, has_weights, &comparison, &err), STATUS_OK, "%s",
                 err.text);
    return comparison;
}

Test(drive_check_output, equal_outputs_pass_in_every_kind)
{
    struct check_comparison comparison = compare(true);
    uint32_t count = model_tensors_count(&cell.model);
    for (int i = 0; i < PARITY_KINDS_COUNT; i++) {
        cr_expect(comparison.kinds[i].is_compared);
        cr_expect_eq(comparison.kinds[i].worst.error, 0.0);
        bool is_one = i == PARITY_LOGITS || i == PARITY_LOSS;
        cr_expect_eq(comparison.kinds[i].tensors_count, is_one ? 1 : count);
    }
    cr_expect_not(check_comparison_has_failed(&comparison));
    comparison = compare(false);
    cr_expect_not(comparison.kinds[PARITY_WEIGHTS].is_compared);
}

Test(drive_check_output, the_tensor_that_differs_is_named)
{
    float *values = values_of("grad.layers.0.moe.experts.1.ffn.w2.weight");
    values[7] *= 1.01f;
    values_of("weight.lm_head.weight")[0] *= 1.0001f;
    struct check_comparison comparison = compare(true);
    const struct check_kind *gradients = &comparison.kinds[PARITY_GRADIENTS];
    cr_expect(check_comparison_has_failed(&comparison));
    cr_expect_eq(gradients->over_count, 1);
    cr_expect_str_eq(gradients->worst.name, "layers.0.moe.experts.1.ffn.w2.weight");
    cr_expect_str_eq(gradients->over[0].name, "layers.0.moe.experts.1.ffn.w2.weight");
    cr_expect(gradients->worst.error > 1e-3 && gradients->worst.error < 1.1e-2);
    /* Weights must be equal to the last bit. */
    cr_expect_eq(comparison.kinds[PARITY_WEIGHTS].over_count, 1);
    cr_expect_str_eq(comparison.kinds[PARITY_WEIGHTS].over[0].name, "lm_head.weight");
    cr_expect_eq(comparison.kinds[PARITY_LOGITS].over_count, 0);
    cell.precision = CELL_PRECISION_BF16_PURE; /* which rounds them */
    comparison = compare(true);
    cr_expect_not(check_comparison_has_failed(&comparison));
}

Test(drive_check_output, more_than_can_be_named_are_counted)
{
    for (size_t i = 0; i < entries_count; i++)
        if (strncmp(names[i], "grad.", 5) == 0)
            ((float *)(uintptr_t)entries[i].data)[0] += 1.0f;
    struct check_comparison comparison = compare(true);
    cr_expect_eq(comparison.kinds[PARITY_GRADIENTS].over_count, model_tensors_count(&cell.model));
    cr_expect_gt(model_tensors_count(&cell.model), CHECK_OVER_MAX);
    cr_expect_str_eq(comparison.kinds[PARITY_GRADIENTS].over[0].name, "token_embedding.weight");
}

/* dim 8, heads of 4, rotary 2: of q k v (3 x 8) the elements 8 .. 15 are k; of each head the last
 * two are reached by no rotation. */
Test(drive_check_output, the_key_bias_that_has_no_effect_counts_for_nothing)
{
    float *bias = values_of("param.layers.0.attn.qkv_proj.bias");
    bias[8 + 2] += 1.0f;
    bias[8 + 3] += 1.0f;
    bias[8 + 6] += 1.0f;
    bias[8 + 7] += 1.0f;
    struct check_comparison comparison = compare(true);
    cr_expect_not(check_comparison_has_failed(&comparison));
    const size_t counted[] = {2, 7, 8, 9, 12, 13, 16, 19, 23};
    for (size_t i = 0; i < ARRAY_COUNT(counted); i++) {
        bias[counted[i]] += 1.0f;
        comparison = compare(true);
        cr_expect_eq(comparison.kinds[PARITY_PARAMETERS].over_count, 1, "element %zu", counted[i]);
        bias[counted[i]] -= 1.0f;
    }
}
