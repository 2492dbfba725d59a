#include "scratch.h"
#include "store/clock_check.h"

#define MACHINE "0123456789abcdef"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, CLOCK_CHECK_NAME);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_clock_check, .init = set_up, .fini = tear_down);

static uint64_t read_best(const char *machine_id)
{
    uint64_t best_ns = 77;
    struct err err = {0};
    cr_assert_eq(clock_check_read(path, machine_id, &best_ns, &err), STATUS_OK, "%s", err.text);
    return best_ns;
}

static void append(const char *machine_id, uint64_t clock_ns)
{
    struct err err = {0};
    cr_assert_eq(clock_check_append(dir, machine_id, clock_ns, &err), STATUS_OK, "%s", err.text);
}

Test(store_clock_check, the_best_of_that_machine)
{
    append(MACHINE, 400);
    append(MACHINE, 500);
    append("other", 1);
    cr_expect_eq(read_best(MACHINE), 400);
    cr_expect_eq(read_best("nobody"), 0);
}

Test(store_clock_check, no_file_and_no_folder_are_no_reference)
{
    cr_expect_eq(read_best(MACHINE), 0);
    scratch_path(path, dir, "no/such/folder");
    cr_expect_eq(read_best(MACHINE), 0);
}

#define LINE(schema, clock) \
    "{\"schema\":\"" schema "\",\"machine_id\":\"" MACHINE "\",\"clock_ns\":" clock "}\n"

Test(store_clock_check, lines_that_are_no_entries_are_skipped)
{
    scratch_write_text(dir, CLOCK_CHECK_NAME,
                       "garbage\n\n[]\n{}\n\xff\xfe\n" LINE("tokmark.noise/1", "1")
                           LINE("tokmark.pace/1", "-1") LINE("tokmark.pace/1", "1.5")
                               LINE("tokmark.pace/1", "\"1\"")
                                   LINE("tokmark.pace/1", "99999999999999999")
                                       LINE("tokmark.pace/1", "400") "{\"schema\":\"tokmark.pa");
    cr_expect_eq(read_best(MACHINE), 400);
    append(MACHINE, 300); /* cuts the torn end off first */
    cr_expect_eq(read_best(MACHINE), 300);
}

Test(store_clock_check, worth_storing_is_the_first_and_what_is_better_by_a_percent)
{
    uint64_t best_ns = 0;
    cr_expect_not(clock_check_improve(&best_ns, 0), "nothing was measured");
    cr_expect(clock_check_improve(&best_ns, 1000));
    cr_expect_not(clock_check_improve(&best_ns, 1000));
    cr_expect_not(clock_check_improve(&best_ns, 995), "half a percent");
    cr_expect_eq(best_ns, 995);
    cr_expect_not(clock_check_improve(&best_ns, 1200));
    cr_expect_eq(best_ns, 995);
    cr_expect(clock_check_improve(&best_ns, 980));
    cr_expect_eq(best_ns, 980);
    cr_expect_not(clock_check_improve(&best_ns, 0), "nothing was measured");
    cr_expect_eq(best_ns, 980);
}
