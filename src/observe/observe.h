/* observe/observe.h - the probes of one trial, gone through in the order of the list. */
#ifndef OBSERVE_OBSERVE_H
#define OBSERVE_OBSERVE_H

#include "base/status.h"
#include "observe/probe.h"

#define OBSERVE_PROBES_MAX 32

extern const struct probe *const probe_list[];
extern const size_t probe_list_count;

struct observer {
    void *states[OBSERVE_PROBES_MAX]; /* owned; NULL: that probe is off */
};

/* STATUS_NOMEM only. observer_release() in any case. */
MUST_CHECK enum status observer_init(struct observer *observer,
                                     const struct observe_options *options, struct err *err);
void observer_release(struct observer *observer);

/* The moments of struct probe. */
void observer_before_first(struct observer *observer, const struct observed *seen);
void observer_before_measured(struct observer *observer, const struct observed *seen);
void observer_look(struct observer *observer, const struct observed *seen, struct gauges *gauges);
void observer_after_measured(struct observer *observer, const struct observed *seen,
                             bool is_complete);
MUST_CHECK enum status observer_after_trial(struct observer *observer, const struct observed *seen,
                                            struct err *err);
void observer_judge(const struct observer *observer, const struct observed *seen,
                    struct judgement *judgement);
void observer_put(const struct observer *observer, const struct observed *seen,
                  struct record *record);

#endif
