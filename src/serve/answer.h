/* serve/answer.h - the answers to requests: what route.h decides, as responses of the library. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "base/hash.h"
#include "serve/feed.h"
#include "serve/mhd.h"
#include "serve/route.h"
#include "serve/stream.h"

/* What a file of the page is sent as. */
struct prepared {
    unsigned char *packed; /* owned: as gzip; NULL = it would be no smaller */
    size_t packed_bytes;
    char tag[HASH_ID_BYTES + 2]; /* with its quotes */
};

/* Borrowed: for the answers' life, but for what is owned. */
struct answers {
    const struct mhd *mhd;
    struct feed *feed;
    struct streams *streams;
    const char *dir;
    struct route_rules rules;
    struct prepared *prepared; /* owned: one an asset */
    unsigned records_count;    /* requests for records that are being answered */
};

/* `rules` are the caller's to fill. */
MUST_CHECK enum status answers_open(struct answers *answers, const struct mhd *mhd,
                                    struct feed *feed, struct streams *streams, const char *dir,
                                    struct err *err);
void answers_close(struct answers *answers);

/* The library calls it for every request; `context` is the answers. */
enum MHD_Result answer_request(void *context, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_bytes, void **state);

#endif
