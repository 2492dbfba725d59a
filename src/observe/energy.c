/* observe/energy.c - what did the measured work cost: energy by the card's or the processors'
 * counters, and its price? Beside it, of a card: clocks, heat, memory (gpu_clocks.h).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "observe/gpu_clocks.h"
#include "observe/list.h"
#include "spec/device.h"
#include "telemetry/cpu_clock.h"
#include "telemetry/rapl.h"

/* More apart than this, in %, the card's counter and its power do not describe the same. */
#define DISAGREE_PERCENT 10.0
#define WH_PER_KWH_J     3.6e6

struct energy {
    const char *missing; /* why the card is not watched; NULL: it is, or was. Borrowed: static */
    struct nvml *nvml;   /* owned: from before_first() to after_measured() */
    size_t cards_count;
    unsigned indices[NVML_DEVICES_MAX];
    struct nvml_value idle_mw; /* of all cards */
    bool is_watching;
    struct gpu_watch *watches[NVML_DEVICES_MAX]; /* owned: while it is measured */
    bool has_totals;
    struct gpu_totals totals;
    struct rapl before, after; /* of a cell on the CPU */
    struct rapl looked;        /* at the last look */
    uint64_t begin_ns, end_ns; /* of the span */
};

/* By the worker's list of bus ids, "0000:1b:00.0,0000:3b:00.0". */
static size_t find_named(struct energy *energy, const char *list)
{
    size_t found = 0;
    while (*list != '\0' && found < NVML_DEVICES_MAX) {
        char bus_id[NVML_TEXT_BYTES];
        size_t length = strcspn(list, ",");
        (void)snprintf(bus_id, sizeof(bus_id), "%.*s", (int)length, list);
        if (!nvml_find(energy->nvml, bus_id, &energy->indices[found]))
            return 0;
        found++;
        list += length + (list[length] == ',');
    }
    return found;
}

/* Without their names: all that there are. */
static size_t find_all(struct energy *energy)
{
    unsigned count = nvml_count(energy->nvml);
    for (unsigned i = 0; i < count && i < NVML_DEVICES_MAX; i++)
        energy->indices[i] = i;
    return count;
}

static bool find_cards(struct energy *energy, const struct client *client)
{
    const char *list = client->ready.device_bus;
    energy->cards_count = list[0] != '\0' ? find_named(energy, list) : find_all(energy);
    return energy->cards_count == device_count(client->cell->device) &&
           energy->cards_count <= NVML_DEVICES_MAX;
}

static struct nvml_value idle_power(const struct energy *energy)
{
    struct nvml_value all = {0};
    for (size_t i = 0; i < energy->cards_count; i++) {
        struct nvml_reading idle;
        nvml_read(energy->nvml, energy->indices[i], &idle);
        if (all.missing == NULL)
            all.missing = idle.power_mw.missing;
        all.value += idle.power_mw.value;
    }
    return all;
}

static void before_first(void *state, const struct observed *seen)
{
    struct energy *energy = state;
    const struct client *client = seen->client;
    energy->missing = client_is_synthetic(client)                     ? "synthetic"
                      : !client_is_here(client)                       ? "worker_not_seen"
                      : device_is_host(client->cell->device)          ? "on_cpu"
                      : strncmp(client->cell->device, "cuda", 4) != 0 ? "not_nvidia"
                      : client->ready.hosts_count > 1                 ? "other_hosts"
                                                                      : NULL;
    if (energy->missing != NULL)
        return;
    energy->nvml = nvml_open(&energy->missing);
    if (energy->nvml == NULL)
        return;
    if (find_cards(energy, client)) {
        energy->idle_mw = idle_power(energy);
        return;
    }
    energy->missing = "device_not_known";
    nvml_close(energy->nvml);
    energy->nvml = NULL;
}

static bool is_on_cpu(const struct energy *energy)
{
    return energy->missing != NULL && strcmp(energy->missing, "on_cpu") == 0;
}

static void before_measured(void *state, const struct observed *seen)
{
    struct energy *energy = state;
    if (energy->nvml != NULL)
        energy->is_watching = gpu_watch_start(energy->nvml, energy->indices, energy->cards_count,
                                              seen->client->session.watch.pid, energy->watches);
    else if (is_on_cpu(energy))
        rapl_read("", &energy->before);
    energy->looked = energy->before;
    energy->begin_ns = clock_now_ns();
}

static void keep(struct nvml_value *all, const struct nvml_value *one, bool is_better)
{
    if (all->missing == NULL && (one->missing != NULL || is_better))
        *all = *one;
}

/* Of several the slowest, the hottest and the fullest; power is that of all. */
static void look_at_cards(const struct energy *energy, struct gauges *gauges)
{
    struct nvml_reading now;
    struct nvml_value used_bytes;
    gpu_watch_latest(energy->watches[0], &now, &used_bytes);
    for (size_t i = 1; i < energy->cards_count; i++) {
        struct nvml_reading one;
        struct nvml_value used;
        gpu_watch_latest(energy->watches[i], &one, &used);
        uint64_t power_mw = now.power_mw.value + one.power_mw.value;
        keep(&now.sm_mhz, &one.sm_mhz, one.sm_mhz.value < now.sm_mhz.value);
        keep(&now.temperature_c, &one.temperature_c,
             one.temperature_c.value > now.temperature_c.value);
        keep(&used_bytes, &used, used.value > used_bytes.value);
        keep(&now.power_mw, &one.power_mw, true);
        now.power_mw.value = power_mw;
    }
    gauges_add(gauges, GAUGE_GPU_SM_MHZ, (double)now.sm_mhz.value, now.sm_mhz.missing);
    gauges_add(gauges, GAUGE_GPU_TEMPERATURE, (double)now.temperature_c.value,
               now.temperature_c.missing);
    gauges_add(gauges, GAUGE_GPU_USED_MB, (double)used_bytes.value / (1 << 20), used_bytes.missing);
    gauges_add(gauges, GAUGE_POWER_W, (double)now.power_mw.value / 1000, now.power_mw.missing);
}

/* Power since the last look. */
static void look_at_processors(struct energy *energy, struct gauges *gauges)
{
    double mhz = 0;
    double joules = 0;
    struct rapl now = {.missing = energy->looked.missing};
    const char *missing = cpu_clock_read_mhz("", &mhz);
    gauges_add(gauges, GAUGE_CPU_MHZ, mhz, missing);
    if (now.missing == NULL)
        rapl_read("", &now);
    missing = rapl_energy(&energy->looked, &now, &joules);
    gauges_add(gauges, GAUGE_POWER_W,
               missing == NULL ? joules * 1e9 / (double)(now.at_ns - energy->looked.at_ns) : 0,
               missing);
    if (missing == NULL)
        energy->looked = now;
}

static void look(void *state, const struct observed *seen, struct gauges *gauges)
{
    struct energy *energy = state;
    (void)seen;
    if (energy->is_watching) {
        look_at_cards(energy, gauges);
    } else if (is_on_cpu(energy)) {
        look_at_processors(energy, gauges);
    } else if (energy->missing != NULL) {
        gauges_add(gauges, GAUGE_GPU_SM_MHZ, 0, energy->missing);
        gauges_add(gauges, GAUGE_POWER_W, 0, energy->missing);
    }
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    (void)seen;
    (void)is_complete;
    struct energy *energy = state;
    energy->end_ns = clock_now_ns();
    if (energy->is_watching) {
        gpu_watch_stop(energy->watches, energy->cards_count, &energy->totals);
        energy->has_totals = true;
    } else if (is_on_cpu(energy)) {
        rapl_read("", &energy->after);
    }
    energy->is_watching = false;
    nvml_close(energy->nvml);
    energy->nvml = NULL;
}

/* --- fields --- */

/* NULL, or why there is no energy. */
static const char *joules_of(const struct energy *energy, double *ret_joules,
                             const char **ret_source)
{
    if (is_on_cpu(energy)) {
        *ret_source = "rapl";
        return rapl_energy(&energy->before, &energy->after, ret_joules);
    }
    if (energy->missing != NULL)
        return energy->missing;
    if (!energy->has_totals)
        return "not_measured";
    if (energy->totals.counter_missing == NULL) {
        *ret_joules = energy->totals.counter_j;
        *ret_source = "nvml_counter";
        return NULL;
    }
    *ret_joules = energy->totals.integrated_j;
    *ret_source = "nvml_power";
    return energy->totals.integrated_missing;
}

/* Of every step in the span: those of blocks that were set aside used energy, too. */
static double tokens_of(const struct observed *seen)
{
    double steps = (double)seen->summary->steps_count;
    for (size_t i = 0; seen->interference != NULL && i < INTERFERENCE_CAUSES_COUNT; i++)
        if (i != INTERFERENCE_NONE)
            steps += (double)seen->interference->steps[i];
    return steps * (double)cell_tokens_per_step(seen->client->cell);
}

static void put_price(const struct observed *seen, double joules_per_token, const char *missing,
                      struct record *record)
{
    const struct observe_options *options = seen->options;
    double rate = seen->summary->tokens_per_second;
    const char *why_not = options->price_per_kwh == 0 && options->price_per_hour == 0 ? "no_price"
                          : options->price_per_kwh > 0                                ? missing
                          : !isfinite(rate) || rate <= 0 ? "below_the_clock"
                                                         : NULL;
    if (why_not != NULL) {
        record_set_null(record, FACT_PRICE_PER_MILLION_TOKENS, why_not);
        return;
    }
    double price = 0;
    if (options->price_per_kwh > 0)
        price += joules_per_token / WH_PER_KWH_J * options->price_per_kwh;
    if (options->price_per_hour > 0)
        price += options->price_per_hour / 3600 / rate;
    record_set_double(record, FACT_PRICE_PER_MILLION_TOKENS, 1e6 * price);
}

static void put_card(const struct energy *energy, const char *missing, double joules,
                     const char *joules_missing, struct record *record)
{
    const struct gpu_totals *totals = &energy->totals;
    const char *counter = missing != NULL ? missing : totals->counter_missing;
    const char *integrated = missing != NULL ? missing : totals->integrated_missing;
    const char *idle = missing != NULL ? missing : energy->idle_mw.missing;
    double idle_w = (double)energy->idle_mw.value / 1000;
    record_put_double(record, FACT_ENERGY_COUNTER_J, totals->counter_j, counter);
    record_put_double(record, FACT_ENERGY_INTEGRATED_J, totals->integrated_j, integrated);
    record_put_double(record, FACT_POWER_IDLE_W, idle_w, idle);
    record_put_double(record, FACT_ENERGY_ABOVE_IDLE_J,
                      joules - idle_w * (double)totals->wall_ns / 1e9,
                      joules_missing != NULL ? joules_missing : idle);
    bool has_peak = missing == NULL && totals->power_w.count > 0;
    record_put_double(record, FACT_POWER_MAX_W, totals->power_w.max,
                      has_peak                          ? NULL
                      : missing != NULL                 ? missing
                      : totals->power_w.missing != NULL ? totals->power_w.missing
                                                        : "too_short");
    gpu_clocks_put(totals, missing, record);
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct energy *energy = state;
    const struct gpu_totals *totals = &energy->totals;
    if (seen->summary == NULL || !energy->has_totals)
        return;
    gpu_clocks_judge(totals, judgement);
    if (totals->counter_missing != NULL || totals->integrated_missing != NULL)
        return;
    double apart_percent = 100 * fabs(totals->counter_j / totals->integrated_j - 1);
    if (apart_percent > DISAGREE_PERCENT)
        judgement_warn(judgement, "energy_disagrees",
                       "the card's counter says %.1f J, its power over time %.1f J",
                       totals->counter_j, totals->integrated_j);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct energy *energy = state;
    double joules = 0;
    const char *source = "";
    const char *missing = energy->missing;
    if (seen->summary == NULL)
        missing = client_is_synthetic(seen->client) ? "synthetic" : "not_measured";
    else if (missing == NULL && !energy->has_totals)
        missing = "not_measured";
    const char *no_joules = seen->summary == NULL ? missing : joules_of(energy, &joules, &source);
    put_card(energy, missing, joules, no_joules, record);
    double seconds = is_on_cpu(energy) ? (double)(energy->end_ns - energy->begin_ns) / 1e9
                                       : (double)energy->totals.wall_ns / 1e9;
    double tokens = seen->summary != NULL ? tokens_of(seen) : 0;
    record_put_double(record, FACT_ENERGY_J, joules, no_joules);
    record_put_double(record, FACT_POWER_W, joules / seconds, no_joules);
    record_put_double(record, FACT_JOULES_PER_TOKEN, joules / tokens, no_joules);
    record_put_double(record, FACT_TOKENS_PER_JOULE, tokens / joules, no_joules);
    if (no_joules == NULL)
        record_set_string(record, FACT_ENERGY_SOURCE, source);
    else
        record_set_null(record, FACT_ENERGY_SOURCE, no_joules);
    if (seen->summary != NULL)
        put_price(seen, joules / tokens, no_joules, record);
    else
        record_set_null(record, FACT_PRICE_PER_MILLION_TOKENS, missing);
}

static const enum fact_id fields[] = {FACT_ENERGY_J,
                                      FACT_ENERGY_SOURCE,
                                      FACT_ENERGY_COUNTER_J,
                                      FACT_ENERGY_INTEGRATED_J,
                                      FACT_ENERGY_ABOVE_IDLE_J,
                                      FACT_POWER_W,
                                      FACT_POWER_MAX_W,
                                      FACT_POWER_IDLE_W,
                                      FACT_JOULES_PER_TOKEN,
                                      FACT_TOKENS_PER_JOULE,
                                      FACT_PRICE_PER_MILLION_TOKENS,
                                      GPU_CLOCKS_FIELDS};

const struct probe energy_probe = {
    .name = "energy",
    .state_bytes = sizeof(struct energy),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_first = before_first,
    .before_measured = before_measured,
    .look = look,
    .after_measured = after_measured,
    .judge = judge,
    .put = put,
};
