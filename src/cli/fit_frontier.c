#include "cli/fit_frontier.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json_write.h"
#include "base/version.h"
#include "spec/device.h"

#define SCHEMA         1
#define LINE_BYTES_MAX (1U << 18)

/* The line that is looked for. Borrowed: for the search. */
struct wanted_line {
    const char *key, *environment_id;
    uint32_t size;
};

static const char *const axes[] = {
    [FRONTIER_BATCH] = "batch_size", [FRONTIER_SEQ] = "seq_len", [FRONTIER_DEVICES] = "devices"};
static const char *const goals[] = {
    [PLAN_GOAL_MAX] = "max", [PLAN_GOAL_BEST] = "best", [PLAN_GOAL_MIN] = "min"};

void frontier_key(const struct frontier *frontier, char key[HASH_ID_BYTES])
{
    struct cell plain = *frontier->cell;
    char text[HASH_ID_BYTES + 2];
    switch (frontier->axis) {
    case FRONTIER_BATCH: plain.batch_size = 1; break;
    case FRONTIER_SEQ: plain.model.max_seq_len = plain.seq_len = 1; break;
    case FRONTIER_DEVICES:
        device_first(frontier->cell->device, plain.device);
        memcpy(plain.parallel, frontier->layout, sizeof(plain.parallel));
        break;
    }
    plain.skips_memory_check = false;
    cell_id(&plain, text);
    size_t length = strlen(text);
    text[length] = axes[frontier->axis][0];
    text[length + 1] = frontier->goal == PLAN_GOAL_BEST ? 'b' : 'm';
    hash_id(text, length + 2, key);
}

static bool is_text(const json_t *line, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

/* Lines that are none of ours are passed over. */
static enum status look_at(void *context, const char *text, size_t text_bytes, struct err *err)
{
    (void)err;
    struct wanted_line *wanted = context;
    json_t *line = text != NULL ? json_loadb(text, text_bytes, 0, NULL) : NULL;
    json_int_t size = json_integer_value(json_object_get(line, "size"));
    if (is_text(line, "key", wanted->key) &&
        is_text(line, "environment_id", wanted->environment_id) && size >= 0 && size <= UINT32_MAX)
        wanted->size = (uint32_t)size;
    json_decref(line);
    return STATUS_OK;
}

enum status frontier_find(const char *dir, const char *key, const char *environment_id,
                          uint32_t *ret_size, struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct wanted_line wanted = {.key = key, .environment_id = environment_id};
    TRY(file_join(dir, JOURNAL_FRONTIER, path, err));
    TRY(journal_scan(path, LINE_BYTES_MAX, look_at, &wanted, err));
    *ret_size = wanted.size;
    return STATUS_OK;
}

static void put_tries(struct json_writer *writer, const struct frontier *frontier)
{
    json_put_key(writer, "tries");
    json_begin_array(writer);
    for (size_t i = 0; i < frontier->tries_count; i++) {
        const struct frontier_try *one = &frontier->tries[i];
        json_begin_object(writer);
        json_field_u64(writer, "size", one->size);
        json_field_string(writer, "verdict", verdict_name(one->verdict));
        json_field_bool(writer, "by_prediction", one->is_by_prediction);
        if (one->tokens_per_sec > 0)
            json_field_double(writer, "tokens_per_sec", one->tokens_per_sec);
        else
            json_field_null(writer, "tokens_per_sec");
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_line(const struct frontier *frontier, const char *run_id,
                     const char *environment_id, struct buf *out)
{
    const struct cell *cell = frontier->cell;
    char key[HASH_ID_BYTES];
    char stamp[CLOCK_STAMP_BYTES];
    struct json_writer writer;
    frontier_key(frontier, key);
    clock_stamp(stamp);
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_u64(&writer, "schema", SCHEMA);
    json_field_string(&writer, "run_id", run_id);
    json_field_string(&writer, "at", stamp);
    json_field_string(&writer, "key", key);
    json_field_string(&writer, "engine", cell->engine);
    json_field_string(&writer, "model", cell->model.name);
    json_field_string(&writer, "device", cell->device);
    json_field_string(&writer, "precision", cell_precision_name(cell->precision));
    json_field_string(&writer, "mode", cell_mode_name(cell->mode));
    json_field_u64(&writer, "seq_len", cell->seq_len);
    json_field_u64(&writer, "batch_size", cell->batch_size);
    json_field_string(&writer, "parallel",
                      frontier->axis == FRONTIER_DEVICES ? frontier->layout
                                                         : cell_parallel_name(cell));
    json_field_string(&writer, "axis", axes[frontier->axis]);
    json_field_string(&writer, "goal", goals[frontier->goal]);
    json_field_u64(&writer, "size", frontier->size);
    if (frontier->fails > 0)
        json_field_u64(&writer, "fails", frontier->fails);
    else
        json_field_null(&writer, "fails");
    json_put_key(&writer, "reasons");
    reasons_write(&frontier->reasons, &writer);
    put_tries(&writer, frontier);
    json_field_double(&writer, "total_ms", (double)frontier->total_ns / (double)NS_PER_MS);
    json_field_string(&writer, "environment_id", environment_id);
    json_field_string(&writer, "harness", version_harness());
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

enum status frontier_append(struct journal *journal, const struct frontier *frontier,
                            const char *run_id, const char *environment_id, struct err *err)
{
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    put_line(frontier, run_id, environment_id, &line);
    enum status status = line.failed ? ERR(err, STATUS_NOMEM, "out of memory")
                                     : journal_append(journal, line.data, line.length_bytes, err);
    buf_release(&line);
    return status;
}
