#include "cli/known_pace.h"

#include <math.h>

#include "base/user_folder.h"
#include "telemetry/environment.h"

enum status known_pace_init(struct known_pace *ret, const char *environment_json, struct err *err)
{
    char path[FILE_PATH_BYTES];
    *ret = (struct known_pace){.is_on = true};
    environment_machine(environment_json, ret->machine_id);
    struct err nowhere = {0};
    enum status status = user_folder_data(NULL, ret->dir, &nowhere);
    if (status == STATUS_NOT_FOUND) { /* no home: nothing to know, nothing to keep */
        ret->dir[0] = '\0';
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = file_join(ret->dir, PACE_NAME, path, &nowhere);
    if (status != STATUS_OK) {
        ret->dir[0] = '\0';
        return ERR(err, status, "%s", nowhere.text);
    }
    return pace_read(path, ret->machine_id, &ret->best_ns, err);
}

enum status known_pace_take(struct known_pace *known, const struct record *record, struct err *err)
{
    if (!known->is_on || record_is_null(record, RECORD_PACE_MS))
        return STATUS_OK;
    uint64_t seen_ns = (uint64_t)llround(record_double(record, RECORD_PACE_MS) * 1e6);
    if (!pace_improve(&known->best_ns, seen_ns) || known->dir[0] == '\0')
        return STATUS_OK;
    return pace_append(known->dir, known->machine_id, known->best_ns, err);
}
