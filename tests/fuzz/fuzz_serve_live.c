/* A page's whole life over any results and any events of a run: the input's texts, split at its
 * NULs, are the request and what the folder's files hold before and after it. The library is made
 * up (struct mhd), so the answers are the program's own.
 *
 * What is told is well-formed; a page that lost its connection and comes again with the last id
 * that it saw is told what one that stayed is told: nothing twice, nothing lost.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "result/names.h"
#include "serve/answer.h"

#define PAIRS_MAX     16
#define OUT_BYTES_MAX ((size_t)64 << 20)
#define READS_MAX     1000

enum text {
    TEXT_PATH,
    TEXT_LAST_ID,
    TEXT_QUERY, /* "key=value&key=value", not encoded */
    TEXT_RESULTS,
    TEXT_EVENTS,
    TEXT_MORE_RESULTS,
    TEXT_MORE_EVENTS,
    TEXTS_COUNT
};

/* Borrowed, all. */
struct pair {
    const char *key, *value;
};

struct MHD_Response {
    MHD_ContentReaderCallback read;
    MHD_ContentReaderFreeCallback close;
    void *context;
};

struct MHD_Connection {
    const char *last_id; /* borrowed; NULL = none */
    const struct pair *pairs;
    size_t pairs_count;
    bool is_suspended;
    unsigned status;
    struct MHD_Response *response; /* owned, when it is read piece by piece */
    struct buf out;                /* what came */
};

static char dir[] = "/tmp/fuzz_serve_live.XXXXXX";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the library --- */

static struct MHD_Response *respond_buffer(size_t bytes_count, void *bytes,
                                           enum MHD_ResponseMemoryMode mode)
{
    (void)bytes_count;
    if (mode == MHD_RESPMEM_MUST_FREE)
        free(bytes);
    return calloc(1, sizeof(struct MHD_Response));
}

static struct MHD_Response *respond_callback(uint64_t bytes_count, size_t block_bytes,
                                             MHD_ContentReaderCallback read, void *context,
                                             MHD_ContentReaderFreeCallback close)
{
    (void)bytes_count;
    (void)block_bytes;
    struct MHD_Response *response = calloc(1, sizeof(*response));
    ASSERT(response != NULL);
    *response = (struct MHD_Response){read, close, context};
    return response;
}

/* The connection has it until its end. */
static void destroy_response(struct MHD_Response *response)
{
    if (response->close == NULL)
        free(response);
}

static enum MHD_Result add_header(struct MHD_Response *response, const char *name,
                                  const char *value)
{
    (void)response;
    ASSERT(strpbrk(name, "\r\n") == NULL && strpbrk(value, "\r\n") == NULL);
    return MHD_YES;
}

static enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned status,
                                      struct MHD_Response *response)
{
    connection->status = status;
    connection->response = response->close != NULL ? response : NULL;
    return MHD_YES;
}

static const char *lookup_value(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                                const char *name)
{
    if (kind == MHD_HEADER_KIND && strcmp(name, "Host") == 0)
        return "127.0.0.1:8642";
    if (kind == MHD_HEADER_KIND)
        return strcmp(name, "Last-Event-ID") == 0 ? connection->last_id : NULL;
    for (size_t i = 0; i < connection->pairs_count; i++)
        if (strcmp(connection->pairs[i].key, name) == 0)
            return connection->pairs[i].value;
    return NULL;
}

static int get_values(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                      MHD_KeyValueIterator take, void *context)
{
    size_t count = 0;
    while (count < connection->pairs_count && take(context, kind, connection->pairs[count].key,
                                                   connection->pairs[count].value) == MHD_YES)
        count++;
    return (int)count;
}

static void suspend(struct MHD_Connection *connection)
{
    ASSERT(!connection->is_suspended);
    connection->is_suspended = true;
}

static void resume(struct MHD_Connection *connection)
{
    ASSERT(connection->is_suspended);
    connection->is_suspended = false;
}

static const struct mhd mhd = {.create_response_from_buffer = respond_buffer,
                               .create_response_from_callback = respond_callback,
                               .destroy_response = destroy_response,
                               .add_response_header = add_header,
                               .queue_response = queue_response,
                               .lookup_connection_value = lookup_value,
                               .get_connection_values = get_values,
                               .suspend_connection = suspend,
                               .resume_connection = resume};

/* Everything that there is now; then it is suspended, or at its end. */
static void read_on(struct MHD_Connection *connection)
{
    char bytes[4096];
    ssize_t got = 0;
    while (connection->response != NULL && !connection->is_suspended && got >= 0) {
        got = connection->response->read(connection->response->context,
                                         connection->out.length_bytes, bytes, sizeof(bytes));
        if (got > 0)
            buf_append(&connection->out, bytes, (size_t)got);
    }
    ASSERT(!connection->out.failed);
}

static void ask(struct answers *answers, const char *path, struct MHD_Connection *connection)
{
    void *state = NULL;
    size_t upload_bytes = 0;
    buf_init(&connection->out, OUT_BYTES_MAX);
    for (int call = 0; call < 2; call++)
        ASSERT(answer_request(answers, connection, path, "GET", "HTTP/1.1", NULL, &upload_bytes,
                              &state) == MHD_YES);
    ASSERT(connection->status == 200 || (connection->status >= 400 && connection->status < 500));
    read_on(connection);
}

static void hang_up(struct MHD_Connection *connection)
{
    if (connection->response != NULL)
        connection->response->close(connection->response->context);
    free(connection->response);
    buf_release(&connection->out);
}

/* --- what is told --- */

/* The event's end, behind its empty line; NULL: there is none any more. */
static const char *event_end(const char *at)
{
    const char *end = strstr(at, "\n\n");
    return end != NULL ? end + 2 : NULL;
}

/* The value of its field, as far as the line goes; "" when it has none. */
static const char *find_field(const char *event, const char *end, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *line = event; line < end - 1; line = strchr(line, '\n') + 1)
        if (strncmp(line, name, bytes) == 0)
            return line + bytes;
    return "";
}

static bool is_event(const char *event, const char *end, const char *name)
{
    const char *value = find_field(event, end, "event: ");
    size_t bytes = strlen(name);
    return strncmp(value, name, bytes) == 0 && value[bytes] == '\n';
}

static void check_event(const char *event, const char *end)
{
    static const char *const fields[] = {"event: ", "data: ", "id: ", "id\n", "retry: ", ": "};
    for (const char *line = event; line < end - 1; line = strchr(line, '\n') + 1) {
        size_t known = 0;
        while (known < ARRAY_COUNT(fields) &&
               strncmp(line, fields[known], strlen(fields[known])) != 0)
            known++;
        ASSERT(known < ARRAY_COUNT(fields));
    }
    if (find_field(event, end, "event: ")[0] == '\0' || is_event(event, end, "live"))
        return;
    const char *text = find_field(event, end, "data: ");
    json_t *value = json_loadb(text, strcspn(text, "\n"), 0, NULL);
    ASSERT(value != NULL);
    json_decref(value);
}

/* Of records alone, without the counts of `state`, which tell the time too. */
static void take_records(const char *text, struct buf *ret_records, char last_id[ROUTE_ID_BYTES])
{
    const char *at = text;
    for (const char *end; (end = event_end(at)) != NULL; at = end) {
        check_event(at, end);
        const char *id = find_field(at, end, "id: ");
        if (id[0] != '\0')
            (void)snprintf(last_id, ROUTE_ID_BYTES, "%.*s", (int)strcspn(id, "\n"), id);
        if (is_event(at, end, "row") || is_event(at, end, "rows") || is_event(at, end, "reset"))
            buf_append(ret_records, at, (size_t)(end - at));
    }
    ASSERT(*at == '\0' && strchr(text, '\r') == NULL);
}

/* --- the folder --- */

static void write_file(const char *name, const char *text, bool is_more)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (is_more ? O_APPEND : O_TRUNC), 0600);
    ASSERT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
}

static void read_folder(struct feed *feed, struct live *live)
{
    bool has_more = true;
    for (int i = 0; has_more && i < READS_MAX; i++)
        ASSERT(feed_read(feed, &has_more, NULL) == STATUS_OK);
    ASSERT(live_read(live, NULL) == STATUS_OK);
}

static void remove_folder(void)
{
    static const char *const names[] = {RESULT_JSONL_NAME, RESULT_EVENTS_NAME};
    char path[128];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

/* --- the input --- */

static size_t split_query(char *text, struct pair pairs[PAIRS_MAX])
{
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, "&", &rest); word != NULL && count < PAIRS_MAX;
         word = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(word, '=');
        if (value != NULL)
            *value++ = '\0';
        pairs[count++] = (struct pair){word, value};
    }
    return count;
}

static void live_through(struct answers *answers, struct feed *feed, struct live *live,
                         char *const texts[TEXTS_COUNT])
{
    struct pair pairs[PAIRS_MAX];
    struct MHD_Connection other = {.last_id = texts[TEXT_LAST_ID], .pairs = pairs};
    struct MHD_Connection page = {.last_id = texts[TEXT_LAST_ID]};
    struct MHD_Connection again = {0};
    struct buf seen CLEANUP(buf_release);
    struct buf told CLEANUP(buf_release);
    struct buf retold CLEANUP(buf_release);
    char last_id[ROUTE_ID_BYTES] = "";
    buf_init(&seen, OUT_BYTES_MAX);
    buf_init(&told, OUT_BYTES_MAX);
    buf_init(&retold, OUT_BYTES_MAX);

    other.pairs_count = split_query(texts[TEXT_QUERY], pairs);
    read_folder(feed, live);
    ask(answers, texts[TEXT_PATH], &other);
    ask(answers, "/events", &page);
    take_records(page.out.data, &seen, last_id);
    size_t before_bytes = page.out.length_bytes;

    write_file(RESULT_JSONL_NAME, texts[TEXT_MORE_RESULTS], true);
    write_file(RESULT_EVENTS_NAME, texts[TEXT_MORE_EVENTS], true);
    read_folder(feed, live);
    streams_wake(answers->streams, true);
    read_on(&page);
    again.last_id = last_id[0] != '\0' ? last_id : NULL;
    ask(answers, "/events", &again);
    char unused_id[ROUTE_ID_BYTES] = "";
    take_records(page.out.data + before_bytes, &told, unused_id);
    take_records(again.out.data, &retold, unused_id);
    /* without an id there is nothing to go on from */
    if (again.last_id != NULL)
        ASSERT(strcmp(told.data, retold.data) == 0);

    streams_end(answers->streams);
    hang_up(&other);
    hang_up(&page);
    hang_up(&again);
}

static void try_texts(char *const texts[TEXTS_COUNT])
{
    static struct answers answers = {
        .rules = {.address = "127.0.0.1", .machine = "here", .port = 8642}};
    struct feed *feed = NULL;
    struct live *live = NULL;
    struct streams *streams = NULL;
    if (answers.prepared == NULL) {
        ASSERT(mkdtemp(dir) != NULL && atexit(remove_folder) == 0);
        ASSERT(answers_open(&answers, &mhd, NULL, NULL, dir, NULL) == STATUS_OK);
    }
    write_file(RESULT_JSONL_NAME, texts[TEXT_RESULTS], false);
    write_file(RESULT_EVENTS_NAME, texts[TEXT_EVENTS], false);
    ASSERT(feed_new(dir, &feed, NULL) == STATUS_OK && live_new(dir, &live, NULL) == STATUS_OK &&
           streams_new(&mhd, feed, live, "folder", &streams, NULL) == STATUS_OK);
    answers.feed = feed;
    answers.streams = streams;
    live_through(&answers, feed, live, texts);
    streams_free(streams);
    live_free(live);
    feed_free(feed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = calloc(size + TEXTS_COUNT, 1);
    char *texts[TEXTS_COUNT];
    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    char *at = copy;
    for (size_t i = 0; i < TEXTS_COUNT; i++) {
        texts[i] = at;
        at += strlen(at) + (at + strlen(at) < copy + size ? 1U : 0U);
    }
    try_texts(texts);
    free(copy);
    return 0;
}
