/* serve/route.h - what a request gets: pure checks of its texts, and which page it asks for.
 *
 * Whoever can reach the port can send anything. Only GET and HEAD are answered; the Host must be
 * one of ours, so that another site's page that had its name point to us (DNS rebinding) reads
 * nothing; a browser that says that another site asks is refused; and where the server listens on
 * more than this machine a token is needed.
 */
#ifndef SERVE_ROUTE_H
#define SERVE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serve/feed.h"

#define ROUTE_NAME_BYTES  256
#define ROUTE_TOKEN_BYTES 256
/* Where a browser keeps the token: of this port alone. */
#define ROUTE_COOKIE "tokmark_%u"

enum route_page { ROUTE_ASSET, ROUTE_EVENTS, ROUTE_METRICS, ROUTE_RECORDS, ROUTE_REFUSAL };

struct route_rules {
    char address[ROUTE_NAME_BYTES]; /* that is listened on, as text: "127.0.0.1" */
    char machine[ROUTE_NAME_BYTES]; /* this machine's name; "" = none */
    uint16_t port;
    bool is_open; /* other machines reach it: a token is needed */
    char token[ROUTE_TOKEN_BYTES];
};

/* All borrowed; NULL = the request has none. */
struct route_request {
    const char *method, *path, *host, *authorization, *cookie;
    const char *token;      /* of the query */
    const char *fetch_site; /* Sec-Fetch-Site, and so on */
    const char *fetch_mode;
};

/* Borrowed: static. */
struct route_answer {
    enum route_page page;
    size_t asset;     /* of ROUTE_ASSET: its number */
    unsigned status;  /* of ROUTE_REFUSAL */
    const char *why;  /* of ROUTE_REFUSAL: a line; static */
    bool sets_cookie; /* the token came in the query */
};

void route_decide(const struct route_rules *rules, const struct route_request *request,
                  struct route_answer *ret_answer);

/* The id of an event, "9f2c...-1234", and back; false where the text is none. NULL is none. */
#define ROUTE_ID_BYTES 48
void route_format_id(struct feed_position position, char ret_text[ROUTE_ID_BYTES]);
bool route_parse_id(const char *text, struct feed_position *ret_position);
/* Does Accept-Encoding take gzip? */
bool route_takes_gzip(const char *accepted);
/* Is the tag (with its quotes) among those of If-None-Match? */
bool route_has_tag(const char *tags, const char *tag);

#endif
