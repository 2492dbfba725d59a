#include "store/clock_check.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "store/journal.h"

#define SCHEMA         "tokmark.pace/1"
#define LINE_BYTES_MAX (4 * 1024)
#define PACE_NS_MAX    (3600 * NS_PER_S)
#define WORTH_PERCENT  1

static bool take_ns(const json_t *object, const char *key, uint64_t *ret_ns)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > PACE_NS_MAX)
        return false;
    *ret_ns = (uint64_t)number;
    return true;
}

struct search {
    const char *machine_id;
    uint64_t best_ns;
};

static enum status visit_line(void *context, const char *line, size_t line_bytes, struct err *err)
{
    (void)err;
    struct search *search = context;
    uint64_t seen_ns = 0;
    json_t *object =
        line != NULL ? json_loadb(line, line_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *schema = json_string_value(json_object_get(object, "schema"));
    const char *machine_id = json_string_value(json_object_get(object, "machine_id"));
    if (schema != NULL && strcmp(schema, SCHEMA) == 0 && machine_id != NULL &&
        hash_id_is_same(machine_id, search->machine_id) && take_ns(object, "clock_ns", &seen_ns))
        (void)clock_check_improve(&search->best_ns, seen_ns);
    json_decref(object);
    return STATUS_OK;
}

enum status clock_check_read(const char *path, const char machine_id[HASH_ID_BYTES],
                             uint64_t *ret_best_ns, struct err *err)
{
    struct search search = {.machine_id = machine_id};
    enum status status = journal_scan(path, LINE_BYTES_MAX, visit_line, &search, err);
    if (status == STATUS_OK)
        *ret_best_ns = search.best_ns;
    return status;
}

bool clock_check_improve(uint64_t *best_ns, uint64_t seen_ns)
{
    if (seen_ns == 0 || (*best_ns != 0 && seen_ns >= *best_ns))
        return false;
    bool is_worth = *best_ns == 0 || seen_ns < *best_ns - *best_ns / 100 * WORTH_PERCENT;
    *best_ns = seen_ns;
    return is_worth;
}

enum status clock_check_append(const char *dir, const char machine_id[HASH_ID_BYTES],
                               uint64_t best_ns, struct err *err)
{
    struct journal journal;
    enum status status = journal_open_patiently(dir, CLOCK_CHECK_NAME, &journal, err);
    if (status != STATUS_OK)
        return status;
    char at[CLOCK_STAMP_BYTES];
    struct buf line;
    struct json_writer writer;
    clock_stamp(at);
    buf_init(&line, LINE_BYTES_MAX);
    json_writer_init(&writer, &line);
    json_begin_object(&writer);
    json_field_string(&writer, "schema", SCHEMA);
    json_field_string(&writer, "at", at);
    json_field_string(&writer, "machine_id", machine_id);
    json_field_u64(&writer, "clock_ns", best_ns);
    json_end_object(&writer);
    buf_append_char(&line, '\n');
    status = line.failed ? ERR(err, STATUS_NOMEM, "no memory for a line of %s", CLOCK_CHECK_NAME)
                         : journal_append(&journal, line.data, line.length_bytes, err);
    buf_release(&line);
    journal_close(&journal);
    return status;
}
