#include "supervise/earlier_runs.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "supervise/provenance.h"

#define ID_BYTES_MAX ((size_t)64 * 1024)

static bool is_by_own_engine(const struct cell *cell)
{
    static const char command[] = "exec:";
    return strncmp(cell->engine, command, sizeof(command) - 1) != 0;
}

/* Why it is not known what this trial would be a repeat of; NULL when it is. */
static const char *why_no_id(const struct trial *trial)
{
    if (trial->options->history == NULL)
        return "off";
    if (trial->has_hello && trial->hello.is_synthetic)
        return "synthetic";
    if (!trial->has_summary || !trial->has_ready)
        return "not_measured";
    if (strcmp(trial->cell->device, "cpu") != 0)
        return "device_not_known"; /* which card it is: the environment does not say yet */
    /* What a user's own code does may change from run to run, under the same name. */
    if (!is_by_own_engine(trial->cell) || !provenance_is_preset(trial->cell) ||
        provenance_is_package(&trial->ready))
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

static void make_id(const struct trial *trial, char id[HASH_ID_BYTES])
{
    const struct supervise_options *options = trial->options;
    struct buf text;
    struct json_writer writer;
    buf_init(&text, ID_BYTES_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    json_field_string(&writer, "cell", hash_id_digits(trial->cell_id));
    json_field_string(&writer, "program", hash_id_digits(options->program_id));
    json_field_string(&writer, "environment", hash_id_digits(options->environment_id));
    json_field_string(&writer, "launch",
                      options->launch_prefix != NULL ? options->launch_prefix : "");
    json_field_u64(&writer, "variables", hash_variables());
    json_field_bool(&writer, "is_sync_per_block", options->policy.is_sync_per_block);
    json_end_object(&writer);
    hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
}

static double to_ms(double ns)
{
    return ns / NS_PER_MS;
}

/* In ms, as those of the book. False for a median of 0: steps too short for the clock. */
static bool read_own(const struct trial *trial, struct measure_reading *ret_own)
{
    const struct measure_interval *median_95 = &trial->summary.median_95;
    *ret_own = (struct measure_reading){
        to_ms(trial->summary.median_ns),
        {median_95->is_known, to_ms(median_95->low), to_ms(median_95->high)}};
    return ret_own->median > 0;
}

void earlier_runs_compare(struct trial *trial)
{
    const struct sweep_facts *sweep = trial->options->sweep;
    struct measure_reading own;
    trial->history_id[0] = '\0';
    trial->history = (struct history){0};
    trial->no_history = why_no_id(trial);
    if (trial->no_history == NULL && sweep != NULL && sweep->first_reading != NULL)
        trial->no_history = "sentinel";
    if (trial->no_history == NULL && !read_own(trial, &own))
        trial->no_history = "below_the_clock";
    if (trial->no_history != NULL)
        return;
    make_id(trial, trial->history_id);
    struct store_median medians[HISTORY_RUNS_MAX];
    struct measure_reading runs[HISTORY_RUNS_MAX + 1];
    size_t count =
        history_book_find(trial->options->history, trial->history_id, HISTORY_RUNS_MAX, medians);
    if (count == 0) {
        trial->no_history = "no_earlier_run";
        return;
    }
    for (size_t i = 0; i < count; i++)
        runs[i] = sweep_facts_reading(&medians[i]);
    runs[count] = own;
    trial->history = history_of(runs, count + 1, trial->options->history_limit_percent);
}

/* Medians that are no further apart than two readings of the clock are one. */
static bool is_below_clock(const struct history *history)
{
    return (history->most - history->least) * NS_PER_MS <= CLOCK_TICKS_NS;
}

void earlier_runs_judge(const struct trial *trial, struct reasons *reasons)
{
    if (trial->no_history == NULL && !is_below_clock(&trial->history))
        history_add_reason(&trial->history, reasons);
}

void earlier_runs_put(const struct trial *trial, struct record *record)
{
    static const enum fact_id fields[] = {FACT_HISTORY_RUNS,           FACT_HISTORY_MS,
                                          FACT_HISTORY_MS_LOW,         FACT_HISTORY_MS_HIGH,
                                          FACT_HISTORY_SPREAD_PERCENT, FACT_HISTORY_RANGE_PERCENT};
    const char *missing = trial->no_history;
    if (trial->history_id[0] != '\0')
        record_set_string(record, FACT_HISTORY_ID, trial->history_id);
    else
        record_set_null(record, FACT_HISTORY_ID, missing);
    for (size_t i = 0; missing != NULL && i < ARRAY_COUNT(fields); i++)
        record_set_null(record, fields[i], missing);
    if (missing == NULL)
        sweep_facts_put_trials(&trial->history.runs, fields, record);
}
