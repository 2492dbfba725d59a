#include "drive/step_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "measure/parity.h"

/* Two ways of one worker, in one precision: the mean of so many tokens' losses is closer than two
 * engines' may be. */
#define LOSS_SHARE 8

static void add_number(struct step_check *check, const char *what, double difference,
                       double tolerance)
{
    if (isnan(tolerance))
        return;
    check->has_difference = true;
    check->difference = fmax(check->difference, difference);
    if (difference <= tolerance)
        return;
    check->difference = isnan(difference) ? INFINITY : check->difference;
    reasons_add(&check->reasons, "step_differs",
                "the timed step's %s is %.3g off what the model gives by another way (limit %.3g)",
                what, difference, tolerance);
}

static void compare_number(struct step_check *check, const char *what, double seen, double expected,
                           double tolerance)
{
    if (isnan(seen) || isnan(expected))
        return;
    double difference = seen == expected ? 0 : fabs(seen - expected) / fabs(expected);
    add_number(check, what, difference, tolerance);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The third quartile of the differences: a rounding that sends a token to another expert changes
 * the logits of its row alone. */
static void compare_logits(struct step_check *check, const struct proto_observation *seen,
                           const struct proto_observation *expected, double tolerance)
{
    double differences[PROTO_LOGITS];
    double squares = 0;
    if (seen->logits_count == 0 || expected->logits_count == 0)
        return;
    for (uint32_t i = 0; i < PROTO_LOGITS; i++) {
        double difference = fabs(seen->logits[i] - expected->logits[i]);
        differences[i] = isfinite(difference) ? difference : INFINITY;
        squares += expected->logits[i] * expected->logits[i];
    }
    qsort(differences, PROTO_LOGITS, sizeof(differences[0]), by_size);
    double quartile = differences[PROTO_LOGITS * 3 / 4 - 1];
    double scale = sqrt(squares / PROTO_LOGITS);
    add_number(check, "output (logits)", quartile == 0 ? 0 : quartile / scale, tolerance);
}

static void compare_counts(struct step_check *check, const struct cell *cell,
                           const struct proto_observation *seen,
                           const struct proto_observation *expected)
{
    if (seen->has_head_tokens && expected->has_head_tokens &&
        seen->head_tokens != expected->head_tokens)
        reasons_add(&check->reasons, "step_differs",
                    "%" PRIu64 " tokens of the timed step went through the head where %" PRIu64
                    " had to",
                    seen->head_tokens, expected->head_tokens);
    if (cell->mode == CELL_MODE_DECODE && seen->has_cache_tokens &&
        seen->cache_tokens != cell->seq_len - 1)
        reasons_add(&check->reasons, "step_differs",
                    "the timed step had %" PRIu64
                    " tokens in the cache where it must have %" PRIu32,
                    seen->cache_tokens, cell->seq_len - 1);
}

void step_check_compare(const struct cell *cell, const struct proto_observation *seen,
                        const struct proto_observation *expected, struct step_check *ret)
{
    enum cell_precision precision = cell->precision;
    struct step_check check = {.result = STEP_CHECK_UNCHECKED};
    compare_counts(&check, cell, seen, expected);
    compare_number(&check, "loss", seen->loss, expected->loss,
                   parity_tolerance(PARITY_LOSS, precision) / LOSS_SHARE);
    compare_number(&check, "norm of the gradients", seen->grad_norm, expected->grad_norm,
                   parity_tolerance(PARITY_GRADIENTS, precision));
    compare_logits(&check, seen, expected, parity_tolerance(PARITY_LOGITS, precision));
    if (check.has_difference)
        check.result = STEP_CHECK_SAME;
    if (check.reasons.count > 0)
        check.result = STEP_CHECK_DIFFERS;
    *ret = check;
}

void step_check_make(struct client *client, const struct proto_observation *last,
                     uint64_t steps_done, enum proto_sync sync, struct step_check *ret)
{
    bool is_train = client->cell->mode == CELL_MODE_TRAIN;
    struct proto_verified verified;
    struct proto_observation seen = *last;
    *ret = (struct step_check){.result = STEP_CHECK_UNCHECKED};
    if (!client->hello.verifies || client->hello.is_synthetic || steps_done == 0)
        return;
    *ret = (struct step_check){0};
    if (!client_verify(client, is_train ? steps_done : steps_done - 1, &verified))
        return;
    if (verified.why_not[0] != '\0') {
        ret->result = STEP_CHECK_UNCHECKED;
        (void)dprintf(client->session.log_fd, "[tokmark: the timed step is not checked: %s]\n",
                      verified.why_not);
        return;
    }
    if (is_train) {
        struct proto_block block;
        uint64_t host_ns = 0;
        if (!client_run(client, 1, sync, false, &block, &host_ns))
            return;
        seen = block.observation;
        free(block.step_ns);
    }
    step_check_compare(client->cell, &seen, &verified.expected, ret);
}
