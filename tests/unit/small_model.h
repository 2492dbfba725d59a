/* A model that is as small as one with experts can be, and a cell of it for the native engine: for
 * tests in which they only have to be one. */
#ifndef TESTS_SMALL_MODEL_H
#define TESTS_SMALL_MODEL_H

#include "spec/cell.h"

static inline struct model_spec small_model(void)
{
    return (struct model_spec){.name = "small",
                               .vocab_size = 64,
                               .max_seq_len = 8,
                               .dim = 16,
                               .layers_count = 1,
                               .heads_count = 2,
                               .ffn_hidden = 32,
                               .experts_count = 2,
                               .experts_active = 1,
                               .rotary_dim = 4,
                               .norm_eps = 1e-6,
                               .rotary_base = 10000.0,
                               .norm = MODEL_NORM_RMS,
                               .ffn = MODEL_FFN_MOE_SWIGLU};
}

/* The test adds sizes, threads and a seed. */
static inline struct cell small_native_cell(enum cell_mode mode)
{
    return (struct cell){.engine = "native",
                         .framework = "native",
                         .model = small_model(),
                         .model_source = "preset",
                         .device = "cpu",
                         .precision = CELL_PRECISION_FP32,
                         .mode = mode,
                         .data = CELL_DATA_SYNTHETIC};
}

#endif
