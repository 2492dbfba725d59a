#include <criterion/criterion.h>

#include "paths.h"
#include "telemetry/throttles.h"

/* Worker 40 may use processors 1 and 2. */
#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/throttles/" name

Test(telemetry_throttles, throttling_is_counted_on_the_workers_processors)
{
    struct throttles before, after, nothing;
    throttles_read_at(FIXTURE("before"), 40, &before);
    throttles_read_at(FIXTURE("after"), 40, &after);
    throttles_read_at(FIXTURE("no_such_tree"), 40, &nothing);
    cr_assert(before.is_known && after.is_known && !nothing.is_known);
    cr_assert_eq(before.count, 4);
    cr_assert_eq(after.count, 5);
}
