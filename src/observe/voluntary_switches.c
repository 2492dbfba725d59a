/* observe/voluntary_switches.c - how often did the worker's threads give their processor away by
 * themselves while it was measured: waiting for locks, for input, for each other? */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/procfs.h"
#include "observe/list.h"

struct switches {
    bool has_before, has_after;
    uint64_t before, after;
};

/* Of one thread; false when it is gone. */
static bool read_thread(const char *dir, const char *thread, uint64_t *ret_count)
{
    static const char key[] = "\nvoluntary_ctxt_switches:";
    char path[300];
    char text[PROCFS_TEXT_BYTES];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, thread);
    if (!procfs_read("", path, "status", text, sizeof(text)))
        return false;
    const char *found = strstr(text, key);
    if (found == NULL)
        return false;
    *ret_count = strtoull(found + sizeof(key) - 1, NULL, 10);
    return true;
}

static bool read_process(const struct client *client, uint64_t *ret_count)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)client->session.watch.pid);
    DIR *dir = client_is_here(client) ? opendir(path) : NULL;
    if (dir == NULL)
        return false;
    uint64_t sum = 0;
    bool has_any = false;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t count = 0;
        if (entry->d_name[0] == '.' || !read_thread(path, entry->d_name, &count))
            continue;
        has_any = true;
        sum += count;
    }
    (void)closedir(dir);
    *ret_count = sum;
    return has_any;
}

static void before_measured(void *state, const struct observed *seen)
{
    struct switches *switches = state;
    switches->has_before = read_process(seen->client, &switches->before);
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    (void)is_complete;
    struct switches *switches = state;
    if (switches->has_before)
        switches->has_after = read_process(seen->client, &switches->after);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct switches *switches = state;
    const char *why_not = client_is_synthetic(seen->client)    ? "synthetic"
                          : seen->summary == NULL              ? "not_measured"
                          : !switches->has_before              ? "worker_not_seen"
                          : !switches->has_after               ? "not_readable"
                          : switches->after < switches->before ? "not_readable" /* threads ended */
                                                               : NULL;
    if (why_not == NULL)
        record_set_u64(record, FACT_VOLUNTARY_SWITCHES, switches->after - switches->before);
    else
        record_set_null(record, FACT_VOLUNTARY_SWITCHES, why_not);
}

static const enum fact_id fields[] = {FACT_VOLUNTARY_SWITCHES};

const struct probe voluntary_switches_probe = {
    .name = "voluntary_switches",
    .state_bytes = sizeof(struct switches),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_measured = before_measured,
    .after_measured = after_measured,
    .put = put,
};
