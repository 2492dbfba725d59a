#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>

#include "scratch.h"
#include "telemetry/cpuinfo.h"

static char root[FILE_PATH_BYTES];

static void set_up(void)
{
    char path[FILE_PATH_BYTES];
    scratch_new(root);
    cr_assert_eq(mkdir(scratch_path(path, root, "proc"), 0755), 0);
    cr_assert_eq(mkdir(scratch_path(path, root, "proc/self"), 0755), 0);
}

static void tear_down(void)
{
    scratch_free(root);
}

TestSuite(telemetry_cpuinfo, .init = set_up, .fini = tear_down);

/* A line that is not there leaves nothing of the one that was read before it. */
Test(telemetry_cpuinfo, what_is_not_said_is_not_known)
{
    struct cpuinfo info;
    scratch_write_text(root, "proc/cpuinfo",
                       "cpu family\t: 6\nmodel name\t: A\nmodelled\t: 3\nflags\t\t: a bc\n");
    scratch_write_text(root, "proc/self/status", "Cpus_allowed:\tff\n");
    cpuinfo_read(root, &info);
    cr_expect_str_eq(info.vendor, "");
    cr_expect_str_eq(info.model, "A");
    cr_expect_str_eq(info.microcode, "");
    cr_expect_str_eq(info.affinity, "");
    cr_expect_str_eq(info.flags, " a bc ");
    cr_expect(cpuinfo_has_flag(&info, "bc"));
    cr_expect_not(cpuinfo_has_flag(&info, "b"));
    cr_expect(info.has_family);
    cr_expect_eq(info.family, 6);
    cr_expect_not(info.has_model_number);
    cr_expect_not(info.has_stepping);
    cr_expect_eq(info.cpus_online_count, 0);
}

/* Keys are whole words, values end with their line, and the first processor stands for all. */
Test(telemetry_cpuinfo, a_line_is_found_by_its_whole_key)
{
    struct cpuinfo info;
    scratch_write_text(root, "proc/cpuinfo",
                       "model name : B c\nmodel\t\t: 143\nstepping:8\nvendor_id\t:\n"
                       "cpu family\t: x\nmicrocode\nmodel\t\t: 1\nstepping\t: 9\n");
    cpuinfo_read(root, &info);
    cr_expect_str_eq(info.model, "B c");
    cr_expect_str_eq(info.vendor, "");
    cr_expect_str_eq(info.microcode, "");
    cr_expect_str_eq(info.flags, "  ");
    cr_expect_not(info.has_family);
    cr_expect(info.has_model_number);
    cr_expect_eq(info.model_number, 143);
    cr_expect(info.has_stepping);
    cr_expect_eq(info.stepping, 8);
}
