#include "plan/size_search.h"

#include "base/status.h"

struct size_search size_search_of(uint32_t guess, uint32_t most)
{
    ASSERT(most >= 1);
    uint32_t first = guess < 1 ? 1 : guess;
    return (struct size_search){.guess = first < most ? first : most, .most = most, .stride = 1};
}

static uint32_t above(const struct size_search *search)
{
    uint32_t room = search->most - search->fits;
    return search->fits + (search->stride < room ? search->stride : room);
}

static uint32_t below(const struct size_search *search)
{
    return search->fails > search->stride ? search->fails - search->stride : 1;
}

uint32_t size_search_next(const struct size_search *search)
{
    if (search->fits == 0 && search->fails == 0)
        return search->guess;
    if (search->fits == search->most || search->fails == 1 ||
        (search->fits > 0 && search->fails == search->fits + 1))
        return 0;
    if (search->fails == 0)
        return above(search);
    if (search->fits == 0)
        return below(search);
    return search->fits + (search->fails - search->fits) / 2;
}

void size_search_take(struct size_search *search, uint32_t size, bool has_fitted)
{
    bool is_first = search->tries_count++ == 0;
    if (has_fitted)
        search->fits = size > search->fits ? size : search->fits;
    else
        search->fails = search->fails == 0 || size < search->fails ? size : search->fails;
    if (!is_first && search->stride <= UINT32_MAX / 2)
        search->stride *= 2;
}
