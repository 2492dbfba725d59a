/* bench/observe_cost.c - do the probes that watch beside a block make it slower?
 *
 *   observe_cost [FLAGS OF `tokmark run`]          TOKMARK_BINARY=build/tokmark ROUNDS=60
 *
 * One worker runs the first cell of the flags in blocks of 0.25 s, in the order A B B A and B A A B
 * in turn: B with every probe of a trial on (src/observe/: NVML's thread, the processors' counters,
 * RAPL, switches), A with none. The ratio of the worker's own times has the interval of `tokmark
 * ab`. On a quiet machine it is SAME within 0.5 %; exit code 1 says SLOWER.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/run_setup.h"
#include "client/client.h"
#include "measure/compare.h"
#include "observe/observe.h"

#define ROUNDS_MAX    10000
#define WARMUP_BLOCKS 8
#define BLOCK_NS      (250 * NS_PER_MS)
#define THRESHOLD     0.005
#define TIMEOUT_NS    (600 * NS_PER_S)
#define CONFIDENCE    0.95

struct bench {
    struct client client;
    struct observe_options observe;
    uint32_t steps;
};

static void fail(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "observe_cost: %s%s%s\n", what, err != NULL ? ": " : "",
                  err != NULL ? err->text : "");
    exit(5);
}

static double run_block(struct bench *bench)
{
    struct proto_block block;
    uint64_t host_ns = 0;
    if (!client_run(&bench->client, bench->steps, PROTO_SYNC_STEP, true, &block, &host_ns)) {
        const struct reasons *reasons = &bench->client.session.reasons;
        fail(reasons->count > 0 ? reasons->items[0].text : "the worker is gone", NULL);
    }
    free(block.step_ns);
    return (double)block.window_ns;
}

/* As a trial does it (drive/trial.c). */
static double run_observed(struct bench *bench)
{
    struct observer observer;
    struct err err = {0};
    const struct observed seen = {.options = &bench->observe, .client = &bench->client};
    if (observer_init(&observer, &bench->observe, &err) != STATUS_OK)
        fail("the probes", &err);
    observer_before_first(&observer, &seen);
    observer_before_measured(&observer, &seen);
    double window_ns = run_block(bench);
    observer_after_measured(&observer, &seen, true);
    observer_release(&observer);
    return window_ns;
}

static void warm_up(struct bench *bench)
{
    bench->steps = 1;
    for (int i = 0; i < WARMUP_BLOCKS; i++) {
        double step_ns = run_block(bench) / bench->steps;
        bench->steps = (uint32_t)fmin(fmax(BLOCK_NS / step_ns, 1), PROTO_BLOCK_STEPS_MAX);
    }
}

static void measure(struct bench *bench, double *log_ratios, size_t rounds_count)
{
    for (size_t round = 0; round < rounds_count; round++) {
        double times[2][2];
        for (size_t i = 0; i < 4; i++) {
            bool is_inner = i == 1 || i == 2;
            size_t side = is_inner == (round % 2 == 0);
            times[side][i / 2] = side == 1 ? run_observed(bench) : run_block(bench);
        }
        log_ratios[round] = compare_round(times[0][0], times[0][1], times[1][0], times[1][1]);
    }
}

static int report(const double *log_ratios, size_t rounds_count, uint32_t steps)
{
    const struct compare_limits limits = {.threshold = log1p(THRESHOLD)};
    struct compare_result result;
    struct err err = {0};
    if (compare_rounds(log_ratios, rounds_count, &limits, CONFIDENCE, &result, &err) != STATUS_OK)
        fail("the comparison", &err);
    const struct measure_interval *ci = &result.log_ratio_ci;
    (void)printf("probes on / off: %+.3f %%", 100 * expm1(result.log_ratio));
    if (ci->is_known)
        (void)printf(" [%+.3f, %+.3f]", 100 * expm1(ci->low), 100 * expm1(ci->high));
    else
        (void)printf(" (too few rounds for an interval)");
    (void)printf(", %zu rounds of 4 x %u steps: %s within %g %%\n", rounds_count, steps,
                 compare_outcome_name(result.outcome), 100 * THRESHOLD);
    return result.outcome == COMPARE_OUTCOME_SLOWER ? 1 : 0;
}

static void take_cell(int argc, char **argv, struct run_options *options, struct run_setup *setup)
{
    struct options_table table = command_options(&command_run, &program_list[0]);
    struct options_seen seen = {0};
    struct err err = {0};
    if (options_set_defaults(&table, options, &err) != STATUS_OK ||
        options_parse(&table, argc - 1, (const char *const *)argv + 1, options, &seen, &err) !=
            STATUS_OK ||
        run_setup_make(options, &table, &seen, setup, &err) != STATUS_OK)
        fail("the flags", &err);
}

int main(int argc, char **argv)
{
    struct run_options options = {0};
    struct run_setup setup = {0};
    struct err err = {0};
    const char *binary = getenv("TOKMARK_BINARY");
    const char *rounds = getenv("ROUNDS");
    size_t rounds_count = rounds != NULL ? strtoul(rounds, NULL, 10) : 60;
    if (rounds_count < 1 || rounds_count > ROUNDS_MAX)
        fail("ROUNDS is 1 to 10000", NULL);
    take_cell(argc, argv, &options, &setup);
    const struct client_options client = {
        .self_path = binary != NULL ? binary : "build/tokmark",
        .python = options.python,
        .launch_prefix = options.launch,
        .phase_timeout_ns = TIMEOUT_NS,
        .kill_grace_ns = CLIENT_KILL_GRACE_NS,
        .wake_fd = -1,
    };
    struct bench bench = {.steps = 1};
    double *log_ratios = calloc(rounds_count, sizeof(*log_ratios));
    char log_path[] = "/tmp/observe_cost.log";
    client_init(&bench.client, &setup.plan.cells[0], &client);
    if (log_ratios == NULL || client_start(&bench.client, log_path, "", &err) != STATUS_OK)
        fail("the worker", &err);
    if (client_can_go_on(&bench.client))
        client_open(&bench.client);
    warm_up(&bench);
    measure(&bench, log_ratios, rounds_count);
    client_close(&bench.client);
    int code = report(log_ratios, rounds_count, bench.steps);
    client_release(&bench.client);
    run_setup_release(&setup);
    free(log_ratios);
    return code;
}
