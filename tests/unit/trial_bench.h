/* tests/unit/trial_bench.h - a trial against tests/protocol/hostile_worker.py, which makes every
 * fault and is well-behaved otherwise. */
#ifndef UNIT_TRIAL_BENCH_H
#define UNIT_TRIAL_BENCH_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "drive/trial.h"
#include "parse_line.h"
#include "paths.h"
#include "patience.h"
#include "small_model.h"

struct bench {
    char dir[64];
    struct store *store;
    struct cell cell;
    struct trial_options options;
    struct record *record;
    uint64_t took_ms;
};

static inline void set_up(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    snprintf(bench->dir, sizeof(bench->dir), "drive_XXXXXX");
    cr_assert_not_null(mkdtemp(bench->dir));
    struct err err = {0};
    struct store_facts facts;
    cr_assert_eq(store_open(bench->dir, &bench->store, &facts, &err), STATUS_OK, "%s", err.text);
    bench->cell = (struct cell){.model = small_model(),
                                .model_source = "factory",
                                .device = "cpu",
                                .framework = "hostile",
                                .precision = CELL_PRECISION_FP32,
                                .mode = CELL_MODE_INFER,
                                .seq_len = 8,
                                .batch_size = 2,
                                .data = CELL_DATA_SYNTHETIC};
    bench->options = (struct trial_options){.policy = measure_policy_default(),
                                            .client = {.self_path = TOKMARK_BINARY,
                                                       .phase_timeout_ns = PATIENCE_NS,
                                                       .kill_grace_ns = 300 * NS_PER_MS,
                                                       .wake_fd = -1},
                                            .origin = {.run_id = "run",
                                                       .command_json = "[\"tokmark\"]",
                                                       .environment_json = "{}",
                                                       .environment_id = "env"}};
    bench->options.policy.steps_exact = 6;
    bench->options.policy.is_warmup_auto = false;
    bench->options.policy.warmup_steps = 2;
    bench->options.policy.block_steps_max = 2;
}

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void tear_down(struct bench *bench)
{
    record_free(bench->record);
    store_close(bench->store);
    nftw(bench->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Is there any living process with `marker` in its command line? */
static inline bool is_left(const char *marker)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    bool found = false;
    while (!found && (entry = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || pid == getpid())
            continue;
        char path[300];
        char text[4096] = "";
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
        close(fd);
        found = got > 0 && memmem(text, (size_t)got, marker, strlen(marker)) != NULL;
    }
    closedir(dir);
    return found;
}

/* Runs one trial against the hostile worker: "FAULT PHASE ARGUMENT". */
static inline void run_engine(struct bench *bench, const char *engine)
{
    snprintf(bench->cell.engine, sizeof(bench->cell.engine), "%s", engine);
    struct err err = {0};
    uint64_t before = clock_now_ns();
    cr_assert_eq(trial_run(&bench->cell, 0, &bench->options, bench->store, &bench->record, &err),
                 STATUS_OK, "%s", err.text);
    bench->took_ms = (clock_now_ns() - before) / NS_PER_MS;
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
    cr_assert_eq(errno, ECHILD);
    for (int i = 0; is_left(bench->dir); i++) { /* the dying need a moment to be gone */
        cr_assert_lt(i, (int)(PATIENCE_MS / 20), "a process is left");
        usleep(20000);
    }
}

static inline void run_fault(struct bench *bench, const char *fault)
{
    char engine[CELL_PATH_BYTES];
    snprintf(engine, sizeof(engine),
             "exec:python3 -I -S '%s/tests/protocol/hostile_worker.py' %s %s", TOKMARK_SOURCE_DIR,
             fault, bench->dir);
    run_engine(bench, engine);
}

static inline json_t *first_reason(const struct bench *bench)
{
    json_t *reasons = json_loads(record_string(bench->record, FACT_REASONS), 0, NULL);
    json_t *first = json_incref(json_array_get(reasons, 0));
    json_decref(reasons);
    return first;
}

static inline void expect(const struct bench *bench, const char *verdict, const char *code)
{
    struct buf line;
    buf_init(&line, 1 << 20);
    record_format_json(bench->record, &line);
    cr_expect_str_eq(record_string(bench->record, FACT_VERDICT), verdict, "%s", line.data);
    json_t *reason = first_reason(bench);
    const char *found = json_string_value(json_object_get(reason, "code"));
    if (code == NULL)
        cr_expect_null(found, "%s", line.data);
    else if (strcmp(code, "*") != 0)
        cr_expect(found != NULL && strcmp(found, code) == 0, "wanted %s: %s", code, line.data);
    json_decref(reason);
    struct parser *parser = parse_new();
    cr_expect_eq(parse_line(parser, line.data, line.length_bytes), PARSER_RECORD, "%s",
                 parser_why(parser));
    parser_free(parser);
    buf_release(&line);
}

static inline void expect_warning(const struct bench *bench, const char *code)
{
    cr_expect(reasons_have(record_reasons(bench->record, FACT_WARNINGS), code), "no %s: %s", code,
              record_string(bench->record, FACT_WARNINGS));
}

#endif
