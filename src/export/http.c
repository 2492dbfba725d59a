#include "export/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/dynamic.h"
#include "base/version.h"

/* The few names of libcurl's interface that are used, so that no header of it is needed to build;
 * their numbers are part of the library's binary interface since 7.32. */
#define CURL_GLOBAL_ALL       3L
#define CURL_PROTOCOLS_HTTP   3L /* and HTTPS */
#define CURLOPT_WRITEDATA     10001
#define CURLOPT_URL           10002
#define CURLOPT_PROXY         10004
#define CURLOPT_ERRORBUFFER   10010
#define CURLOPT_POSTFIELDS    10015
#define CURLOPT_USERAGENT     10018
#define CURLOPT_HTTPHEADER    10023
#define CURLOPT_CUSTOMREQUEST 10036
#define CURLOPT_USERNAME      10173
#define CURLOPT_PASSWORD      10174
#define CURLOPT_WRITEFUNCTION 20011
#define CURLOPT_POSTFIELDSIZE 30120 /* ..._LARGE */
#define CURLOPT_NOSIGNAL      99
#define CURLOPT_TIMEOUT       155 /* ..._MS */
#define CURLOPT_CONNECT_MS    156
#define CURLOPT_PROTOCOLS     181
#define CURLINFO_CODE         2097154
#define CURLINFO_RETRY_AFTER  6291513
#define CURLE_GOT_NOTHING     52
#define CURLE_SEND_ERROR      55
#define CURLE_RECV_ERROR      56
#define CURL_ERROR_SIZE       256

#define HEADERS_BYTES_MAX     65536
#define SHOWN_BODY_BYTES      400
#define SHOWN_URL_BYTES       300
#define ATTEMPTS_MAX          4
#define RETRY_AFTER_S_MAX     30

struct http {
    int (*global_init)(long flags);
    void *(*easy_init)(void);
    void (*easy_cleanup)(void *easy);
    int (*easy_setopt)(void *easy, int option, ...);
    int (*easy_perform)(void *easy);
    int (*easy_getinfo)(void *easy, int info, ...);
    void (*easy_reset)(void *easy);
    const char *(*easy_strerror)(int code); /* borrowed text: static */
    void *(*slist_append)(void *list, const char *text);
    void (*slist_free_all)(void *list);
    void *easy;                  /* owned */
    struct buf headers;          /* lines, each with its NUL */
    const char *user, *password; /* borrowed: until http_close() */
    uint64_t timeout_ns;
    char text[CURL_ERROR_SIZE];
};

static enum status load(struct http *http, struct err *err)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};
    const struct dynamic_symbol symbols[] = {
        {"curl_global_init", &http->global_init, false},
        {"curl_easy_init", &http->easy_init, false},
        {"curl_easy_cleanup", &http->easy_cleanup, false},
        {"curl_easy_setopt", &http->easy_setopt, false},
        {"curl_easy_perform", &http->easy_perform, false},
        {"curl_easy_getinfo", &http->easy_getinfo, false},
        {"curl_easy_reset", &http->easy_reset, false},
        {"curl_easy_strerror", &http->easy_strerror, false},
        {"curl_slist_append", &http->slist_append, false},
        {"curl_slist_free_all", &http->slist_free_all, false},
    };
    struct err cause = {0};
    enum status status = dynamic_load(names, symbols, ARRAY_COUNT(symbols), &cause);
    if (status != STATUS_OK)
        return ERR(err, STATUS_UNSUPPORTED,
                   "a server is reached by libcurl, which is not here: install libcurl4 "
                   "(Debian, Ubuntu), libcurl (Fedora) or curl (%.300s)",
                   cause.text);
    if (http->global_init(CURL_GLOBAL_ALL) == 0)
        http->easy = http->easy_init();
    return http->easy != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "libcurl does not start");
}

enum status http_open(uint64_t timeout_ns, struct http **ret_http, struct err *err)
{
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a connection");
    http->timeout_ns = timeout_ns;
    buf_init(&http->headers, HEADERS_BYTES_MAX);
    enum status status = load(http, err);
    /* No pause before a large body, for a server that may never ask for it. */
    if (status == STATUS_OK)
        status = http_add_header(http, "Expect:", err);
    if (status == STATUS_OK)
        *ret_http = http;
    else
        http_close(http);
    return status;
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    buf_release(&http->headers);
    if (http->easy != NULL)
        http->easy_cleanup(http->easy);
    free(http);
}

void http_release(struct http **http)
{
    http_close(*http);
    *http = NULL;
}

enum status http_add_header(struct http *http, const char *header, struct err *err)
{
    if (strpbrk(header, "\r\n") != NULL)
        return ERR(err, STATUS_INVALID, "a header with a line break in it");
    buf_append(&http->headers, header, strlen(header) + 1);
    return http->headers.failed ? ERR(err, STATUS_LIMIT, "too many headers") : STATUS_OK;
}

void http_set_user(struct http *http, const char *name, const char *password)
{
    http->user = name;
    http->password = password;
}

/* --- addresses --- */

/* Behind "http://" and "user:password@"; *ret_bytes: up to the path. */
static const char *find_host(const char *url, size_t *ret_bytes)
{
    const char *start = strstr(url, "://");
    start = start != NULL ? start + 3 : url;
    size_t bytes = strcspn(start, "/?#");
    for (size_t i = bytes; i > 0; i--)
        if (start[i - 1] == '@') {
            *ret_bytes = bytes - i;
            return start + i;
        }
    *ret_bytes = bytes;
    return start;
}

void http_append_shown(const char *url, struct buf *out)
{
    size_t bytes;
    const char *host = find_host(url, &bytes);
    const char *scheme = strstr(url, "://");
    if (scheme != NULL)
        buf_append(out, url, (size_t)(scheme - url) + 3);
    buf_append_text(out, host);
}

void http_append_url(const char *url, const char *path, struct buf *out)
{
    size_t bytes;
    const char *host = find_host(url, &bytes);
    bool has_path = host[bytes] != '\0' && strcmp(host + bytes, "/") != 0;
    if (has_path) {
        buf_append_text(out, url);
        return;
    }
    buf_append(out, url, (size_t)(host - url) + bytes);
    buf_append_text(out, path);
}

static bool is_this_machine(const char *url)
{
    static const char *const names[] = {"localhost", "127.", "[::1]"};
    size_t bytes;
    const char *host = find_host(url, &bytes);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        size_t name_bytes = strlen(names[i]);
        if (bytes < name_bytes || strncmp(host, names[i], name_bytes) != 0)
            continue;
        bool is_whole = bytes == name_bytes || host[name_bytes] == ':' || i == 1;
        if (is_whole)
            return true;
    }
    return false;
}

/* --- a request --- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct buf *body = context;
    buf_append(body, bytes, size * count);
    return size * count; /* what is over the most is not kept: `failed` says so */
}

static void set_options(struct http *http, const struct http_request *request, void *headers,
                        struct buf *body)
{
    void *easy = http->easy;
    char agent[64];
    (void)snprintf(agent, sizeof(agent), "tokmark/%.40s", version_text());
    http->easy_reset(easy);
    http->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    http->easy_setopt(easy, CURLOPT_PROTOCOLS, CURL_PROTOCOLS_HTTP);
    http->easy_setopt(easy, CURLOPT_ERRORBUFFER, http->text);
    http->easy_setopt(easy, CURLOPT_USERAGENT, agent);
    http->easy_setopt(easy, CURLOPT_CONNECT_MS, (long)(http->timeout_ns / NS_PER_MS));
    http->easy_setopt(easy, CURLOPT_TIMEOUT, (long)(http->timeout_ns / NS_PER_MS));
    http->easy_setopt(easy, CURLOPT_URL, request->url);
    http->easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    http->easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    http->easy_setopt(easy, CURLOPT_WRITEDATA, body);
    if (is_this_machine(request->url))
        http->easy_setopt(easy, CURLOPT_PROXY, "");
    if (http->user != NULL) {
        http->easy_setopt(easy, CURLOPT_USERNAME, http->user);
        http->easy_setopt(easy, CURLOPT_PASSWORD, http->password);
    }
    if (request->content_type != NULL) {
        http->easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (int64_t)request->body->length_bytes);
        http->easy_setopt(easy, CURLOPT_POSTFIELDS, request->body->data);
    }
    http->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static bool is_busy(long code)
{
    return code == 429 || code == 502 || code == 503 || code == 504;
}

/* How long the server asks to wait; else longer each time. */
static void wait_before(struct http *http, int attempt, bool is_answered)
{
    int64_t wait_s = (int64_t)1 << attempt;
    int64_t asked_s = -1;
    if (is_answered && http->easy_getinfo(http->easy, CURLINFO_RETRY_AFTER, &asked_s) == 0 &&
        asked_s > 0)
        wait_s = asked_s < RETRY_AFTER_S_MAX ? asked_s : RETRY_AFTER_S_MAX;
    const struct timespec pause = {.tv_sec = (time_t)wait_s};
    (void)nanosleep(&pause, NULL);
}

static enum status perform(struct http *http, const struct http_request *request, void *headers,
                           long *ret_code, struct buf *ret_body, struct err *err)
{
    struct buf shown CLEANUP(buf_release) = {0};
    int fault = 0;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        long code = 0;
        buf_reset(ret_body);
        http->text[0] = '\0';
        set_options(http, request, headers, ret_body);
        fault = http->easy_perform(http->easy);
        if (fault == 0)
            http->easy_getinfo(http->easy, CURLINFO_CODE, &code);
        bool is_broken =
            fault == CURLE_GOT_NOTHING || fault == CURLE_SEND_ERROR || fault == CURLE_RECV_ERROR;
        bool is_again = request->is_repeatable && attempt + 1 < ATTEMPTS_MAX &&
                        (is_broken || (fault == 0 && is_busy(code)));
        if (fault == 0 && !is_again) {
            *ret_code = code;
            return STATUS_OK;
        }
        if (!is_again)
            break;
        wait_before(http, attempt, fault == 0);
    }
    buf_init(&shown, SHOWN_URL_BYTES);
    http_append_shown(request->url, &shown);
    return ERR(err, STATUS_IO, "no answer from %s: %s", shown.data,
               http->text[0] != '\0' ? http->text : http->easy_strerror(fault));
}

enum status http_send(struct http *http, const struct http_request *request, long *ret_code,
                      struct buf *ret_body, struct err *err)
{
    char type[128];
    void *list = NULL;
    bool is_whole = true;
    const char *end = http->headers.data + http->headers.length_bytes;
    for (const char *at = http->headers.data; is_whole && at < end; at += strlen(at) + 1) {
        void *longer = http->slist_append(list, at);
        is_whole = longer != NULL;
        list = is_whole ? longer : list;
    }
    if (is_whole && request->content_type != NULL) {
        (void)snprintf(type, sizeof(type), "Content-Type: %s", request->content_type);
        void *longer = http->slist_append(list, type);
        is_whole = longer != NULL;
        list = is_whole ? longer : list;
    }
    enum status status = is_whole ? perform(http, request, list, ret_code, ret_body, err)
                                  : ERR(err, STATUS_NOMEM, "no memory for headers");
    http->slist_free_all(list);
    return status;
}

/* One line, without what a terminal would obey. */
static void append_words(const struct buf *body, struct buf *out)
{
    bool is_space = true;
    for (size_t i = 0; i < body->length_bytes && out->length_bytes < SHOWN_BODY_BYTES; i++) {
        bool is_blank = (unsigned char)body->data[i] <= ' ';
        if (!is_blank)
            buf_append_char(out, body->data[i]);
        else if (!is_space)
            buf_append_char(out, ' ');
        is_space = is_blank;
    }
}

enum status http_send_ok(struct http *http, const struct http_request *request,
                         struct buf *ret_body, struct err *err)
{
    struct buf shown CLEANUP(buf_release) = {0};
    struct buf words CLEANUP(buf_release) = {0};
    long code = 0;
    TRY(http_send(http, request, &code, ret_body, err));
    if (code >= 200 && code < 300)
        return STATUS_OK;
    buf_init(&shown, SHOWN_URL_BYTES);
    buf_init(&words, SHOWN_BODY_BYTES);
    http_append_shown(request->url, &shown);
    append_words(ret_body, &words);
    return ERR(err, STATUS_IO, "%s answered %ld%s%s", shown.data, code,
               words.length_bytes > 0 ? ": " : "", words.data);
}
