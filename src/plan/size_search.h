/* plan/size_search.h - the largest size that fits, by trials: which to try next. Pure. */
#ifndef PLAN_SIZE_SEARCH_H
#define PLAN_SIZE_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

struct size_search {
    uint32_t guess;       /* what is tried first, 1 .. most */
    uint32_t most;        /* larger ones are not asked for */
    uint32_t fits;        /* the largest that did; 0 = none yet */
    uint32_t fails;       /* the smallest that did not; 0 = none yet */
    uint32_t stride;      /* from the guess on, doubled with each trial to the same side */
    uint32_t tries_count; /* trials so far */
};

/* `guess` may be 0, not known: then from 1 on. */
struct size_search size_search_of(uint32_t guess, uint32_t most);
/* 0 = the search is over: `fits` + 1 fails, or is over `most`; or nothing fits. */
uint32_t size_search_next(const struct size_search *search);
/* What came of trying that size. */
void size_search_take(struct size_search *search, uint32_t size, bool has_fitted);

#endif
