#include "serve/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "serve/assets.h"
#include "serve/metrics.h"
#include "serve/records.h"

#define GZIP_WINDOW  (15 + 16) /* zlib's way to say: with a gzip header */
#define GZIP_MEMORY  9
#define COOKIE_BYTES (ROUTE_TOKEN_BYTES + 96)

/* --- files of the page --- */

/* Not packed where that fails: it is the smaller text that would be lost. */
static void pack(const struct asset *asset, struct prepared *prepared)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    size_t room = deflateBound(&stream, *asset->bytes_count);
    unsigned char *packed = malloc(room);
    stream.next_in = (z_const Bytef *)(uintptr_t)asset->bytes;
    stream.avail_in = (uInt)*asset->bytes_count;
    stream.next_out = packed;
    stream.avail_out = (uInt)room;
    if (packed != NULL && deflate(&stream, Z_FINISH) == Z_STREAM_END &&
        stream.total_out < *asset->bytes_count) {
        prepared->packed = packed;
        prepared->packed_bytes = stream.total_out;
        packed = NULL;
    }
    free(packed);
    (void)deflateEnd(&stream);
}

enum status answers_open(struct answers *answers, const struct mhd *mhd, struct feed *feed,
                         struct streams *streams, const char *dir, struct err *err)
{
    answers->mhd = mhd;
    answers->feed = feed;
    answers->streams = streams;
    answers->dir = dir;
    answers->prepared = calloc(assets_count, sizeof(*answers->prepared));
    if (answers->prepared == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the page");
    for (size_t i = 0; i < assets_count; i++) {
        char id[HASH_ID_BYTES];
        hash_id(assets[i].bytes, *assets[i].bytes_count, id);
        (void)snprintf(answers->prepared[i].tag, sizeof(answers->prepared[i].tag), "\"%s\"", id);
        pack(&assets[i], &answers->prepared[i]);
    }
    return STATUS_OK;
}

void answers_close(struct answers *answers)
{
    for (size_t i = 0; answers->prepared != NULL && i < assets_count; i++)
        free(answers->prepared[i].packed);
    free(answers->prepared);
    answers->prepared = NULL;
}

/* --- responses --- */

static void add_header(const struct answers *answers, struct MHD_Response *response,
                       const char *name, const char *value)
{
    (void)answers->mhd->add_response_header(response, name, value);
}

/* What every response says: nothing but our own files may run or be loaded, nothing may frame it.
 */
static enum MHD_Result queue(const struct answers *answers, struct MHD_Connection *connection,
                             unsigned status, const char *type, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO; /* memory ends: the connection is closed */
    add_header(answers, response, "Content-Security-Policy",
               "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
               "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    add_header(answers, response, "X-Content-Type-Options", "nosniff");
    add_header(answers, response, "Referrer-Policy", "no-referrer");
    add_header(answers, response, "Cross-Origin-Resource-Policy", "same-origin");
    add_header(answers, response, "Cross-Origin-Opener-Policy", "same-origin");
    if (type != NULL)
        add_header(answers, response, "Content-Type", type);
    enum MHD_Result result = answers->mhd->queue_response(connection, status, response);
    answers->mhd->destroy_response(response);
    return result;
}

static struct MHD_Response *from_static(const struct answers *answers, const void *bytes,
                                        size_t bytes_count)
{
    return answers->mhd->create_response_from_buffer(bytes_count, (void *)(uintptr_t)bytes,
                                                     MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result tell(const struct answers *answers, struct MHD_Connection *connection,
                            unsigned status, const char *text)
{
    struct MHD_Response *response = answers->mhd->create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response != NULL && status == 405)
        add_header(answers, response, "Allow", "GET, HEAD");
    if (response != NULL && status == 503)
        add_header(answers, response, "Retry-After", "1");
    if (response != NULL && status == 401)
        add_header(answers, response, "WWW-Authenticate", "Bearer");
    return queue(answers, connection, status, "text/plain; charset=utf-8", response);
}

static const char *header(const struct answers *answers, struct MHD_Connection *connection,
                          const char *name)
{
    return answers->mhd->lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result give_asset(const struct answers *answers, struct MHD_Connection *connection,
                                  const struct route_answer *answer)
{
    const struct asset *asset = &assets[answer->asset];
    const struct prepared *prepared = &answers->prepared[answer->asset];
    bool is_known = route_has_tag(header(answers, connection, "If-None-Match"), prepared->tag);
    bool is_packed = prepared->packed != NULL &&
                     route_takes_gzip(header(answers, connection, "Accept-Encoding"));
    struct MHD_Response *response =
        is_known    ? from_static(answers, "", 0)
        : is_packed ? from_static(answers, prepared->packed, prepared->packed_bytes)
                    : from_static(answers, asset->bytes, *asset->bytes_count);
    if (response == NULL)
        return MHD_NO;
    char cookie[COOKIE_BYTES];
    add_header(answers, response, "ETag", prepared->tag);
    add_header(answers, response, "Cache-Control", "no-cache"); /* asked each time, by the tag */
    add_header(answers, response, "Vary", "Accept-Encoding");
    if (is_packed && !is_known)
        add_header(answers, response, "Content-Encoding", "gzip");
    if (answer->sets_cookie) {
        (void)snprintf(cookie, sizeof(cookie),
                       ROUTE_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict",
                       (unsigned)answers->rules.port, answers->rules.token);
        add_header(answers, response, "Set-Cookie", cookie);
    }
    return queue(answers, connection, is_known ? 304 : 200, asset->type, response);
}

static enum MHD_Result give_events(const struct answers *answers, struct MHD_Connection *connection)
{
    struct MHD_Response *response =
        streams_add(answers->streams, connection, header(answers, connection, "Last-Event-ID"));
    if (response == NULL)
        return MHD_NO;
    add_header(answers, response, "Cache-Control", "no-store");
    add_header(answers, response, "X-Accel-Buffering", "no");
    return queue(answers, connection, 200, "text/event-stream; charset=utf-8", response);
}

static enum MHD_Result give_metrics(const struct answers *answers,
                                    struct MHD_Connection *connection)
{
    struct feed_taken taken = {0};
    struct buf text;
    struct err err = {0};
    if (feed_take(answers->feed, (struct feed_position){0}, &taken, &err) != STATUS_OK)
        return tell(answers, connection, 503, "out of memory\n");
    buf_init(&text, METRICS_BYTES_MAX);
    metrics_append(&taken, &text);
    feed_give_back(answers->feed, &taken);
    struct MHD_Response *response =
        text.failed ? NULL
                    : answers->mhd->create_response_from_buffer(text.length_bytes, text.data,
                                                                MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        buf_release(&text);
        return tell(answers, connection, 503, "out of memory\n");
    }
    add_header(answers, response, "Cache-Control", "no-store");
    return queue(answers, connection, 200, "text/plain; version=0.0.4; charset=utf-8", response);
}

/* --- /api/records --- */

/* All borrowed: for the call. */
struct filling {
    struct records_query *query;
    enum status status;
    struct err *err;
};

static enum MHD_Result add_argument(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct filling *filling = context;
    (void)kind;
    if (key != NULL && strcmp(key, "token") != 0)
        filling->status =
            records_query_add(filling->query, key, value != NULL ? value : "", filling->err);
    return filling->status == STATUS_OK ? MHD_YES : MHD_NO;
}

static enum status find_records(struct answers *answers, struct MHD_Connection *connection,
                                bool *ret_is_array, struct MHD_Response **ret_response,
                                struct err *err)
{
    struct filling filling = {.err = err};
    TRY(records_query_new(&filling.query, err));
    (void)answers->mhd->get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_argument,
                                              &filling);
    if (filling.status != STATUS_OK) {
        records_query_free(filling.query);
        return filling.status;
    }
    *ret_is_array = records_query_is_array(filling.query);
    return records_answer(filling.query, answers->dir, answers->mhd, connection,
                          &answers->records_count, ret_response, err);
}

static enum MHD_Result give_records(struct answers *answers, struct MHD_Connection *connection)
{
    struct err err = {0};
    char line[ERR_TEXT_BYTES + 2];
    bool is_array = false;
    struct MHD_Response *response = NULL;
    enum status status = find_records(answers, connection, &is_array, &response, &err);
    if (status == STATUS_OK) {
        add_header(answers, response, "Cache-Control", "no-store");
        return queue(answers, connection, 200,
                     is_array ? "application/json" : "application/x-ndjson; charset=utf-8",
                     response);
    }
    (void)snprintf(line, sizeof(line), "%s\n", err.text);
    unsigned code = status == STATUS_INVALID || status == STATUS_LIMIT ? 400U
                    : status == STATUS_NOT_FOUND                       ? 404U
                    : status == STATUS_BUSY || status == STATUS_NOMEM  ? 503U
                                                                       : 500U;
    return tell(answers, connection, code, line);
}

/* --- requests --- */

enum MHD_Result answer_request(void *context, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_bytes, void **state)
{
    static char seen; /* its address says that the library has called for this request before */
    struct answers *answers = context;
    struct route_answer answer = {0};
    (void)version;
    (void)upload;
    (void)upload_bytes;
    bool has_body = header(answers, connection, "Content-Length") != NULL ||
                    header(answers, connection, "Transfer-Encoding") != NULL;
    /* An answer to the first call closes the connection: what of a body follows is not read. */
    if (*state == NULL && !has_body) {
        *state = &seen;
        return MHD_YES;
    }
    const struct route_request request = {
        .method = method,
        .path = url,
        .host = header(answers, connection, "Host"),
        .authorization = header(answers, connection, "Authorization"),
        .cookie = header(answers, connection, "Cookie"),
        .token = answers->mhd->lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "token"),
        .fetch_site = header(answers, connection, "Sec-Fetch-Site"),
        .fetch_mode = header(answers, connection, "Sec-Fetch-Mode"),
    };
    route_decide(&answers->rules, &request, &answer);
    switch (answer.page) {
    case ROUTE_ASSET: return give_asset(answers, connection, &answer);
    case ROUTE_EVENTS: return give_events(answers, connection);
    case ROUTE_METRICS: return give_metrics(answers, connection);
    case ROUTE_RECORDS: return give_records(answers, connection);
    case ROUTE_REFUSAL: break;
    }
    return tell(answers, connection, answer.status, answer.why);
}
