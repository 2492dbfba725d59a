#include "observe/contention.h"

#include <stdio.h>
#include <unistd.h>

#include "observe/list.h"
#include "spec/device.h"

/* --- spans --- */

static void read_load(const struct client *const *clients, size_t clients_count, size_t index,
                      struct cpuload *ret_load)
{
    pid_t groups[CONTENTION_CLIENTS_MAX];
    ASSERT(clients_count <= CONTENTION_CLIENTS_MAX && index < clients_count);
    for (size_t i = 0; i < clients_count; i++)
        groups[i] = clients[i]->session.spawn.pid;
    cpuload_read(clients[index]->session.watch.pid, groups, clients_count, getpid(), ret_load);
}

void contention_begin(struct contention *contention, const struct client *const *clients,
                      size_t clients_count, size_t index)
{
    contention->before = (struct cpuload){0};
    if (client_is_here(clients[index]))
        read_load(clients, clients_count, index, &contention->before);
}

/* A process that ended in between takes its ticks along. */
static uint64_t grown(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0;
}

void contention_end(struct contention *contention, const struct client *const *clients,
                    size_t clients_count, size_t index)
{
    struct cpuload after;
    const struct cpuload *before = &contention->before;
    struct cpuload *sum = &contention->until;
    if (!before->is_known)
        return;
    read_load(clients, clients_count, index, &after);
    contention->from = (struct cpuload){.is_known = true, .cpus_count = before->cpus_count};
    /* Idle time can step back. */
    bool is_readable = after.is_known && after.cpus_count == before->cpus_count &&
                       after.total_ticks >= before->total_ticks &&
                       after.busy_ticks >= before->busy_ticks;
    if (is_readable) {
        sum->is_known = true;
        sum->cpus_count = before->cpus_count;
        sum->total_ticks += after.total_ticks - before->total_ticks;
        sum->busy_ticks += after.busy_ticks - before->busy_ticks;
        sum->own_ticks += grown(before->own_ticks, after.own_ticks);
    }
    contention->before = (struct cpuload){0};
}

const char *contention_percent(const struct contention *contention, double *ret_percent)
{
    if (!contention->from.is_known)
        return "worker_not_seen";
    return cpuload_foreign_percent(&contention->from, &contention->until, ret_percent);
}

bool contention_is_over(const struct contention *contention, double limit_percent,
                        char ret_text[REASON_TEXT_BYTES])
{
    double percent = 0;
    if (!(limit_percent > 0) || contention_percent(contention, &percent) != NULL ||
        percent <= limit_percent)
        return false;
    (void)snprintf(ret_text, REASON_TEXT_BYTES,
                   "others used %.3g %% of the time of the %u processors that the cell may use, "
                   "while it was measured; %g %% is allowed",
                   percent, contention->from.cpus_count, limit_percent);
    return true;
}

/* --- the probe --- */

static void before_measured(void *state, const struct observed *seen)
{
    contention_begin(state, &seen->client, 1, 0);
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    (void)is_complete;
    contention_end(state, &seen->client, 1, 0);
}

/* On a device the processors only feed it; what disturbs the device itself is not watched yet. */
static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    char text[REASON_TEXT_BYTES];
    if (seen->summary != NULL && device_is_host(seen->client->cell->device) &&
        contention_is_over(state, seen->options->contention_limit_percent, text))
        judgement_add(judgement, VERDICT_UNSTEADY, "foreign_load", "%s", text);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    double percent = 0;
    const char *why_not = client_is_synthetic(seen->client) ? "synthetic"
                          : seen->summary == NULL           ? "not_measured"
                                                            : contention_percent(state, &percent);
    if (why_not == NULL)
        record_set_double(record, FACT_FOREIGN_CPU_PERCENT, percent);
    else
        record_set_null(record, FACT_FOREIGN_CPU_PERCENT, why_not);
}

static const enum fact_id fields[] = {FACT_FOREIGN_CPU_PERCENT};

const struct probe contention_probe = {
    .name = "contention",
    .state_bytes = sizeof(struct contention),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_measured = before_measured,
    .after_measured = after_measured,
    .judge = judge,
    .put = put,
};
