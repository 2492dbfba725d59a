/* drive/step_check.h - is the step that was timed the one that the model stands for?
 *
 * After the measured blocks the worker says what a step must give, by another way than the timed
 * one (docs/protocol.md, `verify`); that is compared with what the timed step gave. In train it is
 * the step that comes next, which is then run; else the last measured one.
 */
#ifndef DRIVE_STEP_CHECK_H
#define DRIVE_STEP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

enum step_check_result {
    STEP_CHECK_NOT_MADE,
    STEP_CHECK_UNCHECKED,
    STEP_CHECK_SAME,
    STEP_CHECK_DIFFERS
};

struct step_check {
    enum step_check_result result;
    bool has_difference;
    double difference;      /* the largest relative one */
    struct reasons reasons; /* where it differs: of an `invalid` cell */
};

/* `last`: what the last measured block said, the steps_done-th of all steps since open ended it. */
void step_check_make(struct client *client, const struct proto_observation *last,
                     uint64_t steps_done, enum proto_sync sync, struct step_check *ret);

/* What a step gave and what it must give. Pure. */
void step_check_compare(const struct cell *cell, const struct proto_observation *seen,
                        const struct proto_observation *expected, struct step_check *ret);

#endif
