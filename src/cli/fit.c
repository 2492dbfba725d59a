#include "cli/fit.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/reserve.h"
#include "base/sysmem.h"
#include "cli/fit_frontier.h"
#include "cli/run_layouts.h"
#include "cli/signals.h"
#include "drive/worker_run.h"
#include "plan/size_search.h"
#include "spec/device.h"

#define SIZE_MAX_ANY 1048576U
#define SPEED_NS     NS_PER_S /* of steps, for --batch best */
#define SPEED_STEPS  50       /* at most */
/* Two sizes in a row that are slower than the best one by this end the search for it. */
#define SLOWER_SHARE 0.97
#define SLOWER_MAX   2
#define TITLE_BYTES  256
/* Processes on the CPUs: for trying it out. */
#define HOST_DEVICES_MAX 8

/* What every search of a call has. Pointers are borrowed: for the call. */
struct fit_call {
    struct run_setup *setup;
    const struct context *context;
    struct client_options client;
};

/* One cell whose size is found. Pointers are borrowed: for the search. */
struct fitting {
    const struct fit_call *fit;
    struct cell *cell;
    struct journal *journal;
    struct frontier frontier;
    uint64_t room_bytes; /* for the model; 0 = not known */
    uint32_t most;
    uint32_t largest; /* what is measured where nothing fits */
};

static enum frontier_axis axis_of(const struct run_setup *setup)
{
    if (run_layouts_are_found(setup->options.devices))
        return FRONTIER_DEVICES;
    return setup->options.seq_lens.goal != PLAN_GOAL_NONE ? FRONTIER_SEQ : FRONTIER_BATCH;
}

static enum plan_goal goal_of(const struct run_setup *setup)
{
    switch (axis_of(setup)) {
    case FRONTIER_BATCH: return setup->options.batch_sizes.goal;
    case FRONTIER_SEQ: return setup->options.seq_lens.goal;
    case FRONTIER_DEVICES: return PLAN_GOAL_MIN;
    }
    UNREACHABLE("no axis");
}

bool fit_is_wanted(const struct run_setup *setup)
{
    return goal_of(setup) != PLAN_GOAL_NONE;
}

static void set_size(const struct run_setup *setup, uint32_t size, struct cell *cell)
{
    switch (axis_of(setup)) {
    case FRONTIER_BATCH: cell->batch_size = size; break;
    case FRONTIER_SEQ:
        cell->seq_len = size;
        if (!setup->keeps_length)
            cell->model.max_seq_len = size;
        break;
    case FRONTIER_DEVICES: run_layouts_put(size, cell); break;
    }
}

/* --- by prediction --- */

/* What that size would take; 0 = not known. */
static uint64_t predicted_bytes(const struct run_setup *setup, const struct cell *cell,
                                uint32_t size)
{
    struct cell sized = *cell;
    struct engine_prediction prediction = {0};
    struct err why = {0};
    set_size(setup, size, &sized);
    if (setup->ops == NULL || setup->ops->predict == NULL ||
        setup->ops->predict(&sized, &prediction, &why) != STATUS_OK || !prediction.memory.is_known)
        return 0;
    return prediction.memory.total_bytes;
}

static const json_t *cards_of(const json_t *environment)
{
    return json_object_get(json_object_get(environment, "gpu"), "cards");
}

/* 1 where none is known: whatever is wrong, a record then says. */
static uint32_t cards_count(const char *environment_json)
{
    json_t *environment = environment_json != NULL ? json_loads(environment_json, 0, NULL) : NULL;
    size_t count = json_array_size(cards_of(environment));
    json_decref(environment);
    return count > 1 ? (uint32_t)count : 1;
}

/* The whole memory of the card that the cell is for, by the environment; 0 = not known. */
static uint64_t card_bytes(const char *environment_json, const char *device)
{
    const char *colon = strchr(device, ':');
    size_t index = colon != NULL ? (size_t)strtoul(colon + 1, NULL, 10) : 0;
    json_t *environment = environment_json != NULL ? json_loads(environment_json, 0, NULL) : NULL;
    const json_t *cards = cards_of(environment);
    json_int_t bytes =
        json_integer_value(json_object_get(json_array_get(cards, index), "memory_bytes"));
    json_decref(environment);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

/* For one device. Processes on the CPUs share what there is. */
static uint64_t room_of(const struct run_setup *setup, const struct cell *cell,
                        const char *environment_json)
{
    if (!device_is_host(cell->device))
        return card_bytes(environment_json, cell->device);
    uint64_t available_bytes = sysmem_available_bytes();
    uint64_t reserve_bytes = reserve_host_bytes();
    uint64_t room_bytes = available_bytes > reserve_bytes ? available_bytes - reserve_bytes : 0;
    room_bytes /= device_count(cell->device);
    uint64_t limit_bytes = setup->options.memory_limit_bytes;
    return limit_bytes > 0 && limit_bytes < room_bytes ? limit_bytes : room_bytes;
}

static uint32_t most_of(const struct run_setup *setup, const struct cell *cell,
                        const char *environment_json)
{
    switch (axis_of(setup)) {
    case FRONTIER_BATCH: return SIZE_MAX_ANY;
    case FRONTIER_SEQ: return setup->keeps_length ? cell->model.max_seq_len : SIZE_MAX_ANY;
    case FRONTIER_DEVICES:
        return device_is_host(cell->device) ? HOST_DEVICES_MAX : cards_count(environment_json);
    }
    UNREACHABLE("no axis");
}

/* The largest that is predicted to fit; 0 = not known, or none. */
static uint32_t predicted_size(const struct run_setup *setup, const struct cell *cell,
                               uint64_t room_bytes)
{
    uint32_t low = 0;
    uint32_t high = most_of(setup, cell, NULL) + 1;
    if (room_bytes == 0 || predicted_bytes(setup, cell, 1) == 0)
        return 0;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (predicted_bytes(setup, cell, middle) <= room_bytes)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Is it predicted that so many devices are too few? */
static bool are_too_few(const struct run_setup *setup, const struct cell *cell, uint32_t count,
                        const char *environment_json)
{
    struct cell sized = *cell;
    set_size(setup, count, &sized);
    uint64_t room_bytes = room_of(setup, &sized, environment_json);
    return room_bytes > 0 && predicted_bytes(setup, cell, count) > room_bytes;
}

/* The fewest devices that the cell divides over and is predicted to fit on; else the most. */
static uint32_t predicted_devices(const struct run_setup *setup, const struct cell *cell,
                                  const char *environment_json)
{
    uint32_t last = 1;
    for (uint32_t count = 1; count <= most_of(setup, cell, environment_json); count++) {
        if (!run_layouts_divide(cell, count))
            continue;
        last = count;
        if (!are_too_few(setup, cell, count, environment_json))
            break;
    }
    return last;
}

/* On one device the layouts are one cell. */
static enum status drop_repeats(struct run_setup *setup, struct err *err)
{
    return axis_of(setup) == FRONTIER_DEVICES ? plan_drop_repeats(&setup->plan, err) : STATUS_OK;
}

enum status fit_predict(struct run_setup *setup, const char *environment_json, struct err *err)
{
    for (size_t i = 0; fit_is_wanted(setup) && i < setup->plan.cells_count; i++) {
        struct cell *cell = &setup->plan.cells[i];
        uint32_t size = axis_of(setup) == FRONTIER_DEVICES
                            ? predicted_devices(setup, cell, environment_json)
                            : predicted_size(setup, cell, room_of(setup, cell, NULL));
        set_size(setup, size > 0 ? size : 1, cell);
    }
    return drop_repeats(setup, err);
}

/* --- a trial --- */

struct trying {
    const struct cell *cell; /* borrowed */
    uint32_t steps_count;
    bool wants_speed;
    uint64_t limit_bytes; /* of the worker; 0 = none */
    uint64_t room_bytes;  /* for what it grows by, on the host; 0 = not known */
    double tokens_per_sec;
};

static bool run_steps(struct client *client, uint32_t steps_count, uint64_t *window_ns)
{
    struct proto_block block;
    uint64_t host_ns = 0;
    if (!client_run(client, steps_count, PROTO_SYNC_BLOCK, false, &block, &host_ns))
        return false;
    *window_ns += block.window_ns;
    free(block.step_ns);
    return true;
}

/* A trial is short, and the watch over a worker looks now and then: its own peak is asked for, too.
 */
static bool has_stayed_within(const struct trying *trying, struct client *client)
{
    struct proto_memory memory;
    char held[NUM_TEXT_BYTES], limit[NUM_TEXT_BYTES];
    if (!client_memory(client, &memory))
        return false;
    uint64_t growth_bytes = memory.rss_peak_bytes > memory.rss_baseline_bytes
                                ? memory.rss_peak_bytes - memory.rss_baseline_bytes
                                : 0;
    bool is_over_limit = trying->limit_bytes > 0 && memory.rss_peak_bytes > trying->limit_bytes;
    bool is_over_room = trying->room_bytes > 0 && growth_bytes > trying->room_bytes;
    if (!memory.has_rss || !(is_over_limit || is_over_room))
        return true;
    num_format_bytes_apart(is_over_limit ? memory.rss_peak_bytes : growth_bytes,
                           is_over_limit ? trying->limit_bytes : trying->room_bytes, held, limit);
    session_end(&client->session, VERDICT_OOM, is_over_limit ? "memory_limit" : "host_memory_low",
                "it took %s, the limit is %s", held, limit);
    client->session.is_alive_expected = true;
    return false;
}

static bool talk(void *context, struct client *client)
{
    struct trying *trying = context;
    uint64_t window_ns = 0;
    uint32_t steps_count = 0;
    if (!client_can_go_on(client) || !run_steps(client, trying->steps_count, &window_ns))
        return false;
    window_ns = 0;
    while (trying->wants_speed && window_ns < SPEED_NS && steps_count < SPEED_STEPS) {
        if (!client_can_go_on(client) || !run_steps(client, 1, &window_ns))
            return false;
        steps_count++;
    }
    if (window_ns > 0)
        trying->tokens_per_sec = (double)cell_tokens_per_step(trying->cell) * steps_count /
                                 ((double)window_ns / (double)NS_PER_S);
    return has_stayed_within(trying, client);
}

static enum status log_path_of(const struct fitting *fitting, char path[FILE_PATH_BYTES],
                               struct err *err)
{
    char folder[FILE_PATH_BYTES];
    char name[TITLE_BYTES];
    (void)snprintf(name, sizeof(name), "fit.%s.%s.log", cell_mode_name(fitting->cell->mode),
                   cell_precision_name(fitting->cell->precision));
    TRY(file_join(fitting->fit->setup->out, "logs", folder, err));
    TRY(file_make_dirs(folder, err));
    return file_join(folder, name, path, err);
}

static const char *const axis_words[] = {
    [FRONTIER_BATCH] = "batch", [FRONTIER_SEQ] = "seq", [FRONTIER_DEVICES] = "devices"};

static void tell(const struct fitting *fitting, const struct frontier_try *one,
                 const struct reasons *reasons)
{
    const struct cell *cell = fitting->cell;
    const char *text = reasons->count > 0 ? reasons->items[0].text : "";
    if (fitting->fit->setup->options.is_quiet)
        return;
    char speed[NUM_TEXT_BYTES + 16] = "";
    if (one->tokens_per_sec > 0)
        (void)snprintf(speed, sizeof(speed), ", %.4g tokens/s", one->tokens_per_sec);
    command_complain(fitting->fit->context->call, "%s %s, %s %" PRIu32 ": %s%s%s%.200s",
                     cell_mode_name(cell->mode), cell_precision_name(cell->precision),
                     axis_words[fitting->frontier.axis], one->size,
                     one->verdict == VERDICT_OK ? "fits" : verdict_name(one->verdict), speed,
                     text[0] != '\0' ? ": " : "", text);
}

static void keep_try(struct fitting *fitting, const struct frontier_try *one,
                     const struct reasons *reasons)
{
    struct frontier *frontier = &fitting->frontier;
    if (frontier->tries_count < FRONTIER_TRIES_MAX)
        frontier->tries[frontier->tries_count++] = *one;
    bool is_nearer =
        frontier->goal == PLAN_GOAL_MIN ? one->size > frontier->fails : one->size < frontier->fails;
    if (one->verdict != VERDICT_OK && (frontier->fails == 0 || is_nearer)) {
        frontier->fails = one->size;
        frontier->reasons = *reasons;
    }
    tell(fitting, one, reasons);
}

/* On the host what would take more than there is is not even tried: it could bring down others. Nor
 * are fewer devices than are predicted to do. */
static bool is_refused(const struct fitting *fitting, uint32_t size, struct reasons *ret_reasons)
{
    uint64_t bytes = predicted_bytes(fitting->fit->setup, fitting->cell, size);
    char needed[NUM_TEXT_BYTES], room[NUM_TEXT_BYTES];
    bool is_by_prediction = device_is_host(fitting->cell->device) ||
                            (fitting->frontier.axis == FRONTIER_DEVICES && size < fitting->most);
    if (!is_by_prediction || fitting->room_bytes == 0 || bytes <= fitting->room_bytes)
        return false;
    num_format_bytes_apart(bytes, fitting->room_bytes, needed, room);
    reasons_add(ret_reasons, "memory_does_not_fit", "not tried: %s are predicted, and there are %s",
                needed, room);
    return true;
}

static enum status try_size(struct fitting *fitting, uint32_t size, struct frontier_try *ret_try,
                            struct err *err)
{
    const struct run_setup *setup = fitting->fit->setup;
    char log_path[FILE_PATH_BYTES];
    struct reasons refused = {0};
    struct cell cell = *fitting->cell;
    set_size(setup, size, &cell);
    *ret_try = (struct frontier_try){.size = size};
    if (is_refused(fitting, size, &refused)) {
        ret_try->verdict = VERDICT_OOM;
        ret_try->is_by_prediction = true;
        keep_try(fitting, ret_try, &refused);
        return STATUS_OK;
    }
    TRY(log_path_of(fitting, log_path, err));
    bool is_in_c = setup->ops != NULL && setup->ops->become == NULL;
    struct trying trying = {.cell = &cell,
                            /* What a framework keeps is there from the second step on. */
                            .steps_count = is_in_c ? 1 : 2,
                            .wants_speed = fitting->frontier.goal == PLAN_GOAL_BEST,
                            .limit_bytes = setup->options.memory_limit_bytes,
                            .room_bytes = device_is_host(cell.device) ? fitting->room_bytes : 0};
    const struct worker_job job = {.cell = &cell,
                                   .log_path = log_path,
                                   .name = "does it fit",
                                   .talk = talk,
                                   .context = &trying};
    struct worker_run *run = calloc(1, sizeof(*run)); /* large: texts of a worker */
    if (run == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    enum status status = worker_run(&job, &fitting->fit->client, run, err);
    if (status == STATUS_OK) {
        ret_try->verdict = run->verdict;
        ret_try->tokens_per_sec = trying.tokens_per_sec;
        keep_try(fitting, ret_try, &run->reasons);
    }
    free(run);
    return status;
}

static bool is_stopped(void)
{
    return *signals_interrupt() != 0;
}

/* --- the search --- */

static enum status find_largest(struct fitting *fitting, uint32_t guess, struct err *err)
{
    struct size_search search = size_search_of(guess, fitting->most);
    uint32_t size = 0;
    while (!is_stopped() && (size = size_search_next(&search)) != 0) {
        struct frontier_try one;
        TRY(try_size(fitting, size, &one, err));
        size_search_take(&search, size, one.verdict == VERDICT_OK);
    }
    fitting->frontier.size = search.fits;
    return STATUS_OK;
}

/* From the number on that is predicted to do; those before it are told, and not tried. */
static enum status find_fewest(struct fitting *fitting, struct err *err)
{
    const struct fit_call *fit = fitting->fit;
    for (uint32_t size = 1; size <= fitting->most && !is_stopped(); size++) {
        struct frontier_try one;
        struct cell sized = *fitting->cell;
        if (!run_layouts_divide(fitting->cell, size))
            continue;
        set_size(fit->setup, size, &sized);
        fitting->room_bytes = room_of(fit->setup, &sized, fit->context->environment.data);
        TRY(try_size(fitting, size, &one, err));
        fitting->largest = size;
        if (one.verdict != VERDICT_OK)
            continue;
        fitting->frontier.size = size;
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* Doubles until it does not fit, or is slower twice. */
static enum status find_fastest(struct fitting *fitting, struct err *err)
{
    double best = 0;
    unsigned slower_count = 0;
    for (uint32_t size = 1; size <= fitting->most && slower_count < SLOWER_MAX; size *= 2) {
        struct frontier_try one;
        if (is_stopped())
            return STATUS_OK;
        TRY(try_size(fitting, size, &one, err));
        if (one.verdict != VERDICT_OK)
            return STATUS_OK;
        slower_count = one.tokens_per_sec < SLOWER_SHARE * best ? slower_count + 1 : 0;
        if (one.tokens_per_sec > best) {
            best = one.tokens_per_sec;
            fitting->frontier.size = size;
        }
    }
    return STATUS_OK;
}

static void tell_found(const struct fitting *fitting)
{
    const struct frontier *frontier = &fitting->frontier;
    const struct cell *cell = fitting->cell;
    const char *axis = axis_words[frontier->axis];
    char duration[NUM_TEXT_BYTES];
    num_format_duration(frontier->total_ns, duration);
    if (fitting->fit->setup->options.is_quiet)
        return;
    if (frontier->size == 0)
        command_complain(fitting->fit->context->call, "%s %s: no %s fit%s",
                         cell_mode_name(cell->mode), cell_precision_name(cell->precision), axis,
                         frontier->axis == FRONTIER_DEVICES ? "" : "s");
    else if (frontier->axis == FRONTIER_DEVICES)
        command_complain(
            fitting->fit->context->call,
            "%s %s, seq %" PRIu32 " batch %" PRIu32 ": %s needs %" PRIu32 " device%s; %zu tr%s, %s",
            cell_mode_name(cell->mode), cell_precision_name(cell->precision), cell->seq_len,
            cell->batch_size, frontier->layout, frontier->size, num_plural(frontier->size),
            frontier->tries_count, frontier->tries_count == 1 ? "y" : "ies", duration);
    else
        command_complain(fitting->fit->context->call,
                         "%s %s, seq %" PRIu32 " batch %" PRIu32 ": the %s %s; %zu tr%s, %s",
                         cell_mode_name(cell->mode), cell_precision_name(cell->precision),
                         cell->seq_len, cell->batch_size,
                         frontier->goal == PLAN_GOAL_BEST ? "fastest" : "largest", axis,
                         frontier->tries_count, frontier->tries_count == 1 ? "y" : "ies", duration);
}

static enum status find_size(struct fitting *fitting, struct err *err)
{
    const struct fit_call *fit = fitting->fit;
    struct frontier *frontier = &fitting->frontier;
    char key[HASH_ID_BYTES];
    uint32_t guess = 0;
    uint64_t before_ns = clock_now_ns();
    frontier_key(frontier, key);
    TRY(frontier_find(fit->setup->out, key, fit->context->environment_id, &guess, err));
    if (guess == 0 && frontier->axis != FRONTIER_DEVICES)
        guess = predicted_size(fit->setup, fitting->cell, fitting->room_bytes);
    if (frontier->axis == FRONTIER_DEVICES)
        TRY(find_fewest(fitting, err));
    else
        TRY(frontier->goal == PLAN_GOAL_BEST ? find_fastest(fitting, err)
                                             : find_largest(fitting, guess, err));
    frontier->total_ns = clock_now_ns() - before_ns;
    set_size(fit->setup, frontier->size > 0 ? frontier->size : fitting->largest, fitting->cell);
    if (is_stopped())
        return STATUS_OK;
    tell_found(fitting);
    return frontier_append(fitting->journal, frontier, fit->context->run_id,
                           fit->context->environment_id, err);
}

enum status fit_find(struct run_setup *setup, const struct context *context,
                     struct client_options client, struct err *err)
{
    const struct fit_call fit = {.setup = setup, .context = context, .client = client};
    struct journal journal;
    if (!fit_is_wanted(setup))
        return STATUS_OK;
    struct fitting *fitting = calloc(1, sizeof(*fitting)); /* large: its tries */
    if (fitting == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    enum status status = journal_open(setup->out, JOURNAL_FRONTIER, &journal, err);
    bool is_open = status == STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < setup->plan.cells_count && !is_stopped(); i++) {
        struct cell *cell = &setup->plan.cells[i];
        *fitting = (struct fitting){
            .fit = &fit,
            .cell = cell,
            .journal = &journal,
            .frontier = {.cell = cell, .axis = axis_of(setup), .goal = goal_of(setup)},
            .room_bytes = room_of(setup, cell, context->environment.data),
            .most = most_of(setup, cell, context->environment.data),
            .largest = 1,
        };
        memcpy(fitting->frontier.layout, cell->parallel, sizeof(fitting->frontier.layout));
        status = find_size(fitting, err);
    }
    if (status == STATUS_OK && !is_stopped())
        status = drop_repeats(setup, err);
    if (is_open)
        journal_close(&journal);
    free(fitting);
    return status;
}
