#include "cli/known.h"

#include <math.h>

#include "base/user_folder.h"
#include "telemetry/environment.h"

enum status known_init(struct known *known, bool wants_clock, bool wants_history,
                       const char *environment_json, struct err *err)
{
    *known = (struct known){.has_clock = wants_clock, .has_history = wants_history};
    environment_machine(environment_json, known->machine_id);
    environment_hardware(environment_json, known->hardware_id);
    struct err why = {0};
    enum status status = user_folder_data(NULL, known->dir, &why);
    if (status != STATUS_OK)
        known->dir[0] = '\0';
    if (status == STATUS_NOT_FOUND) /* no home: nothing to know, nothing to keep */
        return STATUS_OK;
    if (status == STATUS_OK)
        status = machine_book_read(known->dir, &known->book, &why);
    known->clock_best_ns = machine_book_clock(&known->book, known->machine_id);
    return status == STATUS_OK ? STATUS_OK : ERR(err, status, "%s", why.text);
}

void known_release(struct known *known)
{
    machine_book_release(&known->book);
}

static enum status take_clock(struct known *known, const struct record *record)
{
    if (!known->has_clock || record_is_null(record, FACT_PACE_MS))
        return STATUS_OK;
    uint64_t seen_ns = (uint64_t)llround(record_double(record, FACT_PACE_MS) * 1e6);
    if (!machine_clock_improve(&known->clock_best_ns, seen_ns) || known->dir[0] == '\0')
        return STATUS_OK;
    return machine_append_clock(known->dir, known->machine_id, known->clock_best_ns, &known->err);
}

void known_take(struct known *known, const struct record *record)
{
    enum status status = take_clock(known, record);
    if (status == STATUS_OK && known->has_history)
        status = machine_take_run(&known->book, known->dir[0] != '\0' ? known->dir : NULL,
                                  known->machine_id, record, &known->err);
    if (status != STATUS_OK)
        known->dir[0] = '\0';
}
