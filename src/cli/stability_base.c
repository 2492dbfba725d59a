#include "cli/stability_base.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/journal.h"

#define LINE_BYTES_MAX (1U << 20)

struct base_search {
    char cell_id[HASH_ID_BYTES];
    struct stability_base *base; /* borrowed: for the search */
};

/* NULL = it is no array, or a long one. */
static double *numbers_of(const json_t *array, size_t count)
{
    double *values = calloc(count + 1, sizeof(*values));
    for (size_t i = 0; values != NULL && i < count; i++) {
        const json_t *item = json_array_get(array, i);
        values[i] = json_is_number(item) ? json_number_value(item) : (double)NAN;
    }
    return values;
}

static bool is_text(const json_t *line, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

static enum status take(const json_t *line, struct stability_base *base, struct err *err)
{
    const json_t *losses = json_object_get(line, "losses");
    size_t count = json_array_size(losses);
    const char *run_id = json_string_value(json_object_get(line, "run_id"));
    stability_base_release(base);
    base->losses = numbers_of(losses, count);
    base->norms = numbers_of(json_object_get(line, "grad_norms"), count);
    base->count = count;
    (void)snprintf(base->run_id, sizeof(base->run_id), "%s", run_id != NULL ? run_id : "?");
    return base->losses != NULL && base->norms != NULL ? STATUS_OK
                                                       : ERR(err, STATUS_NOMEM, "out of memory");
}

/* Lines that are none of ours are passed over. */
static enum status look_at(void *context, const char *text, size_t text_bytes, struct err *err)
{
    struct base_search *search = context;
    json_t *line = text != NULL ? json_loadb(text, text_bytes, 0, NULL) : NULL;
    enum status status = STATUS_OK;
    if (is_text(line, "verdict", "ok") && is_text(line, "cell_id", search->cell_id))
        status = take(line, search->base, err);
    json_decref(line);
    return status;
}

enum status stability_base_check(const char *dir, struct err *err)
{
    char path[FILE_PATH_BYTES];
    TRY(file_join(dir, JOURNAL_STABILITY, path, err));
    return file_exists(path) ? STATUS_OK
                             : ERR(err, STATUS_INVALID, "--base: there is no '%.200s'", path);
}

enum status stability_base_find(const char *dir, const struct cell *cell,
                                struct stability_base *ret_base, struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct stability_base base = {0};
    struct base_search search = {.base = &base};
    cell_id(cell, search.cell_id);
    TRY(file_join(dir, JOURNAL_STABILITY, path, err));
    enum status status = journal_scan(path, LINE_BYTES_MAX, look_at, &search, err);
    if (status == STATUS_OK)
        *ret_base = base;
    else
        stability_base_release(&base);
    return status;
}

void stability_base_release(struct stability_base *base)
{
    free(base->losses);
    free(base->norms);
    *base = (struct stability_base){0};
}

struct curve stability_base_curve(const struct stability_base *base)
{
    return (struct curve){.losses = base->losses, .norms = base->norms, .count = base->count};
}
