#include "serve/feed.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chunks.h"
#include "base/clock.h"
#include "base/hash.h"
#include "result/cells.h"

#define SLICE_NS         (20 * NS_PER_MS)
#define SLICE_LINES      64U /* between two looks at the clock */
#define FIRST_LINE_BYTES 1024U

#define NOBODY           SIZE_MAX
#define ROW_POINTER_BYTES \
    sizeof(void *) /* as sizeof(struct serve_row *), which clang-tidy takes for a slip */

/* What is shown of a cell, in a list by when it changed. */
struct place {
    struct serve_row *row; /* owned with the other holders; NULL: none is shown */
    uint64_t count;        /* of its records */
    size_t newer, older;
};

struct feed {
    char dir[FILE_PATH_BYTES];
    struct reader *reader; /* owned; NULL: the folder is not there, or could not be read */
    struct cells *cells;   /* owned */
    uint64_t restarts;     /* how often the file was emptied or replaced in our time */
    enum fact_id fields[FACTS_COUNT];
    size_t fields_count;

    pthread_mutex_t lock; /* of all that follows */
    struct feed_state state;
    struct chunks places; /* struct place a cell */
    size_t newest, oldest;
    size_t shown_count;
    struct serve_row *recent[FEED_RECENT_MAX]; /* owned with the other holders; the record `n` is at
                                            n % FEED_RECENT_MAX */
    uint64_t recent_count;                     /* of this generation, those that are gone too */
    uint64_t recent_from;                      /* all records behind this offset are there */
};

/* --- what is held --- */

static void drop_row(struct serve_row *row)
{
    if (row != NULL && --row->holders == 0)
        row_free(row);
}

static void drop_all(struct feed *feed)
{
    for (size_t at = feed->newest; at != NOBODY;) {
        struct place *place = chunks_find(&feed->places, at);
        at = place->older;
        drop_row(place->row);
    }
    chunks_release(&feed->places);
    chunks_init(&feed->places, sizeof(struct place));
    for (size_t i = 0; i < FEED_RECENT_MAX; i++) {
        drop_row(feed->recent[i]);
        feed->recent[i] = NULL;
    }
    feed->newest = feed->oldest = NOBODY;
    feed->shown_count = 0;
    feed->recent_count = feed->recent_from = 0;
}

static void unlink_place(struct feed *feed, struct place *place)
{
    struct place *newer = chunks_find(&feed->places, place->newer);
    struct place *older = chunks_find(&feed->places, place->older);
    *(newer != NULL ? &newer->older : &feed->newest) = place->older;
    *(older != NULL ? &older->newer : &feed->oldest) = place->newer;
}

static void hide_oldest(struct feed *feed)
{
    struct place *place = chunks_find(&feed->places, feed->oldest);
    unlink_place(feed, place);
    drop_row(place->row);
    place->row = NULL;
    feed->shown_count--;
}

/* Takes the row over. */
static void show(struct feed *feed, size_t cell, struct place *place, struct serve_row *row)
{
    if (place->row != NULL) {
        unlink_place(feed, place);
        drop_row(place->row);
        feed->shown_count--;
    }
    struct place *second = chunks_find(&feed->places, feed->newest);
    place->row = row;
    place->older = feed->newest;
    place->newer = NOBODY;
    *(second != NULL ? &second->newer : &feed->oldest) = cell;
    feed->newest = cell;
    if (++feed->shown_count > FEED_CELLS_MAX)
        hide_oldest(feed);
}

static void keep_recent(struct feed *feed, struct serve_row *row)
{
    struct serve_row **slot = &feed->recent[feed->recent_count++ % FEED_RECENT_MAX];
    if (*slot != NULL)
        feed->recent_from = (*slot)->end;
    drop_row(*slot);
    row->holders++;
    *slot = row;
}

/* --- life --- */

static enum status start_cells(struct feed *feed, struct err *err)
{
    const struct cells_options options = {.sides_count = 1};
    cells_free(feed->cells);
    feed->cells = NULL;
    return cells_new(&options, &feed->cells, err);
}

enum status feed_new(const char *dir, struct feed **ret_feed, struct err *err)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read results");
    (void)pthread_mutex_init(&feed->lock, NULL);
    chunks_init(&feed->places, sizeof(struct place));
    feed->newest = feed->oldest = NOBODY;
    feed->state.version = 1;
    feed->fields_count = row_collect_fields(feed->fields);
    int length = snprintf(feed->dir, sizeof(feed->dir), "%s", dir);
    enum status status = start_cells(feed, err);
    if (status == STATUS_OK && (length < 0 || (size_t)length >= sizeof(feed->dir)))
        status = ERR(err, STATUS_LIMIT, "path too long: %.80s...", dir);
    if (status == STATUS_OK)
        *ret_feed = feed;
    else
        feed_free(feed);
    return status;
}

void feed_free(struct feed *feed)
{
    if (feed == NULL)
        return;
    reader_close(feed->reader);
    cells_free(feed->cells);
    drop_all(feed);
    chunks_release(&feed->places);
    (void)pthread_mutex_destroy(&feed->lock);
    free(feed);
}

/* --- generations --- */

/* By what the file is and begins with, so that every process gives it the same one; how often it
 * was emptied or replaced in our time tells those apart that begin alike. */
static uint64_t find_generation(const struct feed *feed)
{
    struct {
        uint64_t device, inode, restarts;
        char start[FIRST_LINE_BYTES];
    } key;
    struct stat info;
    memset(&key, 0, sizeof(key));
    key.restarts = feed->restarts;
    int fd = open(reader_name(feed->reader), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, &info) == 0) {
        key.device = info.st_dev;
        key.inode = info.st_ino;
        ssize_t got = pread(fd, key.start, sizeof(key.start), 0);
        const char *end = got > 0 ? memchr(key.start, '\n', (size_t)got) : NULL;
        if (end != NULL) /* what follows may have been shorter when another process looked */
            memset(key.start + (end - key.start), 0, sizeof(key.start) - (size_t)(end - key.start));
    }
    if (fd >= 0)
        (void)close(fd);
    uint64_t generation = hash_u64(&key, sizeof(key));
    return generation != 0 ? generation : 1;
}

/* Under the lock. */
static void change(struct feed *feed)
{
    feed->state.version++;
}

static void note(struct feed *feed, const char *text)
{
    (void)pthread_mutex_lock(&feed->lock);
    if (strncmp(feed->state.note, text, sizeof(feed->state.note) - 1) != 0) {
        (void)snprintf(feed->state.note, sizeof(feed->state.note), "%s", text);
        change(feed);
    }
    (void)pthread_mutex_unlock(&feed->lock);
}

static enum status start_over(struct feed *feed, struct err *err)
{
    (void)pthread_mutex_lock(&feed->lock);
    drop_all(feed);
    feed->state = (struct feed_state){.version = feed->state.version + 1, .is_there = true};
    (void)pthread_mutex_unlock(&feed->lock);
    return start_cells(feed, err);
}

/* --- reading --- */

/* Goes past a line; under the lock. */
static void pass(struct feed *feed, const struct reader_item *item, uint64_t generation)
{
    if (generation != 0)
        feed->state.position.generation = generation;
    feed->state.position.offset = item->offset + item->bytes + 1;
    change(feed);
}

static enum status add(struct feed *feed, const struct reader_item *item,
                       const struct cells_place *placed, uint64_t generation, struct err *err)
{
    enum status status = STATUS_OK;
    (void)pthread_mutex_lock(&feed->lock);
    struct place *place = chunks_at(&feed->places, placed->cell);
    struct serve_row *row = place != NULL && placed->effect != CELLS_KNOWN
                                ? row_new(item, placed->cell, place->count + 1)
                                : NULL;
    if (place == NULL || (row == NULL && placed->effect != CELLS_KNOWN)) {
        status = ERR(err, STATUS_NOMEM, "no memory for a record");
    } else {
        feed->state.records_count++;
        pass(feed, item, generation);
        if (row != NULL) {
            place->count++;
            keep_recent(feed, row);
            show(feed, placed->cell, place, row);
        } else {
            feed->state.known_count++;
        }
        feed->state.cells_count = cells_count(feed->cells);
        feed->state.hidden_count = feed->state.cells_count - feed->shown_count;
    }
    (void)pthread_mutex_unlock(&feed->lock);
    return status;
}

static void add_bad(struct feed *feed, const struct reader_item *item, uint64_t generation)
{
    (void)pthread_mutex_lock(&feed->lock);
    feed->state.bad_count++;
    (void)snprintf(feed->state.note, sizeof(feed->state.note), "line %llu: %s",
                   (unsigned long long)item->line, item->why);
    pass(feed, item, generation);
    (void)pthread_mutex_unlock(&feed->lock);
}

static enum status take_item(struct feed *feed, const struct reader_item *item, struct err *err)
{
    struct cells_place place;
    if (item->kind == READER_RESTARTED) {
        feed->restarts++;
        return start_over(feed, err);
    }
    uint64_t generation = feed->state.position.generation == 0 ? find_generation(feed) : 0;
    if (item->kind != READER_RECORD) {
        add_bad(feed, item, generation);
        return STATUS_OK;
    }
    TRY(cells_take(feed->cells, 0, item, &place, err));
    return add(feed, item, &place, generation, err);
}

static void look_at_file(struct feed *feed, bool is_at_end)
{
    struct stat info = {0};
    bool is_there = feed->reader != NULL && stat(reader_name(feed->reader), &info) == 0;
    struct feed_state *state = &feed->state;
    uint64_t bytes = (uint64_t)info.st_size;
    uint64_t written_ns = (uint64_t)info.st_mtim.tv_sec * NS_PER_S + (uint64_t)info.st_mtim.tv_nsec;
    (void)pthread_mutex_lock(&feed->lock);
    if (state->is_at_end != is_at_end || state->is_there != is_there ||
        state->file_bytes != bytes || state->written_ns != written_ns)
        change(feed);
    state->file_bytes = bytes;
    state->written_ns = written_ns;
    state->is_at_end = is_at_end;
    state->is_there = is_there;
    (void)pthread_mutex_unlock(&feed->lock);
}

/* Whether there is something to read. */
static bool open_reader(struct feed *feed)
{
    struct stat info;
    struct err why = {0};
    const struct reader_options options = {.fields = feed->fields,
                                           .fields_count = feed->fields_count,
                                           .reads_rows_whole = true,
                                           .follows = true};
    if (feed->reader != NULL)
        return true;
    if (stat(feed->dir, &info) != 0)
        note(feed, "waiting for the folder");
    else if (reader_open(feed->dir, &options, &feed->reader, &why) != STATUS_OK)
        note(feed, why.text);
    else
        note(feed, "");
    return feed->reader != NULL;
}

enum status feed_read(struct feed *feed, bool *ret_has_more, struct err *err)
{
    *ret_has_more = false;
    if (!open_reader(feed)) {
        look_at_file(feed, true);
        return STATUS_OK;
    }
    struct reader_item item = {0};
    struct err why = {0};
    uint64_t end_ns = clock_now_ns() + SLICE_NS;
    for (uint64_t lines = 1;; lines++) {
        if (reader_next(feed->reader, &item, &why) != STATUS_OK) {
            if (why.status == STATUS_NOMEM)
                return ERR(err, STATUS_NOMEM, "%s", why.text);
            reader_close(feed->reader);
            feed->reader = NULL;
            feed->restarts++;
            TRY(start_over(feed, err));
            note(feed, why.text);
            return STATUS_OK;
        }
        if (item.kind == READER_WAITING || item.kind == READER_END)
            break;
        TRY(take_item(feed, &item, err));
        *ret_has_more = lines % SLICE_LINES == 0 && clock_now_ns() >= end_ns;
        if (*ret_has_more)
            break;
    }
    look_at_file(feed, !*ret_has_more);
    return STATUS_OK;
}

/* --- taking --- */

void feed_look(struct feed *feed, struct feed_state *ret_state)
{
    (void)pthread_mutex_lock(&feed->lock);
    *ret_state = feed->state;
    (void)pthread_mutex_unlock(&feed->lock);
}

static void hold(struct feed_taken *taken, struct serve_row *row)
{
    row->holders++;
    taken->rows[taken->count++] = row;
}

static size_t count_recent(const struct feed *feed, uint64_t offset)
{
    uint64_t most =
        feed->recent_count < FEED_RECENT_MAX ? feed->recent_count : (uint64_t)FEED_RECENT_MAX;
    size_t count = 0;
    while (count < most &&
           feed->recent[(feed->recent_count - 1 - count) % FEED_RECENT_MAX]->end > offset)
        count++;
    return count;
}

static size_t count_changed(const struct feed *feed, uint64_t offset)
{
    size_t count = 0;
    for (size_t at = feed->newest; at != NOBODY; count++) {
        const struct place *place = chunks_find(&feed->places, at);
        if (place->row->end <= offset)
            break;
        at = place->older;
    }
    return count;
}

static void hold_recent(struct feed *feed, size_t count, struct feed_taken *taken)
{
    for (size_t i = count; i > 0; i--)
        hold(taken, feed->recent[(feed->recent_count - i) % FEED_RECENT_MAX]);
}

static void hold_changed(struct feed *feed, size_t count, struct feed_taken *taken)
{
    for (size_t at = feed->newest; taken->count < count;) {
        const struct place *place = chunks_find(&feed->places, at);
        hold(taken, place->row);
        at = place->older;
    }
}

enum status feed_take(struct feed *feed, struct feed_position after, struct feed_taken *ret_taken,
                      struct err *err)
{
    enum status status = STATUS_OK;
    struct feed_taken taken = {0};
    (void)pthread_mutex_lock(&feed->lock);
    taken.state = feed->state;
    struct feed_position now = feed->state.position;
    bool is_same = after.generation == now.generation;
    /* While the file is still read, an offset may be of what is yet to come. */
    bool is_ahead = after.generation != 0 && !feed->state.is_at_end &&
                    (now.generation == 0 || (is_same && after.offset > now.offset));
    taken.is_reset = !is_ahead && (!is_same || after.offset > now.offset);
    taken.position = is_ahead ? after : now;
    uint64_t offset = taken.is_reset ? 0 : after.offset;
    taken.is_each =
        !taken.is_reset && offset > 0 && offset >= feed->recent_from && feed->state.is_at_end;
    size_t count = taken.is_each ? count_recent(feed, offset) : count_changed(feed, offset);
    if (count > 0)
        taken.rows = calloc(count, ROW_POINTER_BYTES);
    if (count > 0 && taken.rows == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for %zu rows", count);
    else if (taken.is_each)
        hold_recent(feed, count, &taken);
    else
        hold_changed(feed, count, &taken);
    (void)pthread_mutex_unlock(&feed->lock);
    if (status == STATUS_OK)
        *ret_taken = taken;
    return status;
}

void feed_give_back(struct feed *feed, struct feed_taken *taken)
{
    (void)pthread_mutex_lock(&feed->lock);
    for (size_t i = 0; i < taken->count; i++)
        drop_row(taken->rows[i]);
    (void)pthread_mutex_unlock(&feed->lock);
    free(taken->rows);
    taken->rows = NULL;
    taken->count = 0;
}
