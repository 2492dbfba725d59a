#include "serve/live.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "result/line_source.h"
#include "result/names.h"
#include "result/scan.h"

#define LINE_BYTES_MAX ((size_t)1 << 20)
#define LINES_MAX      ((size_t)2048)
#define SLICE_NS       (20 * NS_PER_MS)
#define SLICE_LINES    64U /* between two looks at the clock */
#define WORD_BYTES     64
#define GONE_NS        (2 * NS_PER_S)

/* FIRST: the first cell that the run began, from which its speed is known. */
enum kind { KIND_RUN, KIND_FIRST, KIND_CELL, KIND_BLOCK, KIND_TELEMETRY, KIND_END, KIND_OTHER };

struct line_kept {
    enum kind kind;
    uint64_t number; /* from 1, in the order in which they came */
    char *text;      /* owned */
    size_t bytes;
};

struct live {
    char dir[FILE_PATH_BYTES];
    struct line_source *lines; /* owned; NULL: there is no folder yet, or it cannot be read */
    struct scanner *scanner;   /* owned */
    char run_id[WORD_BYTES];
    bool has_first;
    uint64_t pid; /* of the run that is told of; 0 = it has ended, or is not known */
    uint64_t read_ns;
    bool is_gone; /* that was told */

    pthread_mutex_t lock; /* of all that follows */
    struct line_kept kept[LINES_MAX];
    size_t kept_count, kept_bytes, blocks_count;
    uint64_t newest;
};

enum status live_new(const char *dir, struct live **ret_live, struct err *err)
{
    static const char *const names[] = {"event", "run_id", "pid", "state"};
    struct live *live = calloc(1, sizeof(*live));
    if (live == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read events");
    (void)pthread_mutex_init(&live->lock, NULL);
    int length = snprintf(live->dir, sizeof(live->dir), "%s", dir);
    enum status status = scanner_new(names, ARRAY_COUNT(names), &live->scanner, err);
    if (status == STATUS_OK && (length < 0 || (size_t)length >= sizeof(live->dir)))
        status = ERR(err, STATUS_LIMIT, "path too long: %.80s...", dir);
    if (status == STATUS_OK)
        *ret_live = live;
    else
        live_free(live);
    return status;
}

/* --- what is kept --- */

/* Drops the lines that `is_over` says are of the past. */
static void drop(struct live *live, bool (*is_over)(enum kind kind))
{
    size_t count = 0;
    live->kept_bytes = live->blocks_count = 0;
    for (size_t i = 0; i < live->kept_count; i++) {
        struct line_kept *line = &live->kept[i];
        if (is_over(line->kind)) {
            free(line->text);
            continue;
        }
        live->kept_bytes += line->bytes;
        live->blocks_count += line->kind == KIND_BLOCK ? 1 : 0;
        live->kept[count++] = *line;
    }
    live->kept_count = count;
}

static bool is_any(enum kind kind)
{
    (void)kind;
    return true;
}

static bool is_of_cell(enum kind kind)
{
    return kind != KIND_RUN && kind != KIND_FIRST;
}

static bool is_telemetry(enum kind kind)
{
    return kind == KIND_TELEMETRY;
}

static void drop_oldest_block(struct live *live)
{
    for (size_t i = 0; i < live->kept_count; i++) {
        if (live->kept[i].kind != KIND_BLOCK)
            continue;
        live->kept_bytes -= live->kept[i].bytes;
        live->blocks_count--;
        free(live->kept[i].text);
        live->kept_count--;
        memmove(&live->kept[i], &live->kept[i + 1], (live->kept_count - i) * sizeof(live->kept[0]));
        return;
    }
}

void live_free(struct live *live)
{
    if (live == NULL)
        return;
    drop(live, is_any);
    line_source_free(live->lines);
    scanner_free(live->scanner);
    (void)pthread_mutex_destroy(&live->lock);
    free(live);
}

/* Under the lock. What is over the limits is left out: the page then knows less of the plan. */
static enum status keep(struct live *live, enum kind kind, const struct line *line, struct err *err)
{
    if (kind == KIND_CELL || kind == KIND_FIRST)
        drop(live, is_of_cell);
    else if (kind == KIND_TELEMETRY)
        drop(live, is_telemetry);
    else if (kind == KIND_BLOCK && live->blocks_count == LIVE_BLOCKS_MAX)
        drop_oldest_block(live);
    live->newest++;
    if (live->kept_count == LINES_MAX || live->kept_bytes + line->bytes > LIVE_BYTES_MAX)
        return STATUS_OK;
    char *text = malloc(line->bytes);
    if (text == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for events");
    /* Between values a line may have carriage returns, which would end an event's field. */
    for (size_t i = 0; i < line->bytes; i++)
        text[i] = line->text[i] == '\r' ? ' ' : line->text[i];
    live->kept[live->kept_count++] = (struct line_kept){kind, live->newest, text, line->bytes};
    live->kept_bytes += line->bytes;
    live->blocks_count += kind == KIND_BLOCK ? 1 : 0;
    return STATUS_OK;
}

/* --- reading --- */

static bool is_word(const struct scan_value *value, const char *word)
{
    return value->kind == SCAN_STRING && value->bytes == strlen(word) &&
           memcmp(value->text, word, value->bytes) == 0;
}

static enum kind kind_of(const struct scan_value *event)
{
    static const struct {
        const char *word;
        enum kind kind;
    } words[] = {{"run", KIND_RUN},
                 {"cell", KIND_CELL},
                 {"block", KIND_BLOCK},
                 {"telemetry", KIND_TELEMETRY},
                 {"end", KIND_END}};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (is_word(event, words[i].word))
            return words[i].kind;
    return KIND_OTHER;
}

/* What the line makes known of the run. */
static enum kind note_run(struct live *live, const struct scan_value values[4])
{
    enum kind kind = kind_of(&values[0]);
    live->is_gone = false;
    if (kind == KIND_RUN && values[2].kind == SCAN_NUMBER) {
        char digits[32];
        (void)snprintf(digits, sizeof(digits), "%.*s",
                       (int)(values[2].bytes < sizeof(digits) ? values[2].bytes : 0),
                       values[2].text);
        live->pid = strtoull(digits, NULL, 10);
    }
    if (kind == KIND_END)
        live->pid = 0;
    if (kind != KIND_CELL || live->has_first || is_word(&values[3], "skipped"))
        return kind;
    live->has_first = true;
    return KIND_FIRST;
}

static void forget_run(struct live *live)
{
    live->run_id[0] = '\0';
    live->has_first = live->is_gone = false;
    live->pid = 0;
}

static enum status take(struct live *live, const struct line *line, struct err *err)
{
    struct scan_value values[4];
    const char *fault = NULL;
    char run_id[WORD_BYTES] = "";
    if (!scanner_scan(live->scanner, line->text, line->bytes, values, &fault) ||
        values[0].kind != SCAN_STRING)
        return STATUS_OK;
    if (values[1].kind == SCAN_STRING)
        (void)snprintf(run_id, sizeof(run_id), "%.*s",
                       (int)(values[1].bytes < WORD_BYTES ? values[1].bytes : WORD_BYTES - 1),
                       values[1].text);
    bool is_other = strcmp(run_id, live->run_id) != 0;
    if (is_other)
        forget_run(live);
    enum kind kind = note_run(live, values);
    (void)pthread_mutex_lock(&live->lock);
    if (is_other)
        drop(live, is_any);
    enum status status = keep(live, kind, line, err);
    (void)pthread_mutex_unlock(&live->lock);
    memcpy(live->run_id, run_id, sizeof(run_id));
    live->read_ns = clock_now_ns();
    return status;
}

/* A run that is killed cannot say so: its process is not there any more, and no line has come since
 * a while. On another machine it never was there; its next line says that it goes on. */
static enum status tell_gone(struct live *live, struct err *err)
{
    static char text[] = "{\"event\":\"gone\"}";
    const struct line line = {.text = text, .bytes = sizeof(text) - 1};
    if (live->pid < 2 || live->pid > INT32_MAX || live->is_gone ||
        clock_now_ns() - live->read_ns < GONE_NS || kill((pid_t)live->pid, 0) == 0 ||
        errno != ESRCH)
        return STATUS_OK;
    live->is_gone = true;
    (void)pthread_mutex_lock(&live->lock);
    enum status status = keep(live, KIND_OTHER, &line, err);
    (void)pthread_mutex_unlock(&live->lock);
    return status;
}

static void start_over(struct live *live)
{
    (void)pthread_mutex_lock(&live->lock);
    drop(live, is_any);
    (void)pthread_mutex_unlock(&live->lock);
    forget_run(live);
}

static bool open_lines(struct live *live)
{
    struct stat info;
    struct input *input = NULL;
    const struct input_kind kind = {
        .follows = true, .is_plain = true, .beside = RESULT_EVENTS_NAME};
    if (live->lines != NULL)
        return true;
    return stat(live->dir, &info) == 0 && S_ISDIR(info.st_mode) &&
           input_open(live->dir, kind, &input, NULL) == STATUS_OK &&
           line_source_new(input, true, LINE_BYTES_MAX, &live->lines, NULL) == STATUS_OK;
}

enum status live_read(struct live *live, struct err *err)
{
    struct line line;
    if (!open_lines(live))
        return STATUS_OK;
    uint64_t end_ns = clock_now_ns() + SLICE_NS;
    for (uint64_t count = 1; count % SLICE_LINES != 0 || clock_now_ns() < end_ns; count++) {
        if (line_source_next(live->lines, &line, NULL) != STATUS_OK) {
            line_source_free(live->lines);
            live->lines = NULL;
            start_over(live);
            return STATUS_OK;
        }
        if (line.kind == LINE_WAITING || line.kind == LINE_END)
            return tell_gone(live, err);
        if (line.kind == LINE_RESTARTED)
            start_over(live);
        else if (line.kind == LINE_WHOLE)
            TRY(take(live, &line, err));
    }
    return STATUS_OK;
}

/* --- taking --- */

uint64_t live_newest(struct live *live)
{
    (void)pthread_mutex_lock(&live->lock);
    uint64_t newest = live->newest;
    (void)pthread_mutex_unlock(&live->lock);
    return newest;
}

uint64_t live_append(struct live *live, uint64_t after, struct buf *out)
{
    (void)pthread_mutex_lock(&live->lock);
    uint64_t newest = live->newest;
    for (size_t i = 0; i < live->kept_count; i++) {
        const struct line_kept *line = &live->kept[i];
        if (line->number <= after)
            continue;
        buf_append_text(out, "event: live\ndata: ");
        buf_append(out, line->text, line->bytes);
        buf_append_text(out, "\n\n");
    }
    (void)pthread_mutex_unlock(&live->lock);
    return newest;
}
