/* export/http.h - requests over HTTP by libcurl, which is loaded when the first one is made.
 *
 * A server on this machine is asked without the proxy that the environment names. Redirections are
 * not followed.
 */
#ifndef EXPORT_HTTP_H
#define EXPORT_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define HTTP_BODY_BYTES_MAX ((size_t)1 << 20)

struct http; /* opaque */

/* All borrowed for http_send(). */
struct http_request {
    const char *method; /* "POST" */
    const char *url;
    const char *content_type; /* NULL: there is no body */
    const struct buf *body;
    /* Sent twice it does what it does once: it is sent again where the server is busy (429, 502,
     * 503, 504) or the connection breaks. */
    bool is_repeatable;
};

/* STATUS_UNSUPPORTED: there is no libcurl; the text says what to install. */
MUST_CHECK enum status http_open(uint64_t timeout_ns, struct http **ret_http, struct err *err);
void http_close(struct http *http);
/* For CLEANUP. */
void http_release(struct http **http);
/* "Name: value", sent with every request from now on. */
MUST_CHECK enum status http_add_header(struct http *http, const char *header, struct err *err);
/* Basic authentication; borrowed until http_close(). */
void http_set_user(struct http *http, const char *name, const char *password);
/* Any answer is one: *ret_code. `ret_body` is emptied; what is over its most is not kept.
 * STATUS_IO: there was no answer. */
MUST_CHECK enum status http_send(struct http *http, const struct http_request *request,
                                 long *ret_code, struct buf *ret_body, struct err *err);
/* The same, and a code other than 2xx is an error: STATUS_IO with the server's own words. */
MUST_CHECK enum status http_send_ok(struct http *http, const struct http_request *request,
                                    struct buf *ret_body, struct err *err);

/* The URL without a user's name and password: for messages. */
void http_append_shown(const char *url, struct buf *out);
/* The URL, with `path` in place of none. */
void http_append_url(const char *url, const char *path, struct buf *out);

#endif
