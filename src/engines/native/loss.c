#include "engines/native/loss.h"

#include <math.h>
#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"
#include "engines/native/linear.h"

struct loss_job {
    const struct loss *loss;
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
    size_t V = job->loss->V;
    for (size_t row = begin; row < end; row++) {
        float *logits = job->loss->logits + row * V;
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

static size_t block_rows(const struct loss *loss, size_t rows, size_t first)
{
    return rows - first < loss->logits_rows ? rows - first : loss->logits_rows;
}

static void make_block(const struct compute *compute, const struct loss *loss,
                       const struct linear *head, size_t first, size_t count, const float *hidden)
{
    linear_forward(compute, head, count, hidden + first * loss->C, loss->logits);
    if (loss->logits_out != NULL)
        memcpy(loss->logits_out + first * loss->V, loss->logits, count * loss->V * sizeof(float));
}

void loss_logits(const struct compute *compute, const struct loss *loss, size_t rows,
                 const float *hidden)
{
    struct linear head = {.in = loss->C, .out = loss->V, .weight = loss->head};
    for (size_t first = 0; first < rows; first += loss->logits_rows)
        make_block(compute, loss, &head, first, block_rows(loss, rows, first), hidden);
}

double loss_cross_entropy(const struct compute *compute, const struct loss *loss, size_t rows,
                          const float *hidden, const uint32_t *targets, double *losses,
                          float *d_hidden, float *d_head)
{
    struct linear head = {.in = loss->C, .out = loss->V, .weight = loss->head};
    for (size_t first = 0; first < rows; first += loss->logits_rows) {
        size_t count = block_rows(loss, rows, first);
        make_block(compute, loss, &head, first, count, hidden);
        struct loss_job job = {.loss = loss,
                               .targets = targets + first,
                               .losses = losses + first,
                               .scale = (float)(1.0 / (double)rows)};
        pool_run(compute->pool, count, compute_row_grain(loss->V * 4), cross_entropy_task, &job);
        if (d_hidden == NULL)
            continue;
        linear_backward_input(compute, &head, count, loss->logits, d_hidden + first * loss->C,
                              false);
        linear_backward_weight(compute, &head, count, hidden + first * loss->C, loss->logits,
                               d_head, NULL, first > 0);
    }
    double sum = 0;
    for (size_t row = 0; row < rows; row++)
        sum += losses[row];
    return sum / (double)rows;
}
