#include <math.h>

#include "data/check_files.h"
#include "data/safetensors.h"
#include "data/tokens.h"
#include "scratch.h"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, "file.safetensors");
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(data_check_files, .init = set_up, .fini = tear_down);

static struct cell small_cell(void)
{
    struct cell cell = {.seq_len = 5, .batch_size = 3, .seed = 7, .data = CELL_DATA_SYNTHETIC};
    cell.model = (struct model_spec){.vocab_size = 50,
                                     .max_seq_len = 5,
                                     .dim = 16,
                                     .layers_count = 2,
                                     .heads_count = 2,
                                     .ffn_hidden = 24,
                                     .experts_count = 4,
                                     .experts_active = 2,
                                     .rotary_dim = 4,
                                     .norm_eps = 1e-6,
                                     .rotary_base = 10000.0,
                                     .norm = MODEL_NORM_RMS,
                                     .ffn = MODEL_FFN_MOE_SWIGLU};
    return cell;
}

static struct safetensors *made(const struct model_spec *spec, uint64_t seed)
{
    struct safetensors *file = NULL;
    struct err err = {0};
    cr_assert_eq(check_files_weights(path, spec, seed, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(safetensors_open(path, &file, &err), STATUS_OK, "%s", err.text);
    return file;
}

Test(data_check_files, weights_are_whole_and_nothing_in_them_is_zero)
{
    const struct cell cell = small_cell();
    struct safetensors *file = made(&cell.model, 7);
    cr_assert_eq(safetensors_count(file), model_tensors_count(&cell.model));
    for (uint32_t i = 0; i < model_tensors_count(&cell.model); i++) {
        struct model_tensor wanted;
        model_tensor_at(&cell.model, i, &wanted);
        const struct safetensors_tensor *found = safetensors_find(file, wanted.name);
        cr_assert_not_null(found, "%s", wanted.name);
        cr_assert_eq(found->dims_count, wanted.dims_count);
        cr_assert_eq(found->elements_count, wanted.elements_count);
        float *values = calloc(found->elements_count, sizeof(*values));
        cr_assert_eq(safetensors_copy_f32(found, values, NULL), STATUS_OK);
        for (uint64_t at = 0; at < found->elements_count; at++)
            cr_assert(isfinite(values[at]) && fabsf(values[at]) > 0.0f, "%s", wanted.name);
        free(values);
    }
    safetensors_close(file);
}

/* For the tokens of a vocabulary, layer 0: the gate's largest entries lie where the embedding's do.
 */
Test(data_check_files, experts_are_chosen_with_a_margin)
{
    const struct cell cell = small_cell();
    struct safetensors *file = made(&cell.model, 7);
    static float embedding[50 * 16];
    static float gate[4 * 16];
    cr_assert_eq(
        safetensors_copy_f32(safetensors_find(file, "token_embedding.weight"), embedding, NULL),
        STATUS_OK);
    cr_assert_eq(
        safetensors_copy_f32(safetensors_find(file, "layers.0.moe.gate.weight"), gate, NULL),
        STATUS_OK);
    safetensors_close(file);
    for (unsigned token = 0; token < 50; token++)
        for (unsigned expert = 0; expert < 4; expert++) {
            double sum = 0;
            for (unsigned i = 0; i < 16; i++)
                sum += (double)embedding[token * 16 + i] * (double)gate[expert * 16 + i];
            bool is_chosen = (expert + 4 - token % 4) % 4 < 2;
            cr_expect_eq(sum > 8.0, is_chosen, "token %u expert %u: %g", token, expert, sum);
        }
}

Test(data_check_files, a_seed_gives_one_file_and_another_seed_another)
{
    const struct cell cell = small_cell();
    char first[HASH_ID_BYTES], again[HASH_ID_BYTES], other[HASH_ID_BYTES];
    safetensors_close(made(&cell.model, 7));
    cr_assert_eq(tokens_hash_file(path, first, NULL), STATUS_OK);
    safetensors_close(made(&cell.model, 7));
    cr_assert_eq(tokens_hash_file(path, again, NULL), STATUS_OK);
    safetensors_close(made(&cell.model, 8));
    cr_assert_eq(tokens_hash_file(path, other, NULL), STATUS_OK);
    cr_assert_str_eq(first, again);
    cr_assert_str_neq(first, other);
}

Test(data_check_files, nudged_weights_differ_in_their_last_place_only)
{
    const struct cell cell = small_cell();
    char nudged_path[FILE_PATH_BYTES];
    struct safetensors *file = made(&cell.model, 7);
    struct safetensors *nudged = NULL;
    struct err err = {0};
    uint64_t up_count = 0, count = 0;
    scratch_path(nudged_path, dir, "nudged.safetensors");
    cr_assert_eq(check_files_nudge(path, nudged_path, 1, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(safetensors_open(nudged_path, &nudged, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(safetensors_count(nudged), safetensors_count(file));
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *one = safetensors_at(file, i);
        const struct safetensors_tensor *other = safetensors_at(nudged, i);
        cr_assert_str_eq(one->name, other->name);
        cr_assert_eq(one->dims_count, other->dims_count);
        cr_assert_arr_eq(one->dims, other->dims, sizeof(one->dims));
        for (uint64_t at = 0; at < one->elements_count; at++) {
            float a, b;
            memcpy(&a, (const char *)one->data + at * sizeof(a), sizeof(a));
            memcpy(&b, (const char *)other->data + at * sizeof(b), sizeof(b));
            bool is_up = b > a;
            cr_assert_eq(b, nextafterf(a, is_up ? INFINITY : -INFINITY), "%s %g", one->name,
                         (double)a);
            up_count += is_up;
            count++;
        }
    }
    cr_expect(up_count > count * 2 / 5 && up_count < count * 3 / 5, "up and down by lot");
    safetensors_close(nudged);
    safetensors_close(file);
}

Test(data_check_files, the_batch_is_step_0)
{
    const struct cell cell = small_cell();
    struct tokens *tokens = NULL;
    uint32_t inputs[15], targets[15];
    int32_t found[15];
    struct err err = {0};
    cr_assert_eq(tokens_open(&cell, &tokens, &err), STATUS_OK, "%s", err.text);
    tokens_batch(tokens, 0, inputs, targets);
    tokens_close(tokens);
    cr_assert_eq(check_files_batch(path, &cell, &err), STATUS_OK, "%s", err.text);
    struct safetensors *file = NULL;
    cr_assert_eq(safetensors_open(path, &file, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(safetensors_find(file, "tokens")->dims[0], 3);
    cr_assert_eq(safetensors_find(file, "tokens")->dims[1], 5);
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "tokens"), found, &err), STATUS_OK);
    cr_assert_arr_eq(found, inputs, sizeof(inputs));
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "targets"), found, &err), STATUS_OK);
    cr_assert_arr_eq(found, targets, sizeof(targets));
    safetensors_close(file);
}

Test(data_check_files, a_folder_that_is_not_there_is_an_error)
{
    const struct cell cell = small_cell();
    struct err err = {0};
    cr_assert_eq(check_files_weights("/nonexistent/w", &cell.model, 0, &err), STATUS_IO);
    cr_assert_eq(check_files_batch("/nonexistent/w", &cell, &err), STATUS_IO);
}
