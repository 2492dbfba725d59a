#include "cli/sides.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/signals.h"
#include "data/check_files.h"
#include "data/tokens.h"
#include "engines/engine.h"
#include "telemetry/environment.h"

#define FILE_NAME_BYTES 64

struct sides sides_of(const struct invocation *call, struct check_setup *setup, const char *name)
{
    return (struct sides){
        .call = call, .setup = setup, .name = name, .context = {.call = call, .wake_fd = -1}};
}

enum status sides_path(const struct sides *sides, const char *name, char path[FILE_PATH_BYTES],
                       struct err *err)
{
    enum status status = file_join(sides->folder, name, path, err);
    if (status == STATUS_OK && strlen(path) >= CELL_PATH_BYTES)
        status = ERR(err, STATUS_LIMIT, "--out: its path is too long: %.80s...", path);
    return status;
}

static enum status make_folder(struct sides *sides, struct err *err)
{
    char path[FILE_PATH_BYTES];
    char name[FILE_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s.XXXXXX", sides->name);
    enum status status = file_join(sides->setup->out, name, path, err);
    if (status != STATUS_OK)
        return status;
    char *real = mkdtemp(path) != NULL ? realpath(path, NULL) : NULL;
    if (real == NULL || strlen(real) >= sizeof(sides->folder))
        status = ERR(err, STATUS_IO, "cannot make a folder in '%s': %s", sides->setup->out,
                     strerror(errno));
    else
        memcpy(sides->folder, real, strlen(real) + 1);
    free(real);
    return status;
}

/* The folder is ours alone: whatever a worker left in it goes too. */
static void remove_folder(const struct sides *sides)
{
    DIR *stream = sides->folder[0] != '\0' ? opendir(sides->folder) : NULL;
    if (stream == NULL)
        return;
    const struct dirent *entry = NULL;
    while ((entry = readdir(stream)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(stream), entry->d_name, 0);
    (void)closedir(stream);
    (void)rmdir(sides->folder);
}

enum status sides_write_weights(struct sides *sides, struct err *err)
{
    struct check_setup *setup = sides->setup;
    char path[FILE_PATH_BYTES];
    char hash[HASH_ID_BYTES] = "";
    TRY(sides_path(sides, "weights.safetensors", path, err));
    for (size_t i = 0; i < setup->sides_count; i++) {
        struct cell *cell = &setup->sides[i].cell;
        if (cell->weights_path[0] != '\0')
            continue;
        if (hash[0] == '\0') {
            TRY(check_files_weights(path, &cell->model, cell->seed, err));
            TRY(tokens_hash_file(path, hash, err));
        }
        TRY(file_path_to_text(path, cell->weights_path, sizeof(cell->weights_path), err));
        memcpy(cell->weights_hash, hash, sizeof(hash));
    }
    return STATUS_OK;
}

struct client_options sides_client(const struct sides *sides, const struct check_side *side)
{
    const struct check_setup *setup = sides->setup;
    const struct engine_ops *ops = engine_find(side->engine);
    struct client_options client = context_client(&sides->context, &setup->options.run);
    if (ops == NULL || ops->become == NULL)
        client.python = NULL;
    if (sides->has_several)
        client.fork_pool = context_fork_pool(&sides->context, &setup->options.run, ops);
    return client;
}

/* An engine in Python whose interpreter or packages are not there is told at once, as in a run. */
static enum status probe_engines(const struct sides *sides, struct err *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sides->setup->sides_count; i++) {
        const struct check_side *side = &sides->setup->sides[i];
        const struct client_options client = sides_client(sides, side);
        struct buf json;
        buf_init(&json, ENVIRONMENT_BYTES_MAX);
        status = context_preflight(&client, engine_find(side->engine), &json, err);
        buf_release(&json);
    }
    return status;
}

enum status sides_log_path(const struct sides *sides, const struct check_side *side,
                           enum cell_precision precision, char path[FILE_PATH_BYTES],
                           struct err *err)
{
    char folder[FILE_PATH_BYTES];
    char name[FILE_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s.%.*s.%s.log", sides->name,
                   (int)strcspn(side->engine, ":"), side->engine, cell_precision_name(precision));
    TRY(file_join(sides->setup->out, "logs", folder, err));
    TRY(file_make_dirs(folder, err));
    return file_join(folder, name, path, err);
}

enum status sides_open(struct sides *sides, const char *journal_name, struct err *err)
{
    TRY(context_open(&sides->context, sides->call, err));
    context_identify(&sides->context);
    TRY(probe_engines(sides, err));
    TRY(context_listen(&sides->context, err));
    TRY(journal_open(sides->setup->out, journal_name, &sides->journal, err));
    sides->is_open = true;
    if (sides->journal.torn_bytes > 0 && !sides->setup->options.run.is_quiet)
        command_complain(sides->call, "repaired %s: cut a torn last line of %zu bytes",
                         sides->setup->out, sides->journal.torn_bytes);
    return make_folder(sides, err);
}

void sides_close(struct sides *sides)
{
    if (!sides->setup->options.is_kept)
        remove_folder(sides);
    if (sides->is_open)
        journal_close(&sides->journal);
    context_close(&sides->context);
}
