/* observe/history.c - what runs of the same thing have come to on this machine, whether this one is
 * like them, and what the next one may come to (measure/next_run.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_write.h"
#include "base/num.h"
#include "client/provenance.h"
#include "measure/next_run.h"
#include "measure/trials.h"
#include "observe/interference.h"
#include "observe/list.h"
#include "observe/readings.h"
#include "observe/spreads.h"
#include "spec/device.h"
#include "telemetry/variables.h"

#define ID_BYTES_MAX ((size_t)64 * 1024)
/* The history_* fields are of so many earlier runs, and this one. */
#define HISTORY_RUNS_MAX 10
#define CONFIDENCE       0.95
/* Runs that let one expect something of the one after. */
#define EXPECTING_MIN 2
/* Fewer degrees of freedom say too little of the spread between runs for a verdict. */
#define JUDGING_FREEDOM_MIN 4

struct earlier_runs {
    char id[HASH_ID_BYTES];     /* "" = none */
    const char *unknown_reason; /* of the earlier runs; NULL: there are some. Borrowed: a literal */
    struct measure_reading readings[NEXT_RUN_RUNS_MAX]; /* in ms; the last is this run's */
    bool is_disturbed[NEXT_RUN_RUNS_MAX];               /* by others on the machine */
    size_t count;                                       /* 0: this run has no median */
    const char *no_median_reason;                       /* borrowed: a literal */
    bool is_of_call;                                    /* all of them are of this call */
    struct trials history;
    struct next_run expected; /* of this run, by those before */
    struct next_run next;
};

static bool is_by_own_engine(const struct cell *cell)
{
    static const char command[] = "exec:";
    return strncmp(cell->engine, command, sizeof(command) - 1) != 0;
}

/* Why it is not known what this trial would be a repeat of; NULL when it is. */
static const char *why_no_id(const struct observed *seen)
{
    const struct client *client = seen->client;
    if (seen->options->machine == NULL)
        return "off";
    if (client_is_synthetic(client))
        return "synthetic";
    if (seen->summary == NULL || !client->has_ready)
        return "not_measured";
    if (!device_is_host(client->cell->device) && client->ready.device_name[0] == '\0')
        return "device_not_known"; /* another card may go by the same name */
    /* What a user's own code does may change from run to run, under the same name. */
    if (!is_by_own_engine(client->cell) || !provenance_is_preset(client->cell) ||
        provenance_is_package(&client->ready))
        return "code_not_known";
    return NULL;
}

/* A sum, so that their order says nothing. */
static uint64_t hash_variables(void)
{
    uint64_t sum = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++)
        if (variable_is_of_speed(*variable))
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
    if (seen->client->ready.device_name[0] != '\0')
        json_field_string(&writer, "device_name", seen->client->ready.device_name);
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
        .median = summary->median_ns / NS_PER_MS,
        .median_95 = {median_95->is_known, median_95->low / NS_PER_MS, median_95->high / NS_PER_MS},
        .extremes = {summary->min_ns / NS_PER_MS, summary->max_ns / NS_PER_MS,
                     summary->effective_count}};
    return ret_own->median > 0;
}

/* Earlier runs of the same thing by the book. */
static void look_up(struct earlier_runs *runs, const struct observed *seen)
{
    const struct observe_options *options = seen->options;
    const struct machine_run *found[NEXT_RUN_RUNS_MAX - 1];
    make_id(seen, runs->id);
    size_t count = machine_book_runs(options->machine, runs->id, NEXT_RUN_RUNS_MAX - 1, found);
    uint64_t call = machine_call_hash(options->run_id != NULL ? options->run_id : "");
    for (size_t i = 0; i < count; i++) {
        runs->readings[i] = reading_of_median(&found[i]->median);
        runs->is_disturbed[i] = found[i]->is_disturbed;
        runs->is_of_call &= found[i]->call == call;
    }
    runs->count = count;
    if (count == 0)
        runs->unknown_reason = "no_earlier_run";
}

/* Where the book cannot know, this call still does. */
static void take_trials(struct earlier_runs *runs, const struct observe_options *options)
{
    size_t most = NEXT_RUN_RUNS_MAX - 1;
    size_t first = options->trials_count > most ? options->trials_count - most : 0;
    for (size_t i = first; i < options->trials_count; i++)
        runs->readings[runs->count++] = options->trials[i];
}

/* What other cells have shown on this device. */
static struct next_run_priors look_at_others(const struct earlier_runs *runs,
                                             const struct observed *seen, double ms)
{
    const struct observe_options *options = seen->options;
    const struct cell *cell = seen->client->cell;
    struct next_run_spread spreads[SPREADS_MAX];
    struct machine_run own = {.median.ms = ms};
    if (options->machine == NULL || runs->id[0] == '\0')
        return (struct next_run_priors){0};
    memcpy(own.id, runs->id, sizeof(own.id));
    own.device =
        machine_device_hash(options->machine_id, cell->device, seen->client->ready.device_name);
    own.kind = machine_kind_hash(own.device, cell->framework, cell_mode_name(cell->mode));
    struct next_run_priors priors;
    size_t count = spreads_of_others(options->machine, &own, false, spreads);
    priors.all = next_run_prior_of(spreads, count);
    count = spreads_of_others(options->machine, &own, true, spreads);
    priors.undisturbed = next_run_prior_of(spreads, count);
    return priors;
}

static bool is_disturbed(const struct observed *seen)
{
    char text[REASON_TEXT_BYTES];
    return seen->interference != NULL && interference_is_heavy(seen->interference, "block", text);
}

static enum status after_trial(void *state, const struct observed *seen, struct err *err)
{
    struct earlier_runs *runs = state;
    struct measure_reading own;
    (void)err;
    runs->is_of_call = true;
    runs->unknown_reason = why_no_id(seen);
    runs->no_median_reason = seen->summary == NULL ? "not_measured" : NULL;
    if (seen->summary != NULL && !read_own(seen->summary, &own))
        runs->no_median_reason = "below_the_clock";
    if (runs->no_median_reason != NULL) {
        if (runs->unknown_reason == NULL)
            runs->unknown_reason = runs->no_median_reason;
        return STATUS_OK;
    }
    if (runs->unknown_reason == NULL)
        look_up(runs, seen);
    else
        take_trials(runs, seen->options);
    struct next_run_priors priors = look_at_others(runs, seen, own.median);
    if (runs->count >= EXPECTING_MIN)
        runs->expected = next_run_of(runs->readings, runs->is_disturbed, runs->count,
                                     runs->is_of_call, priors, CONFIDENCE);
    runs->readings[runs->count] = own;
    runs->is_disturbed[runs->count++] = is_disturbed(seen);
    runs->next = next_run_of(runs->readings, runs->is_disturbed, runs->count, runs->is_of_call,
                             priors, CONFIDENCE);
    size_t shown = runs->count < HISTORY_RUNS_MAX + 1 ? runs->count : HISTORY_RUNS_MAX + 1;
    runs->history = trials_of(runs->readings + runs->count - shown, shown);
    return STATUS_OK;
}

/* The precision that was asked for is one for the next run as well, where it is known how far runs
 * lie apart: a run of seconds is soon precise about the state that it finds. */
static void judge_precision(const struct earlier_runs *runs, double target_percent,
                            struct judgement *judgement)
{
    const struct measure_interval *next = &runs->next.interval;
    if (!(target_percent > 0) || !next->is_known || runs->next.freedom < JUDGING_FREEDOM_MIN)
        return;
    double median = runs->readings[runs->count - 1].median;
    double below = 100 * (1 - next->low / median);
    double above = 100 * (next->high / median - 1);
    int digits = num_digits_apart(fmax(below, above), target_percent);
    if (fmax(below, above) > target_percent)
        judgement_add(
            judgement, VERDICT_UNSTEADY, "target_ci_not_met",
            "another run's median may be %+.*g to %+.*g %% from this one's, the target is "
            "+-%g %%; that is how far apart runs lie on this machine",
            digits, -below, digits, above, target_percent);
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct earlier_runs *runs = state;
    struct reasons found = {0};
    if (runs->count == 0 || runs->no_median_reason != NULL)
        return;
    judge_precision(runs, seen->options->target_percent, judgement);
    if (runs->unknown_reason == NULL)
        next_run_add_unlike(&runs->expected, runs->count - 1, &runs->readings[runs->count - 1],
                            CLOCK_TICKS_NS / (double)NS_PER_MS, &found);
    judgement_warn_all(judgement, &found);
}

/* The id, and what its runs come to. */
static const enum fact_id fields[] = {FACT_HISTORY_ID,
                                      FACT_HISTORY_RUNS,
                                      FACT_HISTORY_MS,
                                      FACT_HISTORY_MS_LOW,
                                      FACT_HISTORY_MS_HIGH,
                                      FACT_HISTORY_SPREAD_PERCENT,
                                      FACT_HISTORY_RANGE_PERCENT,
                                      FACT_NEXT_RUN_MS_LOW,
                                      FACT_NEXT_RUN_MS_HIGH,
                                      FACT_NEXT_RUN_BASIS,
                                      FACT_BETWEEN_RUN_PERCENT};
#define HISTORY_FIELDS_COUNT 7

static void put_next(const struct earlier_runs *runs, struct record *record)
{
    const char *no_median = runs->no_median_reason;
    if (no_median == NULL && runs->count == 0)
        no_median = "not_measured";
    const char *why_not = no_median != NULL ? no_median : "too_few_samples";
    const char *basis = next_run_basis_name(runs->next.basis);
    readings_put_interval(&runs->next.interval, FACT_NEXT_RUN_MS_LOW, FACT_NEXT_RUN_MS_HIGH,
                          why_not, record);
    if (basis != NULL)
        record_set_string(record, FACT_NEXT_RUN_BASIS, basis);
    else
        record_set_null(record, FACT_NEXT_RUN_BASIS, why_not);
    if (runs->next.between_percent.is_known)
        record_set_double(record, FACT_BETWEEN_RUN_PERCENT, runs->next.between_percent.value);
    else
        record_set_null(record, FACT_BETWEEN_RUN_PERCENT,
                        no_median != NULL ? no_median : "one_run");
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct earlier_runs *runs = state;
    (void)seen;
    const char *why_not = runs->unknown_reason;
    if (why_not == NULL && runs->count == 0)
        why_not = "not_measured";
    if (why_not == NULL)
        readings_put(&runs->history, fields + 1, record);
    for (size_t i = 0; why_not != NULL && i < HISTORY_FIELDS_COUNT; i++)
        record_set_null(record, fields[i], why_not);
    if (runs->id[0] != '\0')
        record_set_string(record, FACT_HISTORY_ID, runs->id);
    put_next(runs, record);
}

const struct probe history_probe = {
    .name = "history",
    .state_bytes = sizeof(struct earlier_runs),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .after_trial = after_trial,
    .judge = judge,
    .put = put,
};
