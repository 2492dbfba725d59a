#include "cli/known.h"

#include <math.h>

#include "base/user_folder.h"
#include "telemetry/environment.h"

enum status known_init(struct known *ret, bool wants_pace, bool wants_history,
                       const char *environment_json, struct err *err)
{
    *ret = (struct known){.has_pace = wants_pace, .has_history = wants_history};
    environment_machine(environment_json, ret->machine_id);
    environment_hardware(environment_json, ret->hardware_id);
    struct err why = {0};
    enum status status = user_folder_data(NULL, ret->dir, &why);
    if (status != STATUS_OK)
        ret->dir[0] = '\0';
    if (status == STATUS_NOT_FOUND) /* no home: nothing to know, nothing to keep */
        return STATUS_OK;
    if (status == STATUS_OK)
        status = machine_book_read(ret->dir, &ret->book, &why);
    ret->pace_best_ns = machine_book_clock(&ret->book, ret->machine_id);
    return status == STATUS_OK ? STATUS_OK : ERR(err, status, "%s", why.text);
}

void known_release(struct known *known)
{
    machine_book_release(&known->book);
}

static enum status take_pace(struct known *known, const struct record *record)
{
    if (!known->has_pace || record_is_null(record, FACT_PACE_MS))
        return STATUS_OK;
    uint64_t seen_ns = (uint64_t)llround(record_double(record, FACT_PACE_MS) * 1e6);
    if (!machine_clock_improve(&known->pace_best_ns, seen_ns) || known->dir[0] == '\0')
        return STATUS_OK;
    return machine_append_clock(known->dir, known->machine_id, known->pace_best_ns, &known->err);
}

void known_take(struct known *known, const struct record *record)
{
    enum status status = take_pace(known, record);
    if (status == STATUS_OK && known->has_history)
        status = machine_take_run(&known->book, known->dir[0] != '\0' ? known->dir : NULL,
                                  known->machine_id, record, &known->err);
    if (status != STATUS_OK)
        known->dir[0] = '\0';
}
