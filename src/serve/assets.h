/* serve/assets.h - the files of the page (web/), which the build embeds. */
#ifndef SERVE_ASSETS_H
#define SERVE_ASSETS_H

#include <stddef.h>

/* All borrowed: static. */
struct asset {
    const char *path; /* "/live.js" */
    const char *type; /* its Content-Type */
    const unsigned char *bytes;
    const size_t *bytes_count;
};

extern const struct asset assets[];
extern const size_t assets_count;

#endif
