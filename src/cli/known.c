#include "cli/known.h"

#include <math.h>

#include "base/user_folder.h"
#include "telemetry/environment.h"

static enum status read_pace(struct known *known, struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum status status = file_join(known->dir, CLOCK_CHECK_NAME, path, err);
    if (status == STATUS_OK)
        status = clock_check_read(path, known->machine_id, &known->pace_best_ns, err);
    return status;
}

static enum status read_history(struct known *known, struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum status status = file_join(known->dir, HISTORY_NAME, path, err);
    if (status == STATUS_OK)
        status = history_book_read(path, &known->history, err);
    return status;
}

enum status known_init(struct known *ret, bool wants_pace, bool wants_history,
                       const char *environment_json, struct err *err)
{
    *ret = (struct known){.has_pace = wants_pace, .has_history = wants_history};
    environment_machine(environment_json, ret->machine_id);
    struct err why = {0};
    enum status status = user_folder_data(NULL, ret->dir, &why);
    if (status != STATUS_OK)
        ret->dir[0] = '\0';
    if (status == STATUS_NOT_FOUND) /* no home: nothing to know, nothing to keep */
        return STATUS_OK;
    if (status == STATUS_OK && wants_pace)
        status = read_pace(ret, &why);
    if (status == STATUS_OK && wants_history)
        status = read_history(ret, &why);
    return status == STATUS_OK ? STATUS_OK : ERR(err, status, "%s", why.text);
}

void known_release(struct known *known)
{
    history_book_release(&known->history);
}

static enum status take_pace(struct known *known, const struct record *record)
{
    if (!known->has_pace || record_is_null(record, FACT_PACE_MS))
        return STATUS_OK;
    uint64_t seen_ns = (uint64_t)llround(record_double(record, FACT_PACE_MS) * 1e6);
    if (!clock_check_improve(&known->pace_best_ns, seen_ns) || known->dir[0] == '\0')
        return STATUS_OK;
    return clock_check_append(known->dir, known->machine_id, known->pace_best_ns, &known->err);
}

static enum status take_history(struct known *known, const struct record *record)
{
    struct history_run run;
    if (!known->has_history || !history_run_of(record, &run))
        return STATUS_OK;
    enum status status = history_book_add(&known->history, &run, &known->err);
    if (status == STATUS_OK && known->dir[0] != '\0')
        status = history_append(known->dir, record, &known->err);
    return status;
}

void known_take(struct known *known, const struct record *record)
{
    enum status status = take_pace(known, record);
    if (status == STATUS_OK)
        status = take_history(known, record);
    if (status != STATUS_OK)
        known->dir[0] = '\0';
}
