#include <criterion/criterion.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/native/pool.h"

#define ITEMS_MAX 1000

struct visit {
    unsigned char times[ITEMS_MAX];
    unsigned owner[ITEMS_MAX];
    atomic_uint calls_count;
    size_t shortest;
};

static struct pool *new_pool(unsigned threads_count)
{
    struct pool *pool = NULL;
    struct err err = {0};
    cr_assert_eq(pool_new(threads_count, &pool, &err), STATUS_OK, "%s", err.text);
    return pool;
}

static void count_visits(void *context, unsigned thread_index, size_t begin, size_t end)
{
    struct visit *visit = context;
    cr_assert_lt(begin, end);
    atomic_fetch_add(&visit->calls_count, 1);
    for (size_t i = begin; i < end; i++) {
        visit->times[i]++;
        visit->owner[i] = thread_index;
    }
}

Test(native_pool, every_item_once_in_order_of_threads)
{
    for (unsigned threads_count = 1; threads_count <= 7; threads_count++) {
        struct pool *pool = new_pool(threads_count);
        cr_assert_eq(pool_threads_count(pool), threads_count);
        for (size_t items_count = 0; items_count <= ITEMS_MAX; items_count = items_count * 2 + 1) {
            struct visit visit = {0};
            pool_run(pool, items_count, 1, count_visits, &visit);
            size_t least = items_count / threads_count;
            size_t of_thread[7] = {0};
            for (size_t i = 0; i < items_count; i++) {
                cr_assert_eq(visit.times[i], 1);
                cr_assert(i == 0 || visit.owner[i] >= visit.owner[i - 1]);
                cr_assert_lt(visit.owner[i], threads_count);
                of_thread[visit.owner[i]]++;
            }
            if (items_count >= threads_count)
                for (unsigned t = 0; t < threads_count; t++)
                    cr_assert(of_thread[t] == least || of_thread[t] == least + 1);
        }
        pool_free(pool);
    }
}

Test(native_pool, no_part_is_shorter_than_the_grain)
{
    struct pool *pool = new_pool(4);
    const struct {
        size_t items_count, grain;
        unsigned calls_count;
    } cases[] = {{0, 1, 0},     {1, 1, 1},    {3, 1, 3},    {4, 1, 4},    {100, 1, 4},
                 {100, 25, 4},  {100, 26, 3}, {100, 50, 2}, {100, 51, 1}, {100, 100, 1},
                 {100, 500, 1}, {100, 0, 4},  {99, 33, 3}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct visit visit = {0};
        pool_run(pool, cases[i].items_count, cases[i].grain, count_visits, &visit);
        cr_assert_eq(atomic_load(&visit.calls_count), cases[i].calls_count, "case %zu", i);
        for (size_t item = 0; item < cases[i].items_count; item++)
            cr_assert_eq(visit.times[item], 1);
    }
    pool_free(pool);
}

static void add_index(void *context, unsigned thread_index, size_t begin, size_t end)
{
    uint64_t *sums = context;
    for (size_t i = begin; i < end; i++)
        sums[(size_t)thread_index * 8] += i;
}

Test(native_pool, many_short_loops)
{
    struct pool *pool = new_pool(3);
    uint64_t sums[3 * 8] = {0};
    const uint64_t loops_count = 20000;
    for (uint64_t loop = 0; loop < loops_count; loop++)
        pool_run(pool, 3 + loop % 5, 1, add_index, sums);
    uint64_t expected = 0;
    for (uint64_t loop = 0; loop < loops_count; loop++)
        expected += (3 + loop % 5) * (2 + loop % 5) / 2;
    cr_assert_eq(sums[0] + sums[8] + sums[16], expected);
    pool_free(pool);
}

static void sleep_on_others(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)begin;
    (void)end;
    atomic_uint *done = context;
    if (thread_index > 0)
        (void)usleep(5000); /* longer than the spin: the caller goes to sleep, too */
    atomic_fetch_add(done, 1);
}

Test(native_pool, sleepers_are_woken)
{
    struct pool *pool = new_pool(3);
    for (unsigned loop = 0; loop < 20; loop++) {
        atomic_uint done = 0;
        (void)usleep(2000); /* the workers are asleep */
        pool_run(pool, 3, 1, sleep_on_others, &done);
        cr_assert_eq(atomic_load(&done), 3);
    }
    pool_free(pool);
}

static uint64_t cpu_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

Test(native_pool, an_idle_pool_uses_no_processor)
{
    struct pool *pool = new_pool(2);
    struct visit visit = {0};
    pool_run(pool, 10, 1, count_visits, &visit);
    (void)usleep(20000);
    uint64_t before_ns = cpu_now_ns();
    (void)usleep(200000);
    cr_assert_lt(cpu_now_ns() - before_ns, 20 * NS_PER_MS);
    pool_free(pool);
}

static unsigned threads_of_process(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/task");
    cr_assert_not_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

/* One more would never have a part, but spin for one after each loop. */
Test(native_pool, the_caller_is_one_of_its_threads)
{
    unsigned before = threads_of_process();
    struct pool *pool = new_pool(4);
    cr_assert_eq(threads_of_process(), before + 3);
    pool_free(pool);
}

Test(native_pool, impossible_counts_are_refused)
{
    struct pool *pool = NULL;
    struct err err = {0};
    cr_assert_eq(pool_new(0, &pool, &err), STATUS_INVALID);
    cr_assert_not_null(strstr(err.text, "1 to 1024"));
    cr_assert_eq(pool_new(POOL_THREADS_MAX + 1, &pool, NULL), STATUS_INVALID);
    cr_assert_null(pool);
    pool_free(NULL);
}
