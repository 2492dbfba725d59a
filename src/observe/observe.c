#include "observe/observe.h"

#include <stdlib.h>

enum status observer_init(struct observer *observer, const struct observe_options *options,
                          struct err *err)
{
    *observer = (struct observer){0};
    ASSERT(probe_list_count <= OBSERVE_PROBES_MAX);
    for (size_t i = 0; i < probe_list_count; i++) {
        const struct probe *probe = probe_list[i];
        if (probe->is_on != NULL && !probe->is_on(options))
            continue;
        observer->states[i] = calloc(1, probe->state_bytes > 0 ? probe->state_bytes : 1);
        if (observer->states[i] == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for the probes");
    }
    return STATUS_OK;
}

void observer_release(struct observer *observer)
{
    for (size_t i = 0; i < OBSERVE_PROBES_MAX; i++)
        free(observer->states[i]);
    *observer = (struct observer){0};
}

void observer_before_first(struct observer *observer, const struct observed *seen)
{
    for (size_t i = 0; i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->before_first != NULL)
            probe_list[i]->before_first(observer->states[i], seen);
}

void observer_before_measured(struct observer *observer, const struct observed *seen)
{
    for (size_t i = 0; i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->before_measured != NULL)
            probe_list[i]->before_measured(observer->states[i], seen);
}

void observer_look(struct observer *observer, const struct observed *seen, struct gauges *gauges)
{
    for (size_t i = 0; i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->look != NULL)
            probe_list[i]->look(observer->states[i], seen, gauges);
}

void observer_after_measured(struct observer *observer, const struct observed *seen,
                             bool is_complete)
{
    for (size_t i = 0; i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->after_measured != NULL)
            probe_list[i]->after_measured(observer->states[i], seen, is_complete);
}

enum status observer_after_trial(struct observer *observer, const struct observed *seen,
                                 struct err *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->after_trial != NULL)
            status = probe_list[i]->after_trial(observer->states[i], seen, err);
    return status;
}

void observer_judge(const struct observer *observer, const struct observed *seen,
                    struct judgement *judgement)
{
    for (size_t i = 0; i < probe_list_count; i++)
        if (observer->states[i] != NULL && probe_list[i]->judge != NULL)
            probe_list[i]->judge(observer->states[i], seen, judgement);
}

void observer_put(const struct observer *observer, const struct observed *seen,
                  struct record *record)
{
    for (size_t i = 0; i < probe_list_count; i++) {
        const struct probe *probe = probe_list[i];
        if (observer->states[i] != NULL) {
            probe->put(observer->states[i], seen, record);
            continue;
        }
        for (size_t k = 0; k < probe->fields_count; k++)
            record_set_null(record, probe->fields[k], probe->off_reason);
    }
}
