#include "plan/order.h"

#include "base/random.h"

/* A stream of its own: the seed also makes weights, tokens and dropout. */
#define ORDER_STREAM 0x6f72646572ULL /* "order" */

void plan_shuffle(uint64_t seed, uint32_t trial, size_t count, size_t *ret_order)
{
    uint64_t key = random_key(random_key(seed, ORDER_STREAM), trial);
    for (size_t i = 0; i < count; i++)
        ret_order[i] = i;
    for (size_t left = count; left > 1; left--) {
        /* The remainder favours small numbers by at most left / 2^64. */
        size_t other = (size_t)(random_at(key, left) % left);
        size_t kept = ret_order[left - 1];
        ret_order[left - 1] = ret_order[other];
        ret_order[other] = kept;
    }
}
