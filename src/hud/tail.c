#include "hud/tail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "result/folder_watch.h"
#include "result/line_source.h"
#include "result/names.h"

#define EVENT_BYTES_MAX ((size_t)4 << 20)
/* Of what happened long ago only the plan, the cells and the end are looked at. */
#define EVENTS_RECENT_BYTES (256 * 1024)
#define LINES_PER_LOOK      64

struct tail {
    struct reader *reader;      /* owned; NULL = what is followed is not there yet */
    struct line_source *events; /* owned; NULL = there are none */
    struct folder_watch watch;  /* of both files' folder, where they are followed */
    char path[FILE_PATH_BYTES];
    bool follows;
    bool has_ended; /* the records, where nothing is followed */
    bool events_ended;
    uint64_t offset; /* in the records' file */
    uint64_t events_size;
};

static enum status open_events(struct tail *tail, struct err *err)
{
    struct input *input = NULL;
    struct err why = {0};
    const struct input_kind kind = {tail->follows, true, RESULT_EVENTS_NAME};
    if (input_open(tail->path, kind, &input, &why) != STATUS_OK)
        return STATUS_OK; /* records are enough */
    return line_source_new(input, tail->follows, EVENT_BYTES_MAX, &tail->events, err);
}

/* A folder that is followed may come later. */
static enum status open_files(struct tail *tail, struct err *err)
{
    struct stat info;
    const struct reader_options options = {
        .fields = board_fields, .fields_count = board_fields_count, .follows = tail->follows};
    if (tail->follows && stat(tail->path, &info) != 0 && errno == ENOENT)
        return STATUS_OK;
    TRY(reader_open(tail->path, &options, &tail->reader, err));
    return open_events(tail, err);
}

enum status tail_open(const char *path, bool follows, struct tail **ret_tail, struct err *err)
{
    struct tail *tail = calloc(1, sizeof(*tail));
    if (tail == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read '%s'", path);
    tail->follows = follows;
    tail->watch.fd = -1;
    if (follows)
        folder_watch_open(&tail->watch, path);
    int length = snprintf(tail->path, sizeof(tail->path), "%s", path);
    enum status status = length < 0 || (size_t)length >= sizeof(tail->path)
                             ? ERR(err, STATUS_LIMIT, "path too long: %.80s...", path)
                             : open_files(tail, err);
    if (status == STATUS_OK)
        *ret_tail = tail;
    else
        tail_close(tail);
    return status;
}

void tail_close(struct tail *tail)
{
    if (tail == NULL)
        return;
    reader_close(tail->reader);
    line_source_free(tail->events);
    folder_watch_close(&tail->watch);
    free(tail);
}

int tail_fd(const struct tail *tail)
{
    return tail->watch.fd;
}

bool tail_is_waiting(const struct tail *tail)
{
    return tail->reader == NULL;
}

static uint64_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && info.st_size > 0 ? (uint64_t)info.st_size : 0;
}

/* --- events --- */

/* Is it a line that later ones make worthless? The event is the first key of what tokmark writes.
 */
static bool is_passing(const struct line *line)
{
    static const char *const starts[] = {"{\"event\":\"block\"", "{\"event\":\"telemetry\"",
                                         "{\"event\":\"phase\""};
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++)
        if (line->bytes >= strlen(starts[i]) &&
            memcmp(line->text, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* *ret_is_more: there may be another line now. */
static enum status read_event(struct tail *tail, struct board *board, bool *ret_is_more,
                              struct err *err)
{
    struct line line = {0};
    *ret_is_more = false;
    if (tail->events == NULL || tail->events_ended)
        return STATUS_OK;
    TRY(line_source_next(tail->events, &line, err));
    tail->events_ended = line.kind == LINE_END;
    *ret_is_more = line.kind != LINE_WAITING && line.kind != LINE_END;
    if (line.kind == LINE_RESTARTED)
        tail->events_size = file_size(line_source_name(tail->events));
    if (line.kind != LINE_WHOLE)
        return STATUS_OK;
    bool is_old = line.offset + EVENTS_RECENT_BYTES < tail->events_size;
    return is_old && is_passing(&line) ? STATUS_OK
                                       : board_take_event(board, line.text, line.bytes, err);
}

/* --- records --- */

static enum status read_record(struct tail *tail, struct board *board, bool *ret_is_more,
                               struct err *err)
{
    struct reader_item item = {0};
    *ret_is_more = false;
    if (tail->has_ended)
        return STATUS_OK;
    TRY(reader_next(tail->reader, &item, err));
    *ret_is_more = item.kind != READER_WAITING && item.kind != READER_END;
    tail->offset = item.offset + item.bytes;
    switch (item.kind) {
    case READER_RECORD: return board_take_record(board, &item, err);
    case READER_FOREIGN:
    case READER_LATER:
    case READER_TOO_LONG: board->bad_count++; break;
    case READER_TORN: /* of a file that is followed: it was replaced before the line was whole */
        board->bad_count++;
        break;
    case READER_RESTARTED: board_forget_records(board); break;
    case READER_END: tail->has_ended = true; break;
    case READER_WAITING: break;
    }
    return STATUS_OK;
}

typedef enum status read_line(struct tail *tail, struct board *board, bool *ret_is_more,
                              struct err *err);

static enum status read_slice(struct tail *tail, struct board *board, read_line *read_next,
                              uint64_t end_ns, bool *ret_is_more, struct err *err)
{
    bool is_more = true;
    for (size_t i = 1; is_more; i++) {
        TRY(read_next(tail, board, &is_more, err));
        if (i % LINES_PER_LOOK == 0 && clock_now_ns() >= end_ns)
            break;
    }
    *ret_is_more = is_more;
    return STATUS_OK;
}

enum status tail_read(struct tail *tail, struct board *board, uint64_t slice_ns, bool *ret_is_more,
                      struct err *err)
{
    bool has_events = false;
    bool has_records = false;
    if (tail->follows)
        folder_watch_refresh(&tail->watch);
    if (tail->reader == NULL)
        TRY(open_files(tail, err));
    if (tail->reader == NULL) {
        *ret_is_more = false;
        return STATUS_OK;
    }
    if (tail->events != NULL && tail->events_size == 0)
        tail->events_size = file_size(line_source_name(tail->events));
    uint64_t now_ns = clock_now_ns();
    TRY(read_slice(tail, board, read_event, now_ns + slice_ns / 2, &has_events, err));
    TRY(read_slice(tail, board, read_record, now_ns + slice_ns, &has_records, err));
    *ret_is_more = has_events || has_records;
    return STATUS_OK;
}

double tail_share(const struct tail *tail)
{
    uint64_t size = tail->reader != NULL ? file_size(reader_name(tail->reader)) : 0;
    return tail->has_ended || tail->offset >= size ? 1 : (double)tail->offset / (double)size;
}

uint64_t tail_newest_ns(const struct tail *tail)
{
    struct stat info;
    if (tail->reader == NULL || stat(reader_name(tail->reader), &info) != 0 || info.st_size == 0)
        return 0;
    return (uint64_t)info.st_mtim.tv_sec * NS_PER_S + (uint64_t)info.st_mtim.tv_nsec;
}
