#include "observe/interference.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "observe/list.h"
#include "spec/device.h"

/* A look that was taken less than this before a block is taken for one right before it. */
#define LOOK_FRESH_NS (2 * NS_PER_MS)
/* Below, ticks say too little of what others used. */
#define FOREIGN_NS_MIN (100 * NS_PER_MS)
#define SPAN_NS_MIN    (500 * NS_PER_MS)
/* Of one processor: less is no load worth waiting for. */
#define QUIET_SHARE 0.25
#define CODES_BYTES 512

const char *interference_code(enum interference_cause cause)
{
    static const char *const codes[] = {
#define X(name, code, text) code,
        INTERFERENCE_MAP(X)
#undef X
    };
    return codes[cause];
}

static const char *cause_text(enum interference_cause cause)
{
    static const char *const texts[] = {
#define X(name, code, text) text,
        INTERFERENCE_MAP(X)
#undef X
    };
    return texts[cause];
}

/* --- the rule --- */

static double percent_of(uint64_t part_ns, uint64_t whole_ns)
{
    return whole_ns > 0 ? 100 * (double)part_ns / (double)whole_ns : 0;
}

/* A worker with more threads than processors waits for itself: only what others can have made it
 * wait counts, as far as that is known. */
static uint64_t waited_for_others_ns(const struct cpu_lap *lap)
{
    uint64_t foreign_ns = lap->foreign_ns + 3 * lap->uncertain_ns;
    return lap->waited_ns < foreign_ns ? lap->waited_ns : foreign_ns;
}

static bool is_enough(const struct cpu_lap *lap)
{
    return lap->wall_ns * lap->cpus_count >= FOREIGN_NS_MIN;
}

enum interference_cause interference_judge(const struct cpu_lap *lap, const struct cpu_lap *recent,
                                           double foreign_limit_percent, bool is_on_device,
                                           double *ret_percent)
{
    uint64_t all_ns = lap->wall_ns * lap->cpus_count;
    uint64_t recent_ns = recent->wall_ns * recent->cpus_count;
    bool has_foreign = !is_on_device && is_enough(recent);
    const struct {
        enum interference_cause cause;
        double percent, limit;
    } found[] = {
        {INTERFERENCE_THROTTLED, percent_of(lap->throttled_ns, lap->wall_ns),
         INTERFERENCE_LIMIT_PERCENT},
        {INTERFERENCE_STOLEN, percent_of(lap->stolen_ns, all_ns), INTERFERENCE_LIMIT_PERCENT},
        {INTERFERENCE_WAITED, percent_of(waited_for_others_ns(lap), lap->wall_ns),
         INTERFERENCE_LIMIT_PERCENT},
        {INTERFERENCE_FOREIGN, has_foreign ? percent_of(recent->foreign_ns, recent_ns) : 0,
         foreign_limit_percent},
    };
    *ret_percent = 0;
    if (!lap->is_known || !(foreign_limit_percent > 0))
        return INTERFERENCE_NONE;
    for (size_t i = 0; i < ARRAY_COUNT(found); i++) {
        if (found[i].percent <= found[i].limit)
            continue;
        *ret_percent = found[i].percent;
        return found[i].cause;
    }
    return INTERFERENCE_NONE;
}

/* --- looks --- */

void interference_open(struct interference *interference, const struct client *const *clients,
                       size_t clients_count, double foreign_limit_percent)
{
    pid_t workers[CPU_WATCH_GROUPS_MAX];
    pid_t groups[CPU_WATCH_GROUPS_MAX];
    ASSERT(clients_count >= 1 && clients_count <= CPU_WATCH_GROUPS_MAX);
    *interference = (struct interference){.foreign_limit_percent = foreign_limit_percent};
    for (size_t i = 0; i < clients_count; i++) {
        if (!client_is_here(clients[i]))
            return;
        workers[i] = clients[i]->session.watch.pid;
        groups[i] = clients[i]->session.spawn.pid;
        interference->is_on_device = !device_is_host(clients[i]->cell->device);
    }
    interference->is_open =
        cpu_watch_open(&interference->watch, "", workers, groups, clients_count);
}

void interference_close(struct interference *interference)
{
    cpu_watch_close(&interference->watch);
    interference->is_open = false;
}

void interference_carry(struct interference *interference, const struct interference *before)
{
    memcpy(interference->blocks, before->blocks, sizeof(interference->blocks));
    memcpy(interference->steps, before->steps, sizeof(interference->steps));
    interference->sum = before->sum;
    interference->paused_ns = before->paused_ns;
}

static void look(struct interference *interference, struct cpu_lap *ret_lap)
{
    interference->at_ns = clock_now_ns();
    cpu_watch_lap(&interference->watch, interference->at_ns, clock_cpu_ns(), ret_lap);
}

void interference_begin(struct interference *interference)
{
    struct cpu_lap forgotten;
    if (interference->is_open && clock_now_ns() - interference->at_ns >= LOOK_FRESH_NS)
        look(interference, &forgotten);
}

enum interference_cause interference_end(struct interference *interference)
{
    double percent = 0;
    if (!interference->is_open)
        return INTERFERENCE_NONE;
    look(interference, &interference->last);
    struct cpu_lap *recent = &interference->recent;
    cpu_lap_add(recent, &interference->last);
    struct cpu_lap judged = *recent;
    if (is_enough(recent)) {
        interference->earlier = *recent;
        *recent = (struct cpu_lap){0};
    } else if (interference->earlier.is_known) {
        cpu_lap_add(&judged, &interference->earlier);
    }
    return interference_judge(&interference->last, &judged, interference->foreign_limit_percent,
                              interference->is_on_device, &percent);
}

bool interference_lasts(const struct interference *interference)
{
    const struct cpu_lap *lap = &interference->last;
    double quiet_ns = QUIET_SHARE * (double)lap->wall_ns + 2 * (double)lap->uncertain_ns;
    return (double)lap->foreign_ns > quiet_ns;
}

bool interference_is_over(struct interference *interference)
{
    if (!interference->is_open)
        return true;
    look(interference, &interference->last);
    /* What was before the pause says nothing of the blocks to come. */
    interference->earlier = interference->recent = (struct cpu_lap){0};
    return !interference_lasts(interference);
}

/* --- what became of the blocks --- */

void interference_count(struct interference *interference, enum interference_cause cause,
                        uint64_t steps_count)
{
    interference->blocks[cause]++;
    interference->steps[cause] += steps_count;
    if (cause != INTERFERENCE_AFTER_PAUSE && interference->last.is_known)
        cpu_lap_add(&interference->sum, &interference->last);
}

uint64_t interference_blocks(const struct interference *interference)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < INTERFERENCE_CAUSES_COUNT; i++)
        sum += i == INTERFERENCE_AFTER_PAUSE ? 0 : interference->blocks[i];
    return sum;
}

/* "others used the CPUs in 7, the worker's threads waited for a CPU in 2" */
static void list_causes(const struct interference *interference, char *text, size_t text_bytes)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = INTERFERENCE_AFTER_PAUSE + 1; i < INTERFERENCE_CAUSES_COUNT; i++) {
        if (interference->blocks[i] == 0 || length >= text_bytes)
            continue;
        int more =
            snprintf(text + length, text_bytes - length, "%s%s in %" PRIu64, length > 0 ? ", " : "",
                     cause_text((enum interference_cause)i), interference->blocks[i]);
        length += more > 0 ? (size_t)more : 0;
    }
}

bool interference_is_heavy(const struct interference *interference, const char *what,
                           char ret_text[REASON_TEXT_BYTES])
{
    char causes[REASON_TEXT_BYTES / 2];
    uint64_t all = interference_blocks(interference);
    uint64_t clean = interference->blocks[INTERFERENCE_NONE];
    if (2 * clean >= all)
        return false;
    list_causes(interference, causes, sizeof(causes));
    (void)snprintf(ret_text, REASON_TEXT_BYTES,
                   "only %" PRIu64 " of %" PRIu64 " %s%s undisturbed (half is asked for): %s",
                   clean, all, what, num_plural(all), causes);
    return true;
}

const char *interference_foreign_percent(const struct interference *interference,
                                         double *ret_percent)
{
    const struct cpu_lap *sum = &interference->sum;
    if (!sum->is_known)
        return interference->is_open ? "not_readable" : "worker_not_seen";
    if (sum->wall_ns < SPAN_NS_MIN)
        return "too_short";
    *ret_percent = percent_of(sum->foreign_ns, sum->wall_ns * sum->cpus_count);
    return NULL;
}

/* --- the probe --- */

/* What a short run cannot tell. */
static void warn_if_blind(const struct interference *interference, struct judgement *judgement)
{
    double percent = 0;
    const char *why_not = interference_foreign_percent(interference, &percent);
    bool is_judged = !interference->is_on_device && interference->foreign_limit_percent > 0;
    if (!is_judged || why_not == NULL || strcmp(why_not, "too_short") != 0)
        return;
    judgement_warn(judgement, "load_not_judged",
                   "the measured blocks took %" PRIu64 " ms, and %" PRIu64
                   " ms are needed to tell what else used the CPUs; %s",
                   (uint64_t)(interference->sum.wall_ns / NS_PER_MS),
                   (uint64_t)(SPAN_NS_MIN / NS_PER_MS),
                   interference->sum.knows_waits ? "only waiting for a CPU was judged"
                                                 : "this kernel does not count waiting, either");
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    (void)state;
    char text[REASON_TEXT_BYTES];
    const struct interference *interference = seen->interference;
    if (seen->summary == NULL || interference == NULL)
        return;
    if (interference_is_heavy(interference, "block", text))
        judgement_add(judgement, VERDICT_UNSTEADY, "foreign_load", "%s", text);
    else
        warn_if_blind(interference, judgement);
}

static void put_causes(const struct interference *interference, struct record *record)
{
    struct buf json;
    struct json_writer writer;
    buf_init(&json, CODES_BYTES);
    json_writer_init(&writer, &json);
    json_begin_object(&writer);
    for (size_t i = INTERFERENCE_NONE + 1; i < INTERFERENCE_CAUSES_COUNT; i++)
        if (interference->blocks[i] > 0)
            json_field_u64(&writer, interference_code((enum interference_cause)i),
                           interference->blocks[i]);
    json_end_object(&writer);
    ASSERT(!json.failed);
    record_set_json(record, FACT_SET_ASIDE, json.data);
    buf_release(&json);
}

static void put_shares(const struct interference *interference, struct record *record)
{
    double percent = 0;
    const char *why_not = interference_foreign_percent(interference, &percent);
    const struct cpu_lap *sum = &interference->sum;
    if (why_not == NULL)
        record_set_double(record, FACT_FOREIGN_CPU_PERCENT, percent);
    else
        record_set_null(record, FACT_FOREIGN_CPU_PERCENT, why_not);
    if (sum->knows_waits && sum->wall_ns > 0)
        record_set_double(record, FACT_CPU_WAIT_PERCENT, percent_of(sum->waited_ns, sum->wall_ns));
    else
        record_set_null(record, FACT_CPU_WAIT_PERCENT, "not_readable");
}

static const enum fact_id fields[] = {
    FACT_FOREIGN_CPU_PERCENT, FACT_CPU_WAIT_PERCENT, FACT_BLOCKS,   FACT_CLEAN_PERCENT,
    FACT_SET_ASIDE,           FACT_STEPS_SET_ASIDE,  FACT_PAUSED_MS};

static void put(const void *state, const struct observed *seen, struct record *record)
{
    (void)state;
    const struct interference *interference = seen->interference;
    const char *why_not = client_is_synthetic(seen->client)               ? "synthetic"
                          : seen->summary == NULL || interference == NULL ? "not_measured"
                          : !interference->is_open                        ? "worker_not_seen"
                                                                          : NULL;
    for (size_t i = 0; why_not != NULL && i < ARRAY_COUNT(fields); i++)
        record_set_null(record, fields[i], why_not);
    if (why_not != NULL)
        return;
    uint64_t blocks = interference_blocks(interference);
    uint64_t clean = interference->blocks[INTERFERENCE_NONE];
    uint64_t steps = 0;
    for (size_t i = INTERFERENCE_NONE + 1; i < INTERFERENCE_CAUSES_COUNT; i++)
        steps += interference->steps[i];
    record_set_u64(record, FACT_BLOCKS, blocks);
    record_set_double(record, FACT_CLEAN_PERCENT,
                      blocks > 0 ? 100 * (double)clean / (double)blocks : 0);
    record_set_u64(record, FACT_STEPS_SET_ASIDE, steps);
    record_set_double(record, FACT_PAUSED_MS, (double)interference->paused_ns / 1e6);
    put_causes(interference, record);
    put_shares(interference, record);
}

const struct probe interference_probe = {
    .name = "interference",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .judge = judge,
    .put = put,
};
