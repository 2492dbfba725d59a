#include "serve/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/version.h"
#include "serve/route.h"

#define OUT_BYTES_MAX  ((size_t)64 << 20)
#define BLOCK_BYTES    ((size_t)32 * 1024)
#define FIRST_ROWS     50U /* what fits a screen comes at once */
#define SLICE_ROWS     500U
#define KEEP_ALIVE_NS  (15 * NS_PER_S) /* less than what proxies wait */
#define CATCHING_UP_NS NS_PER_S        /* between two looks while much is read */
#define GREETING       "retry: 1000\n\nevent: live-reset\ndata: {}\n\n"

/* Borrowed: for the stream's life, but for what is owned. */
struct stream {
    struct streams *all;               /* borrowed */
    struct MHD_Connection *connection; /* borrowed */
    struct stream *next, *previous;
    bool is_suspended; /* under the lock of `all` */
    struct feed_position position;
    bool is_fresh;        /* has been told nothing yet that it could go on from */
    uint64_t version;     /* of the state that it was told */
    uint64_t live_number; /* of the last line of the events that it was told */
    struct feed_taken taken;
    size_t taken_at; /* rows before it are told */
    bool is_telling; /* `taken` holds what is not told yet */
    struct buf out;
    size_t out_at;
    uint64_t sent_ns;
    uint64_t taken_ns; /* when rows were taken last; 0 = none yet */
};

/* Borrowed: for the streams' life; those that are open are owned by their responses. */
struct streams {
    const struct mhd *mhd; /* borrowed */
    struct feed *feed;     /* borrowed, as the next two */
    struct live *live;
    const char *name;
    pthread_mutex_t lock;
    struct stream *first;
    uint64_t wakes_count;
    bool is_ending;
};

enum status streams_new(const struct mhd *mhd, struct feed *feed, struct live *live,
                        const char *name, struct streams **ret_streams, struct err *err)
{
    struct streams *streams = calloc(1, sizeof(*streams));
    if (streams == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for streams");
    streams->mhd = mhd;
    streams->feed = feed;
    streams->live = live;
    streams->name = name;
    (void)pthread_mutex_init(&streams->lock, NULL);
    *ret_streams = streams;
    return STATUS_OK;
}

void streams_free(struct streams *streams)
{
    if (streams == NULL)
        return;
    ASSERT(streams->first == NULL);
    (void)pthread_mutex_destroy(&streams->lock);
    free(streams);
}

/* --- what is told --- */

static void put_reset(const struct stream *stream, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    buf_append_text(out, "event: reset\nid\ndata: {\"version\":");
    json_put_string(&writer, version_text());
    buf_append_text(out, ",\"folder\":");
    json_put_string(&writer, stream->all->name);
    buf_append_text(out, ",\"columns\":");
    row_append_columns(out);
    buf_append_text(out, "}\n\n");
}

static void put_state(const struct stream *stream, struct buf *out)
{
    const struct feed_state *state = &stream->taken.state;
    struct json_writer writer;
    struct timespec now;
    char id[ROUTE_ID_BYTES];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    buf_append_text(out, "event: state\n");
    if (stream->position.generation != 0) {
        route_format_id(stream->position, id);
        buf_appendf(out, "id: %s\n", id);
    }
    buf_append_text(out, "data: ");
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_u64(&writer, "records", state->records_count);
    json_field_u64(&writer, "cells", state->cells_count);
    json_field_u64(&writer, "known", state->known_count);
    json_field_u64(&writer, "bad", state->bad_count);
    json_field_u64(&writer, "hidden", state->hidden_count);
    json_field_u64(&writer, "read_bytes", state->position.offset);
    json_field_u64(&writer, "file_bytes", state->file_bytes);
    json_field_bool(&writer, "there", state->is_there);
    json_field_bool(&writer, "at_end", state->is_at_end);
    json_field_u64(&writer, "written_ms", state->written_ns / NS_PER_MS);
    json_field_u64(&writer, "now_ms",
                   (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS);
    json_field_string(&writer, "note", state->note);
    json_end_object(&writer);
    buf_append_text(out, "\n\n");
}

static void put_row(const struct stream *stream, struct serve_row *row, struct buf *out)
{
    char id[ROUTE_ID_BYTES];
    route_format_id((struct feed_position){stream->taken.position.generation, row->end}, id);
    buf_appendf(out, "event: row\nid: %s\ndata: ", id);
    row_append(row, out);
    buf_append_text(out, "\n\n");
}

/* The next of the rows that were taken; after the last of them the state. */
static void tell(struct stream *stream)
{
    struct feed_taken *taken = &stream->taken;
    size_t slice = stream->taken_at == 0 ? FIRST_ROWS : SLICE_ROWS;
    size_t end = taken->count - stream->taken_at < slice ? taken->count : stream->taken_at + slice;
    if (!taken->is_each && end > stream->taken_at) {
        buf_append_text(&stream->out, "event: rows\ndata: [");
        for (size_t i = stream->taken_at; i < end; i++) {
            if (i > stream->taken_at)
                buf_append_char(&stream->out, ',');
            row_append(taken->rows[i], &stream->out);
        }
        buf_append_text(&stream->out, "]\n\n");
    } else {
        for (size_t i = stream->taken_at; i < end; i++)
            put_row(stream, taken->rows[i], &stream->out);
    }
    stream->taken_at = end;
    if (end < taken->count)
        return;
    stream->position = taken->position;
    stream->version = taken->state.version;
    put_state(stream, &stream->out);
    feed_give_back(stream->all->feed, taken);
    stream->is_telling = false;
}

/* False: there is nothing to tell now. */
static bool look_live(struct stream *stream)
{
    if (live_newest(stream->all->live) == stream->live_number)
        return false;
    stream->live_number = live_append(stream->all->live, stream->live_number, &stream->out);
    return stream->out.length_bytes > 0;
}

/* The same of records. */
static bool look(struct stream *stream, uint64_t now_ns, struct err *err)
{
    struct feed_state state;
    feed_look(stream->all->feed, &state);
    bool is_new = state.version != stream->version || stream->is_fresh;
    bool is_early =
        !state.is_at_end && stream->taken_ns != 0 && now_ns - stream->taken_ns < CATCHING_UP_NS;
    if (!is_new || is_early)
        return false;
    if (feed_take(stream->all->feed, stream->position, &stream->taken, err) != STATUS_OK)
        return false;
    if (stream->taken.is_reset || stream->is_fresh)
        put_reset(stream, &stream->out);
    stream->is_fresh = false;
    stream->is_telling = true;
    stream->taken_at = 0;
    /* The first rows of a large file are shown as soon as there are any. */
    stream->taken_ns = stream->taken.count > 0 ? now_ns : stream->taken_ns;
    tell(stream);
    return true;
}

/* --- the library's side --- */

/* False: somebody woke the streams since `wakes`, so there may be something after all. */
static bool suspend(struct stream *stream, uint64_t wakes)
{
    struct streams *all = stream->all;
    (void)pthread_mutex_lock(&all->lock);
    bool is_same = all->wakes_count == wakes && !all->is_ending;
    if (is_same) {
        stream->is_suspended = true;
        all->mhd->suspend_connection(stream->connection);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return is_same;
}

static uint64_t count_wakes(struct streams *all, bool *ret_is_ending)
{
    (void)pthread_mutex_lock(&all->lock);
    uint64_t wakes = all->wakes_count;
    *ret_is_ending = all->is_ending;
    (void)pthread_mutex_unlock(&all->lock);
    return wakes;
}

static ssize_t give(struct stream *stream, char *bytes, size_t bytes_max)
{
    size_t left = stream->out.length_bytes - stream->out_at;
    size_t count = left < bytes_max ? left : bytes_max;
    memcpy(bytes, stream->out.data + stream->out_at, count);
    stream->out_at += count;
    if (stream->out_at == stream->out.length_bytes) {
        buf_reset(&stream->out);
        stream->out_at = 0;
    }
    stream->sent_ns = clock_now_ns();
    return (ssize_t)count;
}

static ssize_t read_stream(void *context, uint64_t offset, char *bytes, size_t bytes_max)
{
    struct stream *stream = context;
    struct err err = {0};
    (void)offset;
    for (;;) {
        bool is_ending = false;
        uint64_t wakes = count_wakes(stream->all, &is_ending);
        if (is_ending)
            return MHD_CONTENT_READER_END_OF_STREAM;
        uint64_t now_ns = clock_now_ns();
        if (stream->out.length_bytes > stream->out_at)
            return give(stream, bytes, bytes_max);
        if (stream->is_telling)
            tell(stream);
        else if (!look(stream, now_ns, &err) && !look_live(stream) && err.status == STATUS_OK &&
                 now_ns - stream->sent_ns >= KEEP_ALIVE_NS)
            buf_append_text(&stream->out, ": still here\n\n");
        if (err.status != STATUS_OK || stream->out.failed)
            return MHD_CONTENT_READER_END_OF_STREAM; /* the client comes again */
        if (stream->out.length_bytes == 0 && !stream->is_telling && suspend(stream, wakes))
            return 0;
    }
}

static void close_stream(void *context)
{
    struct stream *stream = context;
    struct streams *all = stream->all;
    (void)pthread_mutex_lock(&all->lock);
    *(stream->previous != NULL ? &stream->previous->next : &all->first) = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    (void)pthread_mutex_unlock(&all->lock);
    feed_give_back(all->feed, &stream->taken);
    buf_release(&stream->out);
    free(stream);
}

struct MHD_Response *streams_add(struct streams *streams, struct MHD_Connection *connection,
                                 const char *last_id)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->all = streams;
    stream->connection = connection;
    stream->is_fresh = !route_parse_id(last_id, &stream->position);
    buf_init(&stream->out, OUT_BYTES_MAX);
    buf_append_text(&stream->out, GREETING);
    stream->sent_ns = clock_now_ns();
    struct MHD_Response *response = streams->mhd->create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, stream, close_stream);
    if (response == NULL) {
        buf_release(&stream->out);
        free(stream);
        return NULL;
    }
    (void)pthread_mutex_lock(&streams->lock);
    stream->next = streams->first;
    if (stream->next != NULL)
        stream->next->previous = stream;
    streams->first = stream;
    (void)pthread_mutex_unlock(&streams->lock);
    return response;
}

/* Under the lock. */
static void resume_all(struct streams *streams, bool takes_all, uint64_t now_ns)
{
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        if (!stream->is_suspended)
            continue;
        if (!takes_all && now_ns - stream->sent_ns < KEEP_ALIVE_NS)
            continue;
        stream->is_suspended = false;
        streams->mhd->resume_connection(stream->connection);
    }
}

void streams_wake(struct streams *streams, bool has_changed)
{
    uint64_t now_ns = clock_now_ns();
    (void)pthread_mutex_lock(&streams->lock);
    streams->wakes_count += has_changed ? 1 : 0;
    resume_all(streams, has_changed, now_ns);
    (void)pthread_mutex_unlock(&streams->lock);
}

void streams_end(struct streams *streams)
{
    (void)pthread_mutex_lock(&streams->lock);
    streams->is_ending = true;
    resume_all(streams, true, 0);
    (void)pthread_mutex_unlock(&streams->lock);
}
