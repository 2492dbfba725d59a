/* simulate - schedules of a sweep's life, made from a seed, in simulated time: workers that crash,
 * hang, lie, print, leak and die at any message, signals at any moment, a disk that is full at any
 * write. After each: the sweep has ended, no worker is left, no stored record is lost, verdicts are
 * those of the faults.
 *
 *   simulate [COUNT [SEED]]    COUNT schedules from SEED on; SEED alone again: simulate 1 SEED
 */
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "behaviour.h"
#include "cli/sweep.h"
#include "unit/small_model.h"
#include "world.h"

#define CELLS_MAX 4
/* From a signal to the sweep's end: the block's grace, the ladder's, and what lies between; from a
 * second one. */
#define INTERRUPTED_NS_MAX (5 * NS_PER_S)
#define URGENT_NS_MAX      NS_PER_S
/* Of a phase: longer than either, so that a wait which no signal shortens is seen. */
#define TIMEOUT_NS (9 * NS_PER_S)

struct schedule {
    uint64_t seed, key;
    struct behaviour plans[CELLS_MAX];
    size_t cells_count;
    char dir[FILE_PATH_BYTES];
    struct cell cells[CELLS_MAX];
    /* seen */
    size_t started_count;
    size_t stored_count;
    uint64_t syncs_count; /* of the disk, when the last record was stored */
    char why[512];        /* what is wrong; empty: nothing */
};

static uint64_t chance(struct schedule *schedule, uint64_t of)
{
    schedule->key = random_at(schedule->key, 2);
    return schedule->key % of;
}

static void complain(struct schedule *schedule, const char *what, const char *which)
{
    if (schedule->why[0] == '\0')
        (void)snprintf(schedule->why, sizeof(schedule->why), "%.80s%.400s", what, which);
}

/* --- the schedule --- */

static void make_cell(size_t i, struct cell *cell)
{
    *cell = (struct cell){.engine = "exec:simulated",
                          .framework = "simulated",
                          .model = small_model(),
                          .model_source = "factory",
                          .device = "cpu",
                          .precision = CELL_PRECISION_FP32,
                          .mode = CELL_MODE_INFER,
                          .seq_len = 8,
                          .batch_size = (uint32_t)i + 1,
                          .data = CELL_DATA_SYNTHETIC};
}

static void make(struct schedule *schedule)
{
    world_begin();
    schedule->cells_count = 1 + chance(schedule, CELLS_MAX);
    for (size_t i = 0; i < schedule->cells_count; i++) {
        struct behaviour *plan = &schedule->plans[i];
        bool is_sound = chance(schedule, 3) == 0;
        *plan = (struct behaviour){.fault = is_sound ? FAULT_NONE
                                                     : (enum fault)chance(schedule, FAULTS_COUNT),
                                   .message = chance(schedule, chance(schedule, 2) == 0 ? 3 : 10),
                                   .is_synthetic = chance(schedule, 2) == 0,
                                   .is_signalled = chance(schedule, 6) == 0,
                                   .key = schedule->key,
                                   .timeout_ns = TIMEOUT_NS};
        /* of made-up results no clock is looked at */
        plan->is_synthetic = plan->is_synthetic && plan->fault != FAULT_CLOCK;
        make_cell(i, &schedule->cells[i]);
    }
    if (chance(schedule, 3) == 0) {
        world.signals_count = 1 + chance(schedule, SIGNALS_MAX);
        uint64_t at = 1 + chance(schedule, (uint64_t)1 << (4 + chance(schedule, 10)));
        for (size_t i = 0; i < world.signals_count; i++, at += 1 + chance(schedule, 300))
            world.signal_calls[i] = at;
    }
    if (chance(schedule, 4) == 0) {
        world.disk_full_from = chance(schedule, 40);
        world.disk_full_writes = 1 + chance(schedule, chance(schedule, 2) == 0 ? 2 : 1000);
    }
}

/* --- what is seen --- */

static bool has_word(const char *words, const char *word)
{
    const char *at = strstr(words, word);
    size_t bytes = strlen(word);
    return at != NULL && (at == words || at[-1] == ' ') && (at[bytes] == ' ' || at[bytes] == '\0');
}

static void on_cell_started(void *context, const struct event_cell *cell)
{
    struct schedule *schedule = context;
    behaviour = schedule->plans[cell->position];
    world.spawn_errors = behaviour.fault == FAULT_START ? 1 : 0;
    schedule->started_count++;
}

static void on_cell_finished(void *context, const struct record *record)
{
    struct schedule *schedule = context;
    const char *verdict = record_string(record, FACT_VERDICT);
    bool is_interrupted = world.interrupt != 0;
    bool has_happened = behaviour.has_happened || behaviour.fault == FAULT_START;
    enum fault fault = has_happened ? behaviour.fault : FAULT_NONE;
    char text[256];
    /* an interrupted trial may be whole, may have ended before, or be cut */
    if (has_word(fault_verdicts(fault), verdict) || is_interrupted)
        return;
    (void)snprintf(text, sizeof(text), "%s, at message %" PRIu64 ", is called %s: %.120s",
                   fault_name(fault), behaviour.message, verdict,
                   record_string(record, FACT_REASONS));
    complain(schedule, "a worker that ", text);
}

static void on_record_stored(void *context, const struct record *record, const char *file_name,
                             uint64_t offset)
{
    struct schedule *schedule = context;
    (void)file_name;
    (void)offset;
    schedule->stored_count++;
    if (!record_bool(record, FACT_SYNTHETIC) && world.syncs_count == schedule->syncs_count)
        complain(schedule, "a record is said to be stored before the disk has it", "");
    schedule->syncs_count = world.syncs_count;
}

/* --- the sweep --- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static enum status run_sweep(struct schedule *schedule, struct store *store, enum run_resume resume,
                             struct sweep *sweep, struct err *err)
{
    static struct known known;
    struct event_listener events = {.context = schedule,
                                    .cell_started = on_cell_started,
                                    .cell_finished = on_cell_finished,
                                    .record_stored = on_record_stored};
    struct trial_options options = {.policy = measure_policy_default(),
                                    .client = {.self_path = "tokmark",
                                               .phase_timeout_ns = TIMEOUT_NS,
                                               .kill_grace_ns = world.kill_grace_ns,
                                               .memory_limit_bytes = 2ULL << 30,
                                               .interrupt = &world.interrupt,
                                               .wake_fd = world.wake_fd,
                                               .events = &events},
                                    .origin = {.run_id = "run",
                                               .command_json = "[\"simulate\"]",
                                               .environment_json = "{}",
                                               .environment_id = "env"}};
    options.policy.steps_exact = 12;
    options.policy.is_warmup_auto = false;
    options.policy.warmup_steps = 2;
    options.policy.block_steps_max = 4;
    struct run_setup setup = {.plan = {schedule->cells, schedule->cells_count}};
    setup.options.trials = 1;
    setup.options.resume = resume;
    setup.options.tries_all = true;
    trial_policy_id(&options.policy, NULL, setup.policy_id);
    *sweep = (struct sweep){.setup = &setup, .options = &options, .store = store, .known = &known};
    canary_init(&sweep->canary, 0);
    struct record *lost = NULL;
    enum status status = sweep_run(sweep, &lost, err);
    record_free(lost);
    canary_release(&sweep->canary);
    return status;
}

/* The folder as the next run finds it. */
static void check_folder(struct schedule *schedule)
{
    world.disk_full_from = NEVER;
    struct store_facts facts;
    struct store *store = NULL;
    struct err err = {0};
    if (store_open(schedule->dir, &store, &facts, &err) != STATUS_OK) {
        complain(schedule, "the folder does not open again: ", err.text);
        return;
    }
    if (facts.records_count != schedule->stored_count || facts.bad_lines_count > 0)
        complain(schedule, "records that are stored are not those that were said to be", "");
    if (facts.is_csv_moved_aside)
        complain(schedule, "the CSV file is taken for another's", "");
    struct sweep sweep;
    /* and --resume makes the rest, of sound workers */
    for (size_t i = 0; i < schedule->cells_count; i++)
        schedule->plans[i] = (struct behaviour){.key = schedule->key};
    world.interrupt = 0;
    world.signals_count = world.signals_sent = 0;
    world.urgent_at_ns = NEVER;
    size_t stored = schedule->stored_count;
    if (run_sweep(schedule, store, RUN_RESUME_UNFINISHED, &sweep, &err) != STATUS_OK)
        complain(schedule, "it cannot be resumed: ", err.text);
    if (sweep.skipped_count + (schedule->stored_count - stored) != schedule->cells_count ||
        sweep.skipped_count > stored)
        complain(schedule, "resumed, it is not whole", "");
    store_close(store);
}

static void run(struct schedule *schedule)
{
    struct store *store = NULL;
    struct store_facts facts;
    struct sweep sweep = {0};
    struct err err = {0};
    enum status status = store_open(schedule->dir, &store, &facts, &err);
    if (status == STATUS_OK)
        status = run_sweep(schedule, store, RUN_RESUME_NO, &sweep, &err);
    store_close(store);
    if (status != STATUS_OK && world.disk_errors_count == 0)
        complain(schedule, "it fails: ", err.text);
    if (status == STATUS_OK && world.interrupt == 0 &&
        schedule->stored_count != schedule->cells_count)
        complain(schedule, "a cell has no record", "");
    /* No signal is looked at while a worker that reads nothing is written to. */
    bool has_reader = behaviour.fault != FAULT_READS_NOTHING;
    if (has_reader && world.signal_at_ns != NEVER &&
        world.now_ns - world.signal_at_ns > INTERRUPTED_NS_MAX)
        complain(schedule, "it goes on for too long after a signal", "");
    if (has_reader && world.urgent_at_ns != NEVER &&
        world.now_ns - world.urgent_at_ns > URGENT_NS_MAX)
        complain(schedule, "it goes on for too long after a second signal", "");
    world_end();
    if (world.broken != NULL)
        complain(schedule, world.broken, "");
    if (schedule->why[0] == '\0')
        check_folder(schedule);
}

static bool is_fine(uint64_t seed)
{
    struct schedule schedule = {.seed = seed, .key = random_at(seed, 0)};
    const char *parent = getenv("TMPDIR");
    (void)snprintf(schedule.dir, sizeof(schedule.dir), "%s/simulate.%d",
                   parent != NULL ? parent : "/tmp", (int)getpid());
    if (mkdir(schedule.dir, 0777) != 0)
        abort();
    make(&schedule);
    run(&schedule);
    (void)nftw(schedule.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (schedule.why[0] != '\0')
        printf("seed %" PRIu64 ": %s\n", seed, schedule.why);
    return schedule.why[0] == '\0';
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t bad_count = 0;
    for (uint64_t seed = first; seed < first + count; seed++)
        bad_count += !is_fine(seed);
    printf("%" PRIu64 " schedules, %" PRIu64 " bad; `simulate 1 SEED` runs one again\n", count,
           bad_count);
    return bad_count > 0;
}
