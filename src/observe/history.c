/* observe/history.c - do runs of the same thing on this machine agree with this one? */
#include "measure/history.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_write.h"
#include "client/provenance.h"
#include "observe/list.h"
#include "observe/readings.h"
#include "spec/device.h"

struct earlier_runs {
    char id[HASH_ID_BYTES]; /* "" = none */
    struct history history;
    const char *unknown_reason; /* NULL: it is known. Borrowed: a literal */
};

#define ID_BYTES_MAX ((size_t)64 * 1024)

static bool is_by_own_engine(const struct cell *cell)
{
    static const char command[] = "exec:";
    return strncmp(cell->engine, command, sizeof(command) - 1) != 0;
}

static bool is_on(const struct observe_options *options)
{
    return options->history != NULL;
}

/* Why it is not known what this trial would be a repeat of; NULL when it is. */
static const char *why_no_id(const struct observed *seen)
{
    const struct client *client = seen->client;
    if (client_is_synthetic(client))
        return "synthetic";
    if (seen->summary == NULL || !client->has_ready)
        return "not_measured";
    if (!device_is_host(client->cell->device))
        return "device_not_known"; /* which card it is: the environment does not say yet */
    /* What a user's own code does may change from run to run, under the same name. */
    if (!is_by_own_engine(client->cell) || !provenance_is_preset(client->cell) ||
        provenance_is_package(&client->ready))
        return "code_not_known";
    return NULL;
}

/* What libraries and allocators take from the worker's surroundings. */
static bool is_of_speed(const char *variable)
{
    static const char *const prefixes[] = {
        "ATEN_",       "CUDA_",   "DNNL_", "GLIBC_TUNABLES=", "GOMP_", "JAX_",      "KMP_",
        "LD_PRELOAD=", "MALLOC_", "MKL_",  "ONEDNN_",         "OMP_",  "OPENBLAS_", "PYTORCH_",
        "TORCH_",      "XLA_"};
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* A sum, so that their order says nothing. */
static uint64_t hash_variables(void)
{
    uint64_t sum = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++)
        if (is_of_speed(*variable))
            sum += hash_u64(*variable, strlen(*variable));
    return sum;
}

static void make_id(const struct observed *seen, char id[HASH_ID_BYTES])
{
    const struct observe_options *options = seen->options;
    const char *launch = seen->client->options->launch_prefix;
    struct buf text;
    struct json_writer writer;
    buf_init(&text, ID_BYTES_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    json_field_string(&writer, "cell", hash_id_digits(seen->cell_id));
    json_field_string(&writer, "program", hash_id_digits(options->program_id));
    json_field_string(&writer, "environment", hash_id_digits(options->environment_id));
    json_field_string(&writer, "launch", launch != NULL ? launch : "");
    json_field_u64(&writer, "variables", hash_variables());
    json_field_bool(&writer, "is_sync_per_block", seen->is_sync_per_block);
    json_end_object(&writer);
    hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
}

/* In ms, as those of the book. False for a median of 0: steps too short for the clock. */
static bool read_own(const struct measure_summary *summary, struct measure_reading *ret_own)
{
    const struct measure_interval *median_95 = &summary->median_95;
    *ret_own = (struct measure_reading){
        summary->median_ns / NS_PER_MS,
        {median_95->is_known, median_95->low / NS_PER_MS, median_95->high / NS_PER_MS}};
    return ret_own->median > 0;
}

static void look_up(struct earlier_runs *runs, const struct observed *seen,
                    const struct measure_reading *own)
{
    const struct observe_options *options = seen->options;
    struct store_median medians[HISTORY_RUNS_MAX];
    struct measure_reading readings[HISTORY_RUNS_MAX + 1];
    make_id(seen, runs->id);
    size_t count = history_book_find(options->history, runs->id, HISTORY_RUNS_MAX, medians);
    if (count == 0) {
        runs->unknown_reason = "no_earlier_run";
        return;
    }
    for (size_t i = 0; i < count; i++)
        readings[i] = reading_of_median(&medians[i]);
    readings[count] = *own;
    runs->history = history_of(readings, count + 1, options->history_limit_percent);
}

static enum status after_trial(void *state, const struct observed *seen, struct err *err)
{
    struct earlier_runs *runs = state;
    const struct canary_facts *canary = seen->options->canary;
    struct measure_reading own;
    (void)err;
    runs->unknown_reason = why_no_id(seen);
    if (runs->unknown_reason == NULL && canary != NULL && canary->first_reading != NULL)
        runs->unknown_reason = "sentinel";
    if (runs->unknown_reason == NULL && !read_own(seen->summary, &own))
        runs->unknown_reason = "below_the_clock";
    if (runs->unknown_reason == NULL)
        look_up(runs, seen, &own);
    return STATUS_OK;
}

/* Medians that are no further apart than two readings of the clock are one. */
static bool is_below_clock(const struct history *history)
{
    return (history->most - history->least) * NS_PER_MS <= CLOCK_TICKS_NS;
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct earlier_runs *runs = state;
    struct reasons found = {0};
    (void)seen;
    if (runs->unknown_reason == NULL && !is_below_clock(&runs->history))
        history_add_reason(&runs->history, &found);
    judgement_warn_all(judgement, &found);
}

/* The id, and what its runs come to. */
static const enum fact_id fields[] = {FACT_HISTORY_ID,           FACT_HISTORY_RUNS,
                                      FACT_HISTORY_MS,           FACT_HISTORY_MS_LOW,
                                      FACT_HISTORY_MS_HIGH,      FACT_HISTORY_SPREAD_PERCENT,
                                      FACT_HISTORY_RANGE_PERCENT};

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct earlier_runs *runs = state;
    (void)seen;
    if (runs->unknown_reason == NULL)
        readings_put(&runs->history.runs, fields + 1, record);
    for (size_t i = 0; runs->unknown_reason != NULL && i < ARRAY_COUNT(fields); i++)
        record_set_null(record, fields[i], runs->unknown_reason);
    if (runs->id[0] != '\0')
        record_set_string(record, FACT_HISTORY_ID, runs->id);
}

const struct probe history_probe = {
    .name = "history",
    .state_bytes = sizeof(struct earlier_runs),
    .is_on = is_on,
    .off_reason = "off",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .after_trial = after_trial,
    .judge = judge,
    .put = put,
};
