#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/procfs.h"
#include "base/sysmem.h"
#include "paths.h"

#define MIB           (1ULL << 20)
#define GIB           (1ULL << 30)
#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/sysmem/" name

Test(base_sysmem, without_groups_meminfo_decides)
{
    cr_assert_eq(sysmem_total_bytes_at(FIXTURE("bare")), 16 * GIB);
    cr_assert_eq(sysmem_available_bytes_at(FIXTURE("bare")), 8 * GIB);
    uint64_t kills = 0;
    cr_assert(sysmem_oom_kills_at(FIXTURE("bare"), &kills));
    cr_assert_eq(kills, 3);
}

Test(base_sysmem, v2_limit_of_a_parent_counts_and_droppable_cache_is_left)
{
    cr_assert_eq(sysmem_total_bytes_at(FIXTURE("v2_parent")), 4 * GIB);
    /* 4 GiB limit, 1 GiB held, a quarter GiB of that inactive file pages */
    cr_assert_eq(sysmem_available_bytes_at(FIXTURE("v2_parent")), 4 * GIB - GIB + GIB / 4);
    uint64_t kills = 0;
    cr_assert(sysmem_oom_kills_at(FIXTURE("v2_parent"), &kills));
    cr_assert_eq(kills, 2, "our own group's counter, not its parent's");
}

Test(base_sysmem, v2_high_is_a_limit_and_a_full_group_is_not_unreadable)
{
    cr_assert_eq(sysmem_total_bytes_at(FIXTURE("v2_high_full")), GIB);
    uint64_t available = sysmem_available_bytes_at(FIXTURE("v2_high_full"));
    cr_assert(available > 0 && available <= 4096);
}

Test(base_sysmem, v1_container_without_a_namespace_is_found_by_its_mount)
{
    cr_assert_eq(sysmem_total_bytes_at(FIXTURE("v1_container")), 2 * GIB);
    /* 2 GiB limit, 1.5 GiB held, 0.5 GiB of that droppable, in the whole subtree */
    cr_assert_eq(sysmem_available_bytes_at(FIXTURE("v1_container")), GIB);
    uint64_t kills = 0;
    cr_assert(sysmem_oom_kills_at(FIXTURE("v1_container"), &kills));
    cr_assert_eq(kills, 7);
}

Test(base_sysmem, a_group_outside_of_the_mount_leaves_the_mount_point)
{
    cr_assert_eq(sysmem_total_bytes_at(FIXTURE("v1_outside")), 3 * GIB);
    cr_assert_eq(sysmem_available_bytes_at(FIXTURE("v1_outside")), 3 * GIB);
}

Test(base_sysmem, what_cannot_be_read_is_zero_or_false)
{
    const char *const roots[] = {FIXTURE("broken"), FIXTURE("no_such_tree")};
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++) {
        cr_assert_eq(sysmem_total_bytes_at(roots[i]), 0);
        cr_assert_eq(sysmem_available_bytes_at(roots[i]), 0);
        uint64_t kills = 77;
        cr_assert_not(sysmem_oom_kills_at(roots[i], &kills));
        cr_assert_eq(kills, 77);
    }
}

Test(base_sysmem, this_machine_agrees_with_sysconf)
{
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t total = sysmem_total_bytes();
    uint64_t available = sysmem_available_bytes();
    cr_assert(total > 0 && total <= physical);
    cr_assert(available > 0 && available <= total);
}

Test(base_sysmem, rss_follows_touched_memory_and_the_peak_can_be_reset)
{
    uint64_t before = 0;
    uint64_t peak = 0;
    cr_assert(sysmem_process_rss(getpid(), &before, &peak));
    cr_assert(peak >= before);
    size_t bytes = 64 * MIB;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    memset(memory, 1, bytes);
    uint64_t during = 0;
    uint64_t peak_during = 0;
    cr_assert(sysmem_process_rss(getpid(), &during, &peak_during));
    /* the kernel's counter may lag by some pages per CPU */
    cr_assert(during + 4 * MIB >= before + 64 * MIB);
    cr_assert(peak_during >= during);
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    uint64_t maxrss = (uint64_t)usage.ru_maxrss * 1024;
    uint64_t gap = maxrss > peak_during ? maxrss - peak_during : peak_during - maxrss;
    cr_assert(gap < 8 * MIB, "the same peak as getrusage's");
    cr_assert_eq(munmap(memory, bytes), 0);
    cr_assert(sysmem_reset_own_peak());
    uint64_t after = 0;
    uint64_t peak_after = 0;
    cr_assert(sysmem_process_rss(getpid(), &after, &peak_after));
    cr_assert(peak_after + 32 * MIB < peak_during);
}

Test(base_sysmem, a_process_that_ended_has_no_rss)
{
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    uint64_t rss = 77;
    uint64_t peak = 77;
    cr_assert_not(sysmem_process_rss(pid, &rss, &peak), "a zombie holds nothing");
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_not(sysmem_process_rss(pid, &rss, &peak));
    cr_assert_eq(rss, 77);
    cr_assert_eq(peak, 77);
}

Test(base_sysmem, keys_match_whole_words_at_line_starts)
{
    uint64_t value = 0;
    cr_assert(procfs_find_u64("oom 1\noom_kill 2\n", "oom_kill", &value));
    cr_assert_eq(value, 2);
    cr_assert(procfs_find_u64("MemTotal:\t 12 kB", "MemTotal:", &value));
    cr_assert_eq(value, 12);
    cr_assert_not(procfs_find_u64("total_inactive_file 5\n", "inactive_file", &value));
    cr_assert_not(procfs_find_u64("oom_kill_disable 5\n", "oom_kill", &value));
    cr_assert_not(procfs_find_u64("big 99999999999999999999999\n", "big", &value));
    cr_assert_not(procfs_find_u64("", "x", &value));
}
