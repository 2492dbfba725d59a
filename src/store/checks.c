#include "store/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

#define LINE_BYTES_MAX (1U << 20)

struct search {
    const struct checks_wanted *wanted;
    enum checks_finding finding;
    char *run_id; /* borrowed: CHECKS_RUN_BYTES */
};

static bool has_text(const json_t *line, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

static bool has_id(const json_t *line, const char *key, const char *wanted)
{
    const char *id = json_string_value(json_object_get(line, key));
    return id != NULL && hash_id_is_same(id, wanted);
}

static bool is_package(const json_t *line)
{
    static const char prefix[] = "package ";
    const char *source = json_string_value(json_object_get(line, "model_source"));
    return source != NULL && strncmp(source, prefix, strlen(prefix)) == 0;
}

static bool fits(const json_t *line, const struct checks_wanted *wanted)
{
    bool is_of_train = strcmp(wanted->mode, "infer") == 0 && has_text(line, "mode", "train");
    return has_text(line, "engine", wanted->engine) &&
           has_text(line, "engine_version", wanted->engine_version) &&
           has_text(line, "harness", wanted->harness) && has_text(line, "device", wanted->device) &&
           has_text(line, "precision", wanted->precision) &&
           (is_of_train || has_text(line, "mode", wanted->mode)) &&
           has_text(line, "model", wanted->model) &&
           (wanted->weights_hash[0] == '\0' ||
            has_id(line, "weights_hash", wanted->weights_hash)) &&
           is_package(line) == wanted->is_package;
}

static enum status look_at(void *context, const char *text, size_t text_bytes, struct err *err)
{
    (void)err;
    struct search *search = context;
    json_t *line = text == NULL ? NULL : json_loadb(text, text_bytes, 0, NULL);
    if (line != NULL && fits(line, search->wanted)) {
        enum checks_finding passed =
            json_is_null(json_object_get(line, "reference")) ? CHECKS_REFERENCE : CHECKS_PASSED;
        bool has_failed = has_text(line, "verdict", "invalid");
        if (has_failed || has_text(line, "verdict", "ok")) {
            const char *run_id = json_string_value(json_object_get(line, "run_id"));
            search->finding = has_failed ? CHECKS_FAILED : passed;
            (void)snprintf(search->run_id, CHECKS_RUN_BYTES, "%s", run_id != NULL ? run_id : "?");
        }
    }
    json_decref(line);
    return STATUS_OK;
}

enum status checks_find(const char *dir, const struct checks_wanted *wanted,
                        enum checks_finding *ret_finding, char ret_run_id[CHECKS_RUN_BYTES],
                        struct err *err)
{
    char path[FILE_PATH_BYTES];
    char run_id[CHECKS_RUN_BYTES] = "";
    struct search search = {.wanted = wanted, .finding = CHECKS_NONE, .run_id = run_id};
    enum status status = file_join(dir, JOURNAL_CHECKS, path, err);
    if (status != STATUS_OK)
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno != ENOENT)
        return ERR(err, STATUS_IO, "cannot read '%.300s': %s", path, strerror(errno));
    struct lines_tail tail;
    if (fd >= 0) {
        status = lines_scan(fd, path, LINE_BYTES_MAX, look_at, &search, &tail, err);
        (void)close(fd);
    }
    if (status != STATUS_OK)
        return status;
    *ret_finding = search.finding;
    memcpy(ret_run_id, run_id, sizeof(run_id));
    return STATUS_OK;
}
