#include "engines/native/session.h"

#include <sched.h>
#include <unistd.h>

unsigned session_threads(const struct cell *cell)
{
    if (cell->threads_count != 0)
        return cell->threads_count;
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    if (count < 1)
        return 1;
    return count > POOL_THREADS_MAX ? POOL_THREADS_MAX : (unsigned)count;
}

void session_prefill(struct transformer *t, size_t positions_count)
{
    struct buffers *b = &t->buffers;
    for (size_t batch = 0; batch < t->shape.B; batch++) {
        for (size_t first = 0; first < positions_count; first += PREFILL_ROWS) {
            size_t rows = positions_count - first;
            rows = rows < PREFILL_ROWS ? rows : PREFILL_ROWS;
            for (size_t row = 0; row < rows; row++) {
                b->pass_tokens[row] = b->inputs[batch * t->shape.T + first + row];
                b->positions[row] = (uint32_t)(first + row);
                b->batch_of[row] = (uint32_t)batch;
            }
            transformer_decode(t, rows, false, MATRIX_NONE);
        }
    }
}

void session_decode_step(struct transformer *t, size_t from, size_t position,
                         struct matrix logits_out)
{
    struct buffers *b = &t->buffers;
    for (size_t batch = 0; batch < t->shape.B; batch++) {
        b->pass_tokens[batch] = b->inputs[batch * t->shape.T + from];
        b->positions[batch] = (uint32_t)position;
        b->batch_of[batch] = (uint32_t)batch;
    }
    transformer_decode(t, t->shape.B, true, logits_out);
}
