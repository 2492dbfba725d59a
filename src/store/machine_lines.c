#include "store/machine_lines.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"

#define SCHEMA            "tokmark.machine/1"
#define FLOOR_PERCENT_MAX 1e6
#define MS_MAX            1e12
#define CLOCK_NS_MAX      (3600 * NS_PER_S)
#define RATE_MAX          1e30
#define CELL_BYTES_MAX    ((size_t)4096)

/* What a run's cell is told by, in this order. */
static const char *const cell_words[5] = {"framework", "device", "mode", "precision", "model"};

/* --- reading --- */

/* False for a text that is not there, empty or too long. */
static bool take_text(const json_t *object, const char *key, char *text, size_t text_bytes)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (value == NULL || value[0] == '\0' || strlen(value) >= text_bytes)
        return false;
    memcpy(text, value, strlen(value) + 1);
    return true;
}

static bool take_stamp(const json_t *object, char at[CLOCK_STAMP_BYTES])
{
    char same[CLOCK_STAMP_BYTES];
    return take_text(object, "at", at, CLOCK_STAMP_BYTES) && clock_stamp_shift(at, 0, same);
}

static bool take_count(const json_t *object, const char *key, uint32_t *ret)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > UINT32_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static bool take_ms(const json_t *object, const char *key, double *ret_ms)
{
    const json_t *value = json_object_get(object, key);
    double ms = json_number_value(value);
    if (!json_is_number(value) || !(ms > 0) || ms > MS_MAX)
        return false;
    *ret_ms = ms;
    return true;
}

static bool take_ratios(const json_t *object, struct machine_floor *floor)
{
    const json_t *array = json_object_get(object, "log_ratios");
    size_t count = json_array_size(array);
    if (count < 1 || count > MACHINE_REPEATS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value))
            return false;
        floor->log_ratios[i] = json_number_value(value);
    }
    floor->repeats_count = count;
    return true;
}

static bool take_floor(const json_t *object, struct machine_floor *floor)
{
    const json_t *percent = json_object_get(object, "floor_percent");
    floor->percent = json_number_value(percent);
    (void)take_ms(object, "ms", &floor->ms);
    return json_is_number(percent) && floor->percent >= 0 && floor->percent <= FLOOR_PERCENT_MAX &&
           take_stamp(object, floor->at) &&
           take_text(object, "version", floor->version, sizeof(floor->version)) &&
           take_text(object, "environment_id", floor->environment_id,
                     sizeof(floor->environment_id)) &&
           take_text(object, "engine", floor->engine, sizeof(floor->engine)) &&
           take_text(object, "device", floor->device, sizeof(floor->device)) &&
           take_text(object, "mode", floor->mode, sizeof(floor->mode)) &&
           take_text(object, "precision", floor->precision, sizeof(floor->precision)) &&
           take_text(object, "model", floor->model, sizeof(floor->model)) &&
           take_count(object, "seq_len", &floor->seq_len) &&
           take_count(object, "batch_size", &floor->batch_size) && take_ratios(object, floor);
}

/* Both ends or neither: a median of few samples has no interval. */
static bool take_interval(const json_t *object, struct store_median *median)
{
    median->ms_low = NAN;
    median->ms_high = NAN;
    if (json_is_null(json_object_get(object, "ms_low")) &&
        json_is_null(json_object_get(object, "ms_high")))
        return true;
    return take_ms(object, "ms_low", &median->ms_low) &&
           take_ms(object, "ms_high", &median->ms_high) && median->ms_low <= median->ms &&
           median->ms <= median->ms_high;
}

/* Of this version or an earlier one. */
static bool is_id(const char *id)
{
    return strlen(hash_id_digits(id)) == HASH_ID_BYTES - 2;
}

/* Which call and which machine; lines of earlier versions do not say. */
static void take_origin(const json_t *object, struct machine_run *run)
{
    const char *machine_id = json_string_value(json_object_get(object, "machine_id"));
    const char *call = json_string_value(json_object_get(object, "run_id"));
    const char *name = json_string_value(json_object_get(object, "device_name"));
    const char *words[5];
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        words[i] = json_string_value(json_object_get(object, cell_words[i]));
    run->call = call != NULL ? machine_call_hash(call) : 0;
    if (machine_id == NULL || words[0] == NULL || words[1] == NULL || words[2] == NULL)
        return;
    run->device = machine_device_hash(machine_id, words[1], name != NULL ? name : "");
    run->kind = machine_kind_hash(run->device, words[0], words[2]);
}

static char *take_cell(const json_t *object)
{
    const char *words[5];
    struct buf text;
    buf_init(&text, CELL_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        words[i] = json_string_value(json_object_get(object, cell_words[i]));
        words[i] = words[i] != NULL ? words[i] : "?";
    }
    machine_line_describe(words, (uint64_t)json_integer_value(json_object_get(object, "seq_len")),
                          (uint64_t)json_integer_value(json_object_get(object, "batch_size")),
                          &text);
    char *cell = strdup(text.data);
    buf_release(&text);
    return cell;
}

static bool take_run(const json_t *object, struct machine_run *run)
{
    const char *id = json_string_value(json_object_get(object, "history_id"));
    if (id == NULL || !is_id(id) || !take_stamp(object, run->at) ||
        !take_ms(object, "ms", &run->median.ms) || !take_interval(object, &run->median))
        return false;
    (void)snprintf(run->id, sizeof(run->id), "%s", id);
    run->is_disturbed = json_is_true(json_object_get(object, "disturbed"));
    take_origin(object, run);
    run->cell = take_cell(object);
    return true;
}

static bool take_clock(const json_t *object, struct machine_clock *clock)
{
    const json_t *value = json_object_get(object, "clock_ns");
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || (uint64_t)number > CLOCK_NS_MAX)
        return false;
    clock->best_ns = (uint64_t)number;
    (void)take_stamp(object, clock->at);
    return take_text(object, "machine_id", clock->machine_id, sizeof(clock->machine_id));
}

/* A rate that is not there is not known. */
static bool take_rate(const json_t *object, const char *key, double *ret_rate)
{
    const json_t *value = json_object_get(object, key);
    double rate = json_number_value(value);
    if (value != NULL && !json_is_null(value) &&
        (!json_is_number(value) || !(rate >= 0) || rate > RATE_MAX))
        return false;
    *ret_rate = rate;
    return true;
}

static bool take_peak(const json_t *object, struct machine_peak *peak)
{
    return take_stamp(object, peak->at) &&
           take_text(object, "hardware_id", peak->hardware_id, sizeof(peak->hardware_id)) &&
           take_text(object, "device", peak->device, sizeof(peak->device)) &&
           take_text(object, "engine", peak->engine, sizeof(peak->engine)) &&
           take_text(object, "precision", peak->precision, sizeof(peak->precision)) &&
           take_rate(object, "matmul_flops", &peak->matmul_flops) &&
           take_rate(object, "fma_flops", &peak->fma_flops) &&
           take_rate(object, "read_bytes", &peak->read_bytes) &&
           take_rate(object, "write_bytes", &peak->write_bytes) &&
           take_rate(object, "triad_bytes", &peak->triad_bytes) &&
           take_rate(object, "launch_ns", &peak->launch_ns);
}

static enum machine_line_kind kind_of(const json_t *object)
{
    static const struct {
        const char *schema;
        const char *what; /* NULL: the schema says it */
        enum machine_line_kind kind;
    } kinds[] = {
        {SCHEMA, "run", MACHINE_LINE_RUN},
        {SCHEMA, "floor", MACHINE_LINE_FLOOR},
        {SCHEMA, "clock", MACHINE_LINE_CLOCK},
        {SCHEMA, "peak", MACHINE_LINE_PEAK},
        {"tokmark.history/1", NULL, MACHINE_LINE_RUN},
        {"tokmark.noise/1", NULL, MACHINE_LINE_FLOOR},
        {"tokmark.pace/1", NULL, MACHINE_LINE_CLOCK},
    };
    const char *schema = json_string_value(json_object_get(object, "schema"));
    const char *what = json_string_value(json_object_get(object, "what"));
    for (size_t i = 0; schema != NULL && i < ARRAY_COUNT(kinds); i++)
        if (strcmp(schema, kinds[i].schema) == 0 &&
            (kinds[i].what == NULL || (what != NULL && strcmp(what, kinds[i].what) == 0)))
            return kinds[i].kind;
    bool is_later = schema != NULL && strcmp(schema, SCHEMA) == 0 && what != NULL;
    return is_later ? MACHINE_LINE_LATER : MACHINE_LINE_BAD;
}

void machine_line_read(const char *text, size_t text_bytes, struct machine_line *ret_line)
{
    memset(ret_line, 0, sizeof(*ret_line));
    json_t *object =
        text != NULL ? json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    enum machine_line_kind kind = kind_of(object);
    bool is_sound = kind == MACHINE_LINE_LATER ||
                    (kind == MACHINE_LINE_RUN && take_run(object, &ret_line->run)) ||
                    (kind == MACHINE_LINE_FLOOR && take_floor(object, &ret_line->floor)) ||
                    (kind == MACHINE_LINE_PEAK && take_peak(object, &ret_line->peak)) ||
                    (kind == MACHINE_LINE_CLOCK && take_clock(object, &ret_line->clock));
    ret_line->kind = is_sound ? kind : MACHINE_LINE_BAD;
    json_decref(object);
}

/* --- writing --- */

void machine_line_describe(const char *const words[5], uint64_t seq_len, uint64_t batch_size,
                           struct buf *out)
{
    buf_appendf(out, "%s %s %s %s seq %" PRIu64 " batch %" PRIu64 " %s", words[0], words[1],
                words[2], words[3], seq_len, batch_size, words[4]);
}

static void begin(struct json_writer *writer, const char *what, const char *at, struct buf *out)
{
    json_writer_init(writer, out);
    json_begin_object(writer);
    json_field_string(writer, "schema", SCHEMA);
    json_field_string(writer, "what", what);
    json_field_string(writer, "at", at);
}

static void end(struct json_writer *writer, struct buf *out)
{
    json_end_object(writer);
    buf_append_char(out, '\n');
}

static void write_ms(struct json_writer *writer, const char *key, double ms)
{
    if (isfinite(ms) && ms > 0)
        json_field_double(writer, key, ms);
    else
        json_field_null(writer, key);
}

void machine_line_write_run(const struct machine_run *run, const char *machine_id,
                            const struct record *record, struct buf *out)
{
    static const enum fact_id words[] = {FACT_FRAMEWORK, FACT_DEVICE, FACT_MODE, FACT_PRECISION,
                                         FACT_MODEL};
    struct json_writer writer;
    begin(&writer, "run", run->at, out);
    json_field_string(&writer, "machine_id", machine_id);
    json_field_string(&writer, "run_id", record_string(record, FACT_RUN_ID));
    json_field_string(&writer, "history_id", run->id);
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        json_field_string(&writer, cell_words[i], record_string(record, words[i]));
    if (!record_is_null(record, FACT_DEVICE_NAME))
        json_field_string(&writer, "device_name", record_string(record, FACT_DEVICE_NAME));
    json_field_u64(&writer, "seq_len", record_u64(record, FACT_SEQ_LEN));
    json_field_u64(&writer, "batch_size", record_u64(record, FACT_BATCH_SIZE));
    write_ms(&writer, "ms", run->median.ms);
    write_ms(&writer, "ms_low", run->median.ms_low);
    write_ms(&writer, "ms_high", run->median.ms_high);
    json_field_bool(&writer, "disturbed", run->is_disturbed);
    end(&writer, out);
}

void machine_line_write_floor(const struct machine_floor *floor, struct buf *out)
{
    struct json_writer writer;
    begin(&writer, "floor", floor->at, out);
    json_field_string(&writer, "version", floor->version);
    json_field_string(&writer, "environment_id", floor->environment_id);
    json_field_string(&writer, "engine", floor->engine);
    json_field_string(&writer, "device", floor->device);
    json_field_string(&writer, "mode", floor->mode);
    json_field_string(&writer, "precision", floor->precision);
    json_field_string(&writer, "model", floor->model);
    json_field_u64(&writer, "seq_len", floor->seq_len);
    json_field_u64(&writer, "batch_size", floor->batch_size);
    json_field_double(&writer, "floor_percent", floor->percent);
    write_ms(&writer, "ms", floor->ms);
    json_put_key(&writer, "log_ratios");
    json_begin_array(&writer);
    for (size_t i = 0; i < floor->repeats_count; i++)
        json_put_double(&writer, floor->log_ratios[i]);
    json_end_array(&writer);
    end(&writer, out);
}

void machine_line_write_clock(const char *machine_id, uint64_t best_ns, struct buf *out)
{
    struct json_writer writer;
    char at[CLOCK_STAMP_BYTES];
    clock_stamp(at);
    begin(&writer, "clock", at, out);
    json_field_string(&writer, "machine_id", machine_id);
    json_field_u64(&writer, "clock_ns", best_ns);
    end(&writer, out);
}

static void write_rate(struct json_writer *writer, const char *key, double rate)
{
    if (isfinite(rate) && rate > 0)
        json_field_double(writer, key, rate);
    else
        json_field_null(writer, key);
}

void machine_line_write_peak(const struct machine_peak *peak, struct buf *out)
{
    struct json_writer writer;
    begin(&writer, "peak", peak->at, out);
    json_field_string(&writer, "hardware_id", peak->hardware_id);
    json_field_string(&writer, "device", peak->device);
    json_field_string(&writer, "engine", peak->engine);
    json_field_string(&writer, "precision", peak->precision);
    write_rate(&writer, "matmul_flops", peak->matmul_flops);
    write_rate(&writer, "fma_flops", peak->fma_flops);
    write_rate(&writer, "read_bytes", peak->read_bytes);
    write_rate(&writer, "write_bytes", peak->write_bytes);
    write_rate(&writer, "triad_bytes", peak->triad_bytes);
    write_rate(&writer, "launch_ns", peak->launch_ns);
    end(&writer, out);
}
