#include "client/worker_command.h"

#include <string.h>

static enum status add_command(const struct client_options *options, const char *engine,
                               struct words *words, struct err *err)
{
    static const char exec_prefix[] = "exec:";
    if (options->launch_prefix != NULL)
        TRY(words_split(words, options->launch_prefix, err));
    size_t prefix_count = words->count;
    if (strncmp(engine, exec_prefix, sizeof(exec_prefix) - 1) == 0) {
        TRY(words_split(words, engine + sizeof(exec_prefix) - 1, err));
        return words->count > prefix_count
                   ? STATUS_OK
                   : ERR(err, STATUS_INVALID, "'exec:' needs a command behind it");
    }
    const char *const own[] = {options->self_path, "worker", engine, "--python", options->python};
    size_t own_count = options->python != NULL ? ARRAY_COUNT(own) : ARRAY_COUNT(own) - 2;
    for (size_t i = 0; i < own_count; i++)
        TRY(words_add(words, own[i], err));
    return STATUS_OK;
}

enum status worker_command_make(const struct client_options *options, const char *engine,
                                struct words *ret_words, struct err *err)
{
    struct words words;
    words_init(&words);
    enum status status = add_command(options, engine, &words, err);
    if (status == STATUS_OK)
        *ret_words = words;
    else
        words_release(&words);
    return status;
}
