#include "engines/native/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define SPIN_NS          (50 * NS_PER_US)
#define SPINS_PER_LOOK   64
#define CACHE_LINE_BYTES 64

/* A waiter first spins on `value`, then sleeps on it. The writer stores `value` and then looks at
 * `sleepers_count`; the sleeper raises `sleepers_count` and then the kernel looks at `value`; both
 * orders are sequentially consistent, so no wake-up is lost. */
struct signal_word {
    _Alignas(CACHE_LINE_BYTES) atomic_uint value;
    atomic_uint sleepers_count;
};

struct pool_thread {
    struct pool *pool; /* borrowed: for the thread's life */
    unsigned index;
    atomic_bool is_asleep;
    pthread_t id;
};

struct pool {
    struct signal_word start; /* counts loops */
    struct signal_word busy;  /* workers that have not finished the loop */
    /* The loop, borrowed; written by the caller before `start`, read by the workers after it. */
    pool_task *task;
    void *context; /* borrowed too */
    size_t items_count;
    unsigned parts_count;
    bool is_stopping;
    unsigned threads_count;
    unsigned started_count;      /* workers that exist */
    struct pool_thread *threads; /* owned: threads_count - 1 */
    cpu_set_t processors;        /* that this process may use */
    bool has_processor_each;     /* processors >= threads: then, and only then, waiters spin */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool is_reached(unsigned value, unsigned wanted, bool is_wanted)
{
    return (value == wanted) == is_wanted;
}

/* Waits until the word is `wanted` (is_wanted) or no longer is (!is_wanted). */
static bool signal_spin(struct signal_word *word, unsigned wanted, bool is_wanted)
{
    uint64_t limit_ns = 0;
    for (;;) {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            unsigned value = atomic_load_explicit(&word->value, memory_order_acquire);
            if (is_reached(value, wanted, is_wanted))
                return true;
            relax();
        }
        uint64_t now_ns = clock_now_ns();
        if (limit_ns == 0)
            limit_ns = now_ns + SPIN_NS;
        else if (now_ns > limit_ns)
            return false;
    }
}

static void signal_sleep(struct signal_word *word, unsigned wanted, bool is_wanted)
{
    atomic_fetch_add(&word->sleepers_count, 1);
    for (;;) {
        unsigned value = atomic_load(&word->value);
        if (is_reached(value, wanted, is_wanted))
            break;
        (void)syscall(SYS_futex, &word->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    }
    atomic_fetch_sub(&word->sleepers_count, 1);
}

static void signal_wake(struct signal_word *word)
{
    if (atomic_load(&word->sleepers_count) > 0)
        (void)syscall(SYS_futex, &word->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* A kernel likes to wake a thread on the processor of its waker, and it can take a few milliseconds
 * until it moves it to an idle one: as long as whole loops. So a sleeper is kept off the caller's
 * processor while it is being woken; once awake it may go anywhere again (worker_sleep()). */
static void wake_workers(struct pool *pool)
{
    int here = sched_getcpu();
    bool can_move = pool->has_processor_each && here >= 0 && here < CPU_SETSIZE &&
                    CPU_ISSET((size_t)here, &pool->processors);
    if (can_move && atomic_load(&pool->start.sleepers_count) > 0) {
        cpu_set_t others = pool->processors;
        CPU_CLR((size_t)here, &others);
        for (unsigned i = 0; i < pool->started_count; i++)
            if (atomic_load(&pool->threads[i].is_asleep))
                (void)pthread_setaffinity_np(pool->threads[i].id, sizeof(others), &others);
    }
    signal_wake(&pool->start);
}

static void worker_sleep(struct pool_thread *thread, unsigned seen)
{
    struct pool *pool = thread->pool;
    atomic_store(&thread->is_asleep, true);
    signal_sleep(&pool->start, seen, false);
    atomic_store(&thread->is_asleep, false);
    if (pool->has_processor_each)
        (void)pthread_setaffinity_np(pthread_self(), sizeof(pool->processors), &pool->processors);
}

/* Part `index` of items_count in parts_count nearly equal ranges: the first `rest` are one longer.
 */
static size_t part_begin(size_t items_count, unsigned parts_count, unsigned index)
{
    size_t length = items_count / parts_count;
    size_t rest = items_count % parts_count;
    return index * length + (index < rest ? index : rest);
}

static void run_part(const struct pool *pool, unsigned index)
{
    if (index >= pool->parts_count)
        return;
    size_t begin = part_begin(pool->items_count, pool->parts_count, index);
    size_t end = part_begin(pool->items_count, pool->parts_count, index + 1);
    pool->task(pool->context, index, begin, end);
}

static void *worker_main_loop(void *argument)
{
    struct pool_thread *thread = argument;
    struct pool *pool = thread->pool;
    for (unsigned seen = 0;; seen++) {
        if (!pool->has_processor_each || !signal_spin(&pool->start, seen, false))
            worker_sleep(thread, seen);
        if (pool->is_stopping)
            return NULL;
        run_part(pool, thread->index);
        if (atomic_fetch_sub(&pool->busy.value, 1) == 1)
            signal_wake(&pool->busy);
    }
}

/* Signals are the main thread's; workers are born with all of them blocked. */
static enum status start_workers(struct pool *pool, struct err *err)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return ERR(err, STATUS_NOMEM, "cannot start threads: out of memory");
    (void)pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
    sigset_t all;
    sigset_t previous;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &previous);
    enum status status = STATUS_OK;
    while (pool->started_count + 1 < pool->threads_count && status == STATUS_OK) {
        struct pool_thread *thread = &pool->threads[pool->started_count];
        thread->pool = pool;
        thread->index = pool->started_count + 1;
        if (pthread_create(&thread->id, &attributes, worker_main_loop, thread) == 0)
            pool->started_count++;
        else
            status = ERR(err, STATUS_NOMEM, "cannot start thread %u of %u", thread->index + 1,
                         pool->threads_count);
    }
    (void)pthread_sigmask(SIG_SETMASK, &previous, NULL);
    (void)pthread_attr_destroy(&attributes);
    return status;
}

enum status pool_new(unsigned threads_count, struct pool **ret_pool, struct err *err)
{
    if (threads_count < 1 || threads_count > POOL_THREADS_MAX)
        return ERR(err, STATUS_INVALID, "%u threads: must be 1 to %d", threads_count,
                   POOL_THREADS_MAX);
    struct pool *pool = aligned_alloc(CACHE_LINE_BYTES, sizeof(*pool));
    if (pool == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory for the thread pool");
    *pool = (struct pool){.threads_count = threads_count,
                          .threads = calloc(threads_count, sizeof(struct pool_thread))};
    pool->has_processor_each =
        sched_getaffinity(0, sizeof(pool->processors), &pool->processors) == 0 &&
        (unsigned)CPU_COUNT(&pool->processors) >= threads_count;
    enum status status = STATUS_OK;
    if (pool->threads == NULL)
        status = ERR(err, STATUS_NOMEM, "out of memory for the thread pool");
    else
        status = start_workers(pool, err);
    if (status != STATUS_OK) {
        pool_free(pool);
        return status;
    }
    *ret_pool = pool;
    return STATUS_OK;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pool->is_stopping = true;
    atomic_fetch_add(&pool->start.value, 1);
    signal_wake(&pool->start);
    for (unsigned i = 0; i < pool->started_count; i++)
        (void)pthread_join(pool->threads[i].id, NULL);
    free(pool->threads);
    free(pool);
}

unsigned pool_threads_count(const struct pool *pool)
{
    return pool->threads_count;
}

void pool_run(struct pool *pool, size_t items_count, size_t grain, pool_task *task, void *context)
{
    if (items_count == 0)
        return;
    size_t parts_most = grain > 1 ? items_count / grain : items_count;
    if (parts_most <= 1 || pool->threads_count == 1) {
        task(context, 0, 0, items_count);
        return;
    }
    ASSERT(atomic_load(&pool->busy.value) == 0); /* not from inside a task */
    pool->task = task;
    pool->context = context;
    pool->items_count = items_count;
    pool->parts_count =
        parts_most < pool->threads_count ? (unsigned)parts_most : pool->threads_count;
    /* Every worker answers every loop, with or without a part: then none can still be looking at
     * the fields above when the next loop is written. */
    atomic_store(&pool->busy.value, pool->started_count);
    atomic_fetch_add(&pool->start.value, 1);
    wake_workers(pool);
    run_part(pool, 0);
    if (!pool->has_processor_each || !signal_spin(&pool->busy, 0, true))
        signal_sleep(&pool->busy, 0, true);
}
