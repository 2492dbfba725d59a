#include "cli/context.h"

#include <stdlib.h>

#include "cli/signals.h"
#include "client/preflight.h"
#include "engines/launched.h"
#include "telemetry/environment.h"

enum status context_open(struct context *context, const struct invocation *call, struct err *err)
{
    *context = (struct context){.call = call, .wake_fd = -1};
    /* What workers find of the kind was said by a launcher of their own (--launch). */
    launched_forget();
    buf_init(&context->environment, ENVIRONMENT_BYTES_MAX);
    buf_init(&context->command, COMMAND_BYTES_MAX);
    command_write_words(call, &context->command);
    run_id_make(context->run_id);
    context->fork_pool = fork_pool_new();
    if (context->fork_pool == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    enum status status = environment_write(&context->environment, err);
    return status == STATUS_OK ? file_self(context->self_path, err) : status;
}

void context_identify(struct context *context)
{
    environment_fingerprint(context->environment.data, context->environment_id);
}

enum status context_listen(struct context *context, struct err *err)
{
    return signals_open(&context->wake_fd, err);
}

void context_close(struct context *context)
{
    fork_pool_free(context->fork_pool);
    context->fork_pool = NULL;
    signals_close();
    buf_release(&context->environment);
    buf_release(&context->command);
}

const char *context_command(const struct context *context)
{
    return context->command.failed ? "null" : context->command.data;
}

struct client_options context_client(const struct context *context,
                                     const struct run_options *options)
{
    return (struct client_options){
        .launch_prefix = options->launch,
        .self_path = context->self_path,
        .python = options->python,
        .phase_timeout_ns = options->timeout_ns,
        .kill_grace_ns = CLIENT_KILL_GRACE_NS,
        .memory_limit_bytes = options->memory_limit_bytes,
        .interrupt = signals_interrupt(),
        .wake_fd = context->wake_fd,
    };
}

struct fork_pool *context_fork_pool(const struct context *context,
                                    const struct run_options *options, const struct engine_ops *ops)
{
    bool can_fork = ops != NULL && ops->become != NULL;
    return can_fork && options->launch == NULL && !options->is_fresh ? context->fork_pool : NULL;
}

const char *context_fork_failure(const struct context *context)
{
    return fork_pool_failure(context->fork_pool);
}

enum status context_preflight(const struct client_options *client, const struct engine_ops *ops,
                              struct buf *ret_json, struct err *err)
{
    if (ops == NULL || ops->become == NULL)
        return STATUS_OK;
    return preflight_require(client, ops->name, ret_json, err);
}

enum exit_code context_exit_code(const struct context_outcome *outcome)
{
    if (outcome->is_interrupted)
        return (enum exit_code)(128 + signals_number());
    if (outcome->has_failed_gate)
        return EXIT_CODE_GATE_FAILED;
    if (!outcome->has_result)
        return EXIT_CODE_NOTHING;
    return outcome->is_all_well ? EXIT_CODE_OK : EXIT_CODE_SOME_NOT_OK;
}

enum exit_code context_fail(const struct context *context, bool has_begun, enum status status,
                            const struct err *err)
{
    command_complain(context->call, "%s", err->text[0] != '\0' ? err->text : status_text(status));
    bool is_missing = !has_begun && (status == STATUS_NOT_FOUND || status == STATUS_TIMEOUT);
    return is_missing ? EXIT_CODE_NOTHING : EXIT_CODE_IO;
}
