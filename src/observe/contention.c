#include "observe/contention.h"

#include <stdio.h>
#include <unistd.h>

#include "base/num.h"

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
    int digits = num_digits_apart(percent, limit_percent);
    (void)snprintf(ret_text, REASON_TEXT_BYTES,
                   "others used %.*g %% of the time of the %u processors that the cell may use, "
                   "while it was measured (%.*g %% is allowed)",
                   digits, percent, contention->from.cpus_count, digits, limit_percent);
    return true;
}
