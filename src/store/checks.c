#include "store/checks.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "result/scan.h"

#define LINE_BYTES_MAX (1U << 20)

/* What is looked at of a line. */
enum {
    KEY_ENGINE,
    KEY_ENGINE_VERSION,
    KEY_HARNESS,
    KEY_DEVICE,
    KEY_PRECISION,
    KEY_MODE,
    KEY_MODEL,
    KEY_MODEL_SOURCE,
    KEY_WEIGHTS_HASH,
    KEY_REFERENCE,
    KEY_VERDICT,
    KEY_RUN_ID,
    KEYS_COUNT
};

static const char *const keys[KEYS_COUNT] = {
    "engine", "engine_version", "harness",      "device",    "precision", "mode",
    "model",  "model_source",   "weights_hash", "reference", "verdict",   "run_id"};

struct checks_search {
    const struct checks_wanted *wanted; /* borrowed: for the call */
    struct scanner *scanner;            /* borrowed */
    enum checks_finding finding;
    struct buf text; /* scratch */
    char run_id[CHECKS_RUN_BYTES];
};

/* The text of a value; "" when it is none. Borrowed: until the next call. */
static const char *text_of(struct checks_search *search, const struct scan_value *value)
{
    buf_reset(&search->text);
    if (value->kind == SCAN_STRING)
        scan_take_text(value, &search->text);
    return search->text.data;
}

static bool has_text(struct checks_search *search, const struct scan_value *value,
                     const char *wanted)
{
    return value->kind == SCAN_STRING && strcmp(text_of(search, value), wanted) == 0;
}

static bool is_package(struct checks_search *search, const struct scan_value *source)
{
    static const char prefix[] = "package ";
    return strncmp(text_of(search, source), prefix, strlen(prefix)) == 0;
}

static bool fits(struct checks_search *search, const struct scan_value *values)
{
    const struct checks_wanted *wanted = search->wanted;
    bool is_of_train =
        strcmp(wanted->mode, "infer") == 0 && has_text(search, &values[KEY_MODE], "train");
    return has_text(search, &values[KEY_ENGINE], wanted->engine) &&
           has_text(search, &values[KEY_ENGINE_VERSION], wanted->engine_version) &&
           has_text(search, &values[KEY_HARNESS], wanted->harness) &&
           has_text(search, &values[KEY_DEVICE], wanted->device) &&
           has_text(search, &values[KEY_PRECISION], wanted->precision) &&
           (is_of_train || has_text(search, &values[KEY_MODE], wanted->mode)) &&
           has_text(search, &values[KEY_MODEL], wanted->model) &&
           (wanted->weights_hash[0] == '\0' ||
            hash_id_is_same(text_of(search, &values[KEY_WEIGHTS_HASH]), wanted->weights_hash)) &&
           is_package(search, &values[KEY_MODEL_SOURCE]) == wanted->is_package;
}

static enum status look_at(void *context, const char *line, size_t line_bytes, struct err *err)
{
    (void)err;
    struct checks_search *search = context;
    struct scan_value values[KEYS_COUNT];
    const char *fault = NULL;
    if (line == NULL || !scanner_scan(search->scanner, line, line_bytes, values, &fault) ||
        !fits(search, values))
        return STATUS_OK;
    bool has_failed = has_text(search, &values[KEY_VERDICT], "invalid");
    if (!has_failed && !has_text(search, &values[KEY_VERDICT], "ok"))
        return STATUS_OK;
    bool is_reference = values[KEY_REFERENCE].kind == SCAN_NULL;
    search->finding = has_failed ? CHECKS_FAILED : is_reference ? CHECKS_REFERENCE : CHECKS_PASSED;
    const char *run_id = text_of(search, &values[KEY_RUN_ID]);
    (void)snprintf(search->run_id, sizeof(search->run_id), "%s", run_id[0] != '\0' ? run_id : "?");
    return STATUS_OK;
}

enum status checks_find(const char *dir, const struct checks_wanted *wanted,
                        enum checks_finding *ret_finding, char ret_run_id[CHECKS_RUN_BYTES],
                        struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct checks_search search = {.wanted = wanted, .finding = CHECKS_NONE};
    buf_init(&search.text, LINE_BYTES_MAX);
    enum status status = file_join(dir, JOURNAL_CHECKS, path, err);
    if (status == STATUS_OK)
        status = scanner_new(keys, KEYS_COUNT, &search.scanner, err);
    if (status == STATUS_OK)
        status = journal_scan(path, LINE_BYTES_MAX, look_at, &search, err);
    scanner_free(search.scanner);
    buf_release(&search.text);
    if (status != STATUS_OK)
        return status;
    *ret_finding = search.finding;
    memcpy(ret_run_id, search.run_id, sizeof(search.run_id));
    return STATUS_OK;
}
