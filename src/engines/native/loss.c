#include "engines/native/loss.h"

#include <math.h>
#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"
#include "engines/native/linear.h"

/* All borrowed for the loop. */
struct loss_job {
    float *logits; /* (the block's rows, V) */
    size_t V;
    const uint32_t *targets; /* of the block's rows, as losses */
    double *losses;
    float scale; /* of the gradients: 1 / all rows */
};

/* logits -> the row's loss, and (softmax - one at the target) * scale in the logits' place. */
static CLONES void cross_entropy_task(void *context, unsigned thread_index, size_t begin,
                                      size_t end)
{
    (void)thread_index;
    const struct loss_job *job = context;
    size_t V = job->V;
    for (size_t row = begin; row < end; row++) {
        float *logits = job->logits + row * V;
        uint32_t target = job->targets[row];
        float max = max_f32(logits, V);
        double at_target = (double)logits[target] - (double)max;
        double sum = exp_row_f32(logits, V, max);
        job->losses[row] = log(sum) - at_target;
        float factor = (float)((double)job->scale / sum);
        for (size_t i = 0; i < V; i++)
            logits[i] *= factor;
        logits[target] -= job->scale;
    }
}

/* Rows first .. of rows_count have been made. */
static void note_rows(struct head_seen *seen, struct matrix logits, size_t first, size_t rows_count)
{
    size_t V = logits.columns;
    seen->rows_count += logits.rows;
    for (uint32_t i = 0; i < PROTO_LOGITS && rows_count * V >= PROTO_LOGITS; i++) {
        uint64_t place = proto_logits_place(i, (uint64_t)rows_count * V);
        if (place / V >= first && place / V < first + logits.rows)
            seen->logits[i] = matrix_floats(logits)[place - (uint64_t)first * V];
    }
}

static double head_flops(const struct loss *loss, size_t rows)
{
    return 2.0 * (double)rows * (double)loss->head.rows * (double)loss->head.columns;
}

/* The logits of rows first .. of `hidden`: as many as there is room for. */
static struct matrix make_block(const struct compute *compute, const struct loss *loss,
                                struct matrix hidden, size_t first)
{
    struct linear head = {.weight = loss->head};
    size_t rest = hidden.rows - first;
    size_t count = rest < loss->logits.rows ? rest : loss->logits.rows;
    struct matrix logits = matrix_rows(loss->logits, 0, count);
    OPERATION(compute, "head", head_flops(loss, count));
    linear_forward(compute, &head, matrix_rows(hidden, first, count), logits);
    if (!matrix_is_none(loss->logits_out))
        memcpy(matrix_floats(matrix_rows(loss->logits_out, first, count)), matrix_floats(logits),
               count * logits.columns * sizeof(float));
    note_rows(loss->seen, logits, first, hidden.rows);
    return logits;
}

static void head_backward(const struct compute *compute, const struct loss *loss,
                          struct matrix hidden, struct matrix logits, struct matrix d_hidden,
                          struct matrix d_head, bool is_added)
{
    OPERATION(compute, "head backward", 2 * head_flops(loss, logits.rows));
    struct linear head = {.weight = loss->head};
    linear_backward_input(compute, &head, logits, d_hidden, false);
    linear_backward_weight(compute, hidden, logits, d_head, MATRIX_NONE, is_added);
}

static void cross_entropy(const struct compute *compute, struct loss_job *job, size_t rows)
{
    OPERATION(compute, "cross-entropy", 0);
    pool_run(compute->pool, rows, compute_row_grain(job->V * 4), cross_entropy_task, job);
}

void loss_logits(const struct compute *compute, const struct loss *loss, struct matrix hidden)
{
    for (size_t first = 0; first < hidden.rows; first += loss->logits.rows)
        (void)make_block(compute, loss, hidden, first);
}

double loss_cross_entropy(const struct compute *compute, const struct loss *loss,
                          struct matrix hidden, const uint32_t *targets, double *losses,
                          struct matrix d_hidden, struct matrix d_head)
{
    size_t rows = hidden.rows;
    for (size_t first = 0; first < rows; first += loss->logits.rows) {
        struct matrix logits = make_block(compute, loss, hidden, first);
        struct loss_job job = {.logits = matrix_floats(logits),
                               .V = logits.columns,
                               .targets = targets + first,
                               .losses = losses + first,
                               .scale = (float)(1.0 / (double)rows)};
        cross_entropy(compute, &job, logits.rows);
        if (!matrix_is_none(d_hidden))
            head_backward(compute, loss, matrix_rows(hidden, first, logits.rows), logits,
                          matrix_rows(d_hidden, first, logits.rows), d_head, first > 0);
    }
    double sum = 0;
    for (size_t row = 0; row < rows; row++)
        sum += losses[row];
    return sum / (double)rows;
}
