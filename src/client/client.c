#include "client/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/sysmem.h"
#include "base/version.h"
#include "client/fork_pool.h"
#include "client/provenance.h"
#include "client/worker_command.h"

void client_init(struct client *client, const struct cell *cell,
                 const struct client_options *options)
{
    *client = (struct client){.cell = cell, .options = options};
    session_init(&client->session, options);
}

void client_release(struct client *client)
{
    session_release(&client->session);
    proto_ready_release(&client->ready);
}

bool client_can_go_on(const struct client *client)
{
    return !client->session.has_ended && !session_is_interrupted(&client->session);
}

bool client_is_synthetic(const struct client *client)
{
    return client->has_hello && client->hello.is_synthetic;
}

bool client_is_here(const struct client *client)
{
    return !client->hello.is_synthetic && (int64_t)client->session.watch.pid == client->hello.pid;
}

/* --- start and open --- */

static bool greet(struct client *client)
{
    struct proto_host_message request = {
        .type = PROTO_HELLO, .as.hello = {.versions_count = 1, .versions = {PROTO_VERSION}}};
    (void)snprintf(request.as.hello.host, sizeof(request.as.hello.host), "tokmark %s",
                   version_text());
    struct proto_worker_message reply;
    if (!session_ask(&client->session, &request, PROTO_HELLO, &reply))
        return false;
    client->hello = reply.as.hello;
    if (client->hello.version != PROTO_VERSION)
        session_end(&client->session, VERDICT_PROTOCOL_ERROR, "wrong_version",
                    "the worker answered with protocol version %" PRIu32 ", this tokmark speaks %d",
                    client->hello.version, PROTO_VERSION);
    watch_set_worker(&client->session.watch, client->hello.pid);
    return true;
}

void client_prepare(const struct client_options *options, const char *engine)
{
    struct words command;
    if (options->fork_pool == NULL ||
        worker_command_make(options, engine, &command, NULL) != STATUS_OK)
        return;
    fork_pool_prepare(options->fork_pool, &command, options);
    words_release(&command);
}

enum status client_start(struct client *client, const char *log_path, const char *log_title,
                         struct err *err)
{
    struct words command;
    client->session.phase = EVENT_STARTING;
    enum status status = worker_command_make(client->options, client->cell->engine, &command, err);
    if (status != STATUS_OK)
        return status;
    uint64_t before_ns = clock_now_ns();
    status = session_start(&client->session, &command, client->cell->mode == CELL_MODE_TRAIN,
                           log_path, log_title, err);
    words_release(&command);
    if (status != STATUS_OK || !client_can_go_on(client))
        return status;
    client->has_hello = greet(client);
    if (!client->has_hello)
        return STATUS_OK;
    client->start_ns = clock_now_ns() - before_ns;
    uint64_t peak_bytes = 0;
    (void)sysmem_process_rss(client->session.watch.pid, &client->hello_rss_bytes, &peak_bytes);
    return STATUS_OK;
}

void client_open(struct client *client)
{
    struct proto_host_message request = {.type = PROTO_OPEN, .as.open = *client->cell};
    struct proto_worker_message reply;
    client->session.phase = EVENT_OPENING;
    uint64_t before_ns = clock_now_ns();
    if (!session_ask(&client->session, &request, PROTO_READY, &reply))
        return;
    client->open_ns = clock_now_ns() - before_ns;
    client->ready = reply.as.ready;
    client->has_ready = true;
}

/* --- requests --- */

static const char *sync_name(enum proto_sync sync)
{
    return sync == PROTO_SYNC_STEP ? "step" : "block";
}

/* Is the block the one that was asked for? */
static bool is_asked_block(struct client *client, const struct proto_run *run,
                           const struct proto_block *block)
{
    if (block->steps_count == run->steps_count && block->sync == run->sync)
        return true;
    session_end(&client->session, VERDICT_PROTOCOL_ERROR, "wrong_block",
                "%" PRIu32 " step%s synced per %s came back where %" PRIu32
                " per %s were asked for",
                block->steps_count, num_plural(block->steps_count), sync_name(block->sync),
                run->steps_count, sync_name(run->sync));
    return false;
}

bool client_run(struct client *client, uint32_t steps_count, enum proto_sync sync, bool is_measured,
                struct proto_block *ret_block, uint64_t *ret_host_ns)
{
    struct proto_host_message request = {.type = PROTO_RUN,
                                         .as.run = {.steps_count = steps_count, .sync = sync}};
    struct proto_worker_message reply;
    uint64_t before_ns = clock_now_ns();
    if (!session_ask(&client->session, &request, PROTO_BLOCK, &reply))
        return false;
    uint64_t host_ns = clock_now_ns() - before_ns;
    const struct proto_block *block = &reply.as.block;
    if (!is_asked_block(client, &request.as.run, block)) {
        proto_worker_message_release(&reply);
        return false;
    }
    uint64_t window_max_ns = session_window_max_ns(host_ns);
    if (!client->hello.is_synthetic && block->window_ns > window_max_ns) {
        client->impossible_window_ns = block->window_ns;
        client->window_max_ns = window_max_ns;
    }
    client->nonfinite_count += block->observation.nonfinite;
    client->recompiles_count += is_measured ? block->recompiles_count : 0;
    *ret_block = *block;
    *ret_host_ns = host_ns;
    return true;
}

bool client_memory(struct client *client, struct proto_memory *ret_memory)
{
    const struct proto_host_message request = {.type = PROTO_MEMORY};
    struct proto_worker_message reply;
    if (!session_ask(&client->session, &request, PROTO_MEMORY, &reply))
        return false;
    *ret_memory = reply.as.memory;
    return true;
}

bool client_verify(struct client *client, uint64_t step, struct proto_verified *ret_verified)
{
    const struct proto_host_message request = {.type = PROTO_VERIFY, .as.verify = {.step = step}};
    struct proto_worker_message reply;
    if (!session_ask(&client->session, &request, PROTO_VERIFY, &reply))
        return false;
    *ret_verified = reply.as.verify;
    return true;
}

bool client_check(struct client *client, const struct proto_check *check)
{
    const struct proto_host_message request = {.type = PROTO_CHECK, .as.check = *check};
    struct proto_worker_message reply;
    client->session.phase = EVENT_CHECKING;
    return session_ask(&client->session, &request, PROTO_CHECK, &reply);
}

bool client_profile(struct client *client, const struct proto_profile *profile,
                    struct proto_profiled *ret_profiled)
{
    const struct proto_host_message request = {.type = PROTO_PROFILE, .as.profile = *profile};
    struct proto_worker_message reply;
    client->session.phase = EVENT_MEASURING;
    if (!session_ask(&client->session, &request, PROTO_PROFILE, &reply))
        return false;
    *ret_profiled = reply.as.profile;
    return true;
}

void client_close(struct client *client)
{
    session_finish(&client->session);
}

/* --- what came back --- */

void client_faults(const struct client *client, struct reasons *ret_reasons)
{
    char text[REASON_TEXT_BYTES];
    if (client->nonfinite_count > 0)
        reasons_add(ret_reasons, "nonfinite_loss",
                    "losses or gradient norms that are not finite numbers: %" PRIu64,
                    client->nonfinite_count);
    if (client->recompiles_count > 0)
        reasons_add(ret_reasons, "recompile", "%" PRIu64 " recompilation%s inside measured blocks",
                    client->recompiles_count, num_plural(client->recompiles_count));
    if (client->impossible_window_ns > 0)
        reasons_add(ret_reasons, "clock_mismatch",
                    "the worker reported a block of %" PRIu64 " ns, of which at most %" PRIu64
                    " ns had passed by the host's clock",
                    client->impossible_window_ns, client->window_max_ns);
    if (client->has_ready && provenance_is_other_model(client->cell, &client->ready, text))
        reasons_add(ret_reasons, "params_mismatch", "%s", text);
    if (client->has_ready && provenance_contradicts(client->cell->precision, &client->ready, text))
        reasons_add(ret_reasons, "precision_not_as_asked", "%s", text);
}

void client_end_if_faulty(struct client *client)
{
    struct reasons faults = {0};
    client_faults(client, &faults);
    if (faults.count == 0 || client->session.has_ended)
        return;
    session_end(&client->session, VERDICT_INVALID, faults.items[0].code, "%s",
                faults.items[0].text);
    client->session.is_alive_expected = true;
}
