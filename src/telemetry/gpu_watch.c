#include "telemetry/gpu_watch.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/status.h"

#define SAMPLE_NS      (100 * NS_PER_MS)
#define MEMORY_EVERY   10 /* samples; lists of processes are slow */
#define EDGE_WAIT_NS   (120 * NS_PER_MS)
#define EDGE_LOOK_NS   (2 * NS_PER_MS)
#define INTEGRATED_MIN 10 /* samples */

/* A moment of the energy counter. `missing` is borrowed: static. */
struct counter {
    const char *missing;
    uint64_t at_ns, mj;
};

struct gpu_watch {
    const struct nvml *nvml; /* borrowed */
    unsigned index;
    pid_t pid;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_over;
    struct nvml_reading latest; /* under the lock, as the next */
    struct nvml_value latest_used_bytes;
    /* Of the thread, until it is joined. */
    struct gpu_totals totals;
    struct counter first;
    uint64_t begin_ns, last_ns;
    uint64_t power_first_ns, power_last_ns;
    double power_last_w, power_ws;
};

const char *gpu_throttle_name(unsigned bit)
{
    static const char *const names[GPU_THROTTLES_COUNT] = {
        "idle",       "app_clocks", "sw_power_cap", "hw_slowdown",  "sync_boost",
        "sw_thermal", "hw_thermal", "power_brake",  "display_clock"};
    ASSERT(bit < GPU_THROTTLES_COUNT);
    return names[bit];
}

static void take(struct gpu_series *series, const struct nvml_value *value, double unit)
{
    if (value->missing != NULL) {
        if (series->missing == NULL)
            series->missing = value->missing;
        return;
    }
    double number = (double)value->value * unit;
    series->min = series->count == 0 || number < series->min ? number : series->min;
    series->max = series->count == 0 || number > series->max ? number : series->max;
    series->sum += number;
    series->count++;
}

static void take_power(struct gpu_watch *watch, const struct nvml_reading *reading, uint64_t at_ns)
{
    double watts = (double)reading->power_mw.value / 1000;
    take(&watch->totals.power_w, &reading->power_mw, 1e-3);
    if (reading->power_mw.missing != NULL)
        return;
    if (watch->power_first_ns == 0)
        watch->power_first_ns = at_ns;
    else
        watch->power_ws +=
            (watts + watch->power_last_w) / 2 * (double)(at_ns - watch->power_last_ns) / 1e9;
    watch->power_last_ns = at_ns;
    watch->power_last_w = watts;
}

static void take_throttle(struct gpu_totals *totals, const struct nvml_value *throttle)
{
    if (throttle->missing != NULL) {
        totals->throttle_missing = throttle->missing;
        return;
    }
    totals->throttles_counted++;
    for (unsigned bit = 0; bit < GPU_THROTTLES_COUNT; bit++)
        if ((throttle->value >> bit & 1) != 0)
            totals->throttles[bit]++;
}

/* Where our own process is not listed, as in a container, it is not known which are others'. */
static void take_memory(struct gpu_watch *watch)
{
    struct nvml_memory memory;
    nvml_read_memory(watch->nvml, watch->index, watch->pid, &memory);
    struct nvml_value others = memory.processes_count;
    if (others.missing == NULL && memory.process_bytes.missing != NULL && !memory.is_listed)
        others.missing = "not_listed";
    else if (others.value > 0)
        others.value--;
    (void)pthread_mutex_lock(&watch->lock);
    watch->latest_used_bytes = memory.used_bytes;
    (void)pthread_mutex_unlock(&watch->lock);
    take(&watch->totals.used_bytes, &memory.used_bytes, 1);
    take(&watch->totals.process_bytes, &memory.process_bytes, 1);
    take(&watch->totals.others, &others, 1);
}

static void take_gap(struct gpu_watch *watch, uint64_t at_ns)
{
    uint64_t gap_ns = at_ns - watch->last_ns;
    if (gap_ns > watch->totals.gap_max_ns)
        watch->totals.gap_max_ns = gap_ns;
    watch->last_ns = at_ns;
}

static void sample(struct gpu_watch *watch)
{
    struct nvml_reading reading;
    uint64_t at_ns = clock_now_ns();
    nvml_read(watch->nvml, watch->index, &reading);
    (void)pthread_mutex_lock(&watch->lock);
    watch->latest = reading;
    (void)pthread_mutex_unlock(&watch->lock);
    take_gap(watch, at_ns);
    take(&watch->totals.sm_mhz, &reading.sm_mhz, 1);
    take(&watch->totals.memory_mhz, &reading.memory_mhz, 1);
    take(&watch->totals.temperature_c, &reading.temperature_c, 1);
    take_power(watch, &reading, at_ns);
    take_throttle(&watch->totals, &reading.throttle);
    if (watch->totals.samples_count % MEMORY_EVERY == 0)
        take_memory(watch);
    watch->totals.samples_count++;
}

static struct timespec at(uint64_t when_ns)
{
    return (struct timespec){(time_t)(when_ns / NS_PER_S), (long)(when_ns % NS_PER_S)};
}

/* One look at least, however late the thread comes to run. */
static void *run(void *context)
{
    struct gpu_watch *watch = context;
    uint64_t due_ns = clock_now_ns();
    (void)pthread_mutex_lock(&watch->lock);
    do {
        (void)pthread_mutex_unlock(&watch->lock);
        sample(watch);
        due_ns += SAMPLE_NS;
        uint64_t now_ns = clock_now_ns();
        if (due_ns < now_ns) /* late: what was missed is not made up for */
            due_ns = now_ns + SAMPLE_NS;
        struct timespec due = at(due_ns);
        (void)pthread_mutex_lock(&watch->lock);
        while (!watch->is_over && clock_now_ns() < due_ns)
            (void)pthread_cond_timedwait(&watch->wake, &watch->lock, &due);
    } while (!watch->is_over);
    (void)pthread_mutex_unlock(&watch->lock);
    return NULL;
}

static struct counter read_counter(const struct gpu_watch *watch)
{
    struct nvml_reading reading;
    nvml_read(watch->nvml, watch->index, &reading);
    return (struct counter){reading.energy_mj.missing, clock_now_ns(), reading.energy_mj.value};
}

static bool stands_still(const struct counter *start, const struct counter *now)
{
    return start->missing == NULL && now->missing == NULL && now->mj == start->mj &&
           now->at_ns - start->at_ns < EDGE_WAIT_NS;
}

/* A counter moves in steps: right after one it is known to be fresh. */
static void await_edges(struct gpu_watch *const *watches, size_t count, struct counter *ret_now)
{
    struct counter starts[NVML_DEVICES_MAX];
    for (size_t i = 0; i < count; i++)
        starts[i] = ret_now[i] = read_counter(watches[i]);
    for (bool waits = true; waits;) {
        waits = false;
        struct timespec pause = at(EDGE_LOOK_NS);
        (void)nanosleep(&pause, NULL);
        for (size_t i = 0; i < count; i++) {
            if (stands_still(&starts[i], &ret_now[i]))
                ret_now[i] = read_counter(watches[i]);
            waits = waits || stands_still(&starts[i], &ret_now[i]);
        }
    }
}

static struct gpu_watch *new_watch(const struct nvml *nvml, unsigned index, pid_t pid)
{
    struct gpu_watch *watch = calloc(1, sizeof(*watch));
    pthread_condattr_t attributes;
    if (watch == NULL || pthread_condattr_init(&attributes) != 0) {
        free(watch);
        return NULL;
    }
    const struct nvml_value none = {.missing = "not_measured"};
    watch->latest = (struct nvml_reading){none, none, none, none, none, none, false};
    watch->latest_used_bytes = none;
    watch->nvml = nvml;
    watch->index = index;
    watch->pid = pid;
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool is_ready = pthread_mutex_init(&watch->lock, NULL) == 0 &&
                    pthread_cond_init(&watch->wake, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    if (!is_ready) {
        free(watch);
        return NULL;
    }
    return watch;
}

static void free_watch(struct gpu_watch *watch)
{
    (void)pthread_cond_destroy(&watch->wake);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}

/* After it the thread's part of the watch is ours. */
static void end_thread(struct gpu_watch *watch)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->is_over = true;
    (void)pthread_cond_signal(&watch->wake);
    (void)pthread_mutex_unlock(&watch->lock);
    (void)pthread_join(watch->thread, NULL);
}

static bool start_threads(struct gpu_watch *const *watches, size_t count)
{
    struct counter firsts[NVML_DEVICES_MAX];
    await_edges(watches, count, firsts);
    for (size_t i = 0; i < count; i++) {
        watches[i]->first = firsts[i];
        watches[i]->begin_ns = watches[i]->last_ns = clock_now_ns();
        if (pthread_create(&watches[i]->thread, NULL, run, watches[i]) == 0)
            continue;
        while (i > 0)
            end_thread(watches[--i]);
        return false;
    }
    return true;
}

bool gpu_watch_start(const struct nvml *nvml, const unsigned *indices, size_t count, pid_t pid,
                     struct gpu_watch **ret_watches)
{
    ASSERT(count <= NVML_DEVICES_MAX);
    size_t made = 0;
    while (made < count && (ret_watches[made] = new_watch(nvml, indices[made], pid)) != NULL)
        made++;
    if (made == count && start_threads(ret_watches, count))
        return true;
    while (made > 0)
        free_watch(ret_watches[--made]);
    return false;
}

/* Mean power of a part of the span, over the whole of it. */
static double over_all(double joules, uint64_t part_ns, uint64_t all_ns)
{
    return joules * (double)all_ns / (double)part_ns;
}

static void sum_up(const struct gpu_watch *watch, const struct counter *last,
                   struct gpu_totals *totals)
{
    *totals = watch->totals;
    totals->wall_ns = watch->last_ns - watch->begin_ns;
    bool is_short = totals->wall_ns < GPU_ENERGY_MIN_NS;
    totals->counter_missing = watch->first.missing != NULL  ? watch->first.missing
                              : last->missing != NULL       ? last->missing
                              : is_short                    ? "too_short"
                              : last->mj <= watch->first.mj ? "not_supported" /* it stands still */
                                                            : NULL;
    if (totals->counter_missing == NULL)
        totals->counter_j = over_all((double)(last->mj - watch->first.mj) / 1000,
                                     last->at_ns - watch->first.at_ns, totals->wall_ns);
    uint64_t part_ns = watch->power_last_ns - watch->power_first_ns;
    totals->integrated_missing = totals->power_w.count == 0 ? totals->power_w.missing
                                 : is_short || totals->power_w.count < INTEGRATED_MIN ? "too_short"
                                                                                      : NULL;
    if (totals->integrated_missing == NULL)
        totals->integrated_j = over_all(watch->power_ws, part_ns, totals->wall_ns);
}

static void lose(struct gpu_series *series, const char *missing)
{
    *series = (struct gpu_series){.missing = missing != NULL ? missing : "too_short"};
}

static void add_series(struct gpu_series *all, const struct gpu_series *one)
{
    if (all->count == 0 || one->count == 0) {
        lose(all, all->count == 0 ? all->missing : one->missing);
        return;
    }
    all->min = one->min < all->min ? one->min : all->min;
    all->max = one->max > all->max ? one->max : all->max;
    all->sum += one->sum;
    all->count += one->count;
}

static void add_throttles(struct gpu_totals *all, const struct gpu_totals *one)
{
    if (all->throttles_counted > 0 && one->throttles_counted == 0)
        all->throttle_missing = one->throttle_missing;
    bool is_known = all->throttles_counted > 0 && one->throttles_counted > 0;
    all->throttles_counted = is_known ? all->throttles_counted + one->throttles_counted : 0;
    for (unsigned bit = 0; bit < GPU_THROTTLES_COUNT; bit++)
        all->throttles[bit] = is_known ? all->throttles[bit] + one->throttles[bit] : 0;
}

/* Ranks are processes that nobody here knows, and the most that each card took need not have been
 * at one time. */
static void add(struct gpu_totals *all, const struct gpu_totals *one)
{
    if (one->samples_count < all->samples_count)
        all->samples_count = one->samples_count;
    if (one->wall_ns > all->wall_ns)
        all->wall_ns = one->wall_ns;
    if (one->gap_max_ns > all->gap_max_ns)
        all->gap_max_ns = one->gap_max_ns;
    add_series(&all->sm_mhz, &one->sm_mhz);
    add_series(&all->memory_mhz, &one->memory_mhz);
    add_series(&all->temperature_c, &one->temperature_c);
    add_series(&all->used_bytes, &one->used_bytes);
    lose(&all->power_w, "several_devices");
    lose(&all->process_bytes, "several_devices");
    lose(&all->others, "several_devices");
    add_throttles(all, one);
    if (all->counter_missing == NULL)
        all->counter_missing = one->counter_missing;
    if (all->integrated_missing == NULL)
        all->integrated_missing = one->integrated_missing;
    all->counter_j += one->counter_j;
    all->integrated_j += one->integrated_j;
}

void gpu_watch_latest(struct gpu_watch *watch, struct nvml_reading *ret_reading,
                      struct nvml_value *ret_used_bytes)
{
    (void)pthread_mutex_lock(&watch->lock);
    *ret_reading = watch->latest;
    *ret_used_bytes = watch->latest_used_bytes;
    (void)pthread_mutex_unlock(&watch->lock);
}

void gpu_watch_stop(struct gpu_watch *const *watches, size_t count, struct gpu_totals *ret_totals)
{
    struct counter lasts[NVML_DEVICES_MAX];
    for (size_t i = 0; i < count; i++) {
        end_thread(watches[i]);
        take_gap(watches[i], clock_now_ns());
    }
    await_edges(watches, count, lasts);
    for (size_t i = 0; i < count; i++) {
        struct gpu_totals own;
        sum_up(watches[i], &lasts[i], &own);
        if (i == 0)
            *ret_totals = own;
        else
            add(ret_totals, &own);
        free_watch(watches[i]);
    }
}
