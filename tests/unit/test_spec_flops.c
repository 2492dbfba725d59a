#include <criterion/criterion.h>
#include <math.h>

#include "spec/flops.h"

/* GPT-2 124M, as published. */
static struct cell gpt2(enum cell_mode mode, uint32_t seq_len, uint32_t batch_size)
{
    return (struct cell){.mode = mode,
                         .seq_len = seq_len,
                         .batch_size = batch_size,
                         .model = {.vocab_size = 50257,
                                   .max_seq_len = seq_len,
                                   .dim = 768,
                                   .layers_count = 12,
                                   .heads_count = 12,
                                   .ffn_hidden = 3072,
                                   .experts_count = 1,
                                   .experts_active = 1,
                                   .norm = MODEL_NORM_LAYER,
                                   .ffn = MODEL_FFN_GELU,
                                   .is_causal = true,
                                   .is_head_tied = true}};
}

/* nanoGPT's estimate_mfu(): 6 N + 12 L H Q T a token, N all parameters but the positions; its N for
 * GPT-2 is 123.65 M, which it prints. It counts norms and biases as if they multiplied. */
Test(spec_flops, nanogpt_s_formula_agrees)
{
    struct cell cell = gpt2(CELL_MODE_TRAIN, 1024, 12);
    double n = 123.65e6;
    double theirs = (6 * n + 12.0 * 12 * 12 * 64 * 1024) * 1024 * 12;
    double ours = flops_step(&cell, FLOPS_MODEL);
    cr_expect_lt(fabs(ours / theirs - 1), 0.002, "%.4f", ours / theirs);
    cr_expect_lt(ours, theirs);
}

Test(spec_flops, a_causal_mask_leaves_half_of_attention)
{
    struct cell cell = gpt2(CELL_MODE_INFER, 1024, 1);
    double attention = 4.0 * 12 * 768 * 1024 * 1024;
    double left = 0; /* token i looks at i tokens */
    for (int i = 1; i <= 1024; i++)
        left += 4.0 * 12 * 768 * i;
    double full = flops_step(&cell, FLOPS_MODEL);
    cr_expect_float_eq(full - flops_step(&cell, FLOPS_CAUSAL), attention - left, 1);
    cell.model.is_causal = false;
    cr_expect_eq(flops_step(&cell, FLOPS_CAUSAL), full);
    struct cell decode = gpt2(CELL_MODE_DECODE, 1024, 1);
    cr_expect_eq(flops_step(&decode, FLOPS_CAUSAL), flops_step(&decode, FLOPS_MODEL));
}

Test(spec_flops, computing_every_expert_is_executed_and_no_work)
{
    struct cell cell = gpt2(CELL_MODE_INFER, 128, 2);
    cell.model.ffn = MODEL_FFN_MOE_SWIGLU;
    cell.model.experts_count = 8;
    cell.model.experts_active = 2;
    double work = flops_step(&cell, FLOPS_MODEL);
    cr_expect_eq(flops_step(&cell, FLOPS_EXECUTED), work);
    cell.options.moe = CELL_MOE_PUBLISHED;
    cr_expect_eq(flops_step(&cell, FLOPS_MODEL), work);
    double idle = 6.0 * 12 * 3 * 768 * 3072 * 2 * 2 * 128;
    cr_expect_float_eq(flops_step(&cell, FLOPS_EXECUTED) - work, idle, 1);
}

Test(spec_flops, a_decode_step_reads_weights_and_cache)
{
    struct cell cell = gpt2(CELL_MODE_DECODE, 1024, 4);
    double bytes = 0;
    cr_assert(flops_decode_bytes(&cell, 2, 4, &bytes));
    double weights = 2 * (double)model_params_total(&cell.model);
    cr_expect_float_eq(bytes, weights + 4.0 * 2 * 12 * 768 * 4 * 1024, 1);
    cell.mode = CELL_MODE_INFER;
    cr_expect_not(flops_decode_bytes(&cell, 2, 4, &bytes));
}

Test(spec_flops, a_batch_needs_more_experts_than_a_row)
{
    struct cell cell = gpt2(CELL_MODE_DECODE, 16, 1);
    cell.model.ffn = MODEL_FFN_MOE_SWIGLU;
    cell.model.experts_count = 4;
    cell.model.experts_active = 1;
    double expert = 12.0 * (3 * 768 * 3072 + 2 * 3072 + 768); /* with biases */
    double one = 0;
    double two = 0;
    cr_assert(flops_decode_bytes(&cell, 1, 0, &one));
    cell.batch_size = 2;
    cr_assert(flops_decode_bytes(&cell, 1, 0, &two));
    cr_expect_float_eq(one, (double)model_params_active(&cell.model), 1);
    cr_expect_float_eq(two - one, 0.75 * expert, 1, "two draws of one in four");
}
