#include "scratch.h"
#include "store/checks.h"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_checks, .init = set_up, .fini = tear_down);

static void expect_content(const char *folder, const char *wanted)
{
    char *text = scratch_read(folder, CHECKS_NAME, NULL);
    cr_assert_not_null(text);
    cr_expect_str_eq(text, wanted);
    free(text);
}

static struct checks open_good(const char *folder)
{
    struct checks checks;
    struct err err = {0};
    cr_assert_eq(checks_open(folder, &checks, &err), STATUS_OK, "%s", err.text);
    return checks;
}

Test(store_checks, lines_are_appended_across_openings)
{
    char folder[FILE_PATH_BYTES];
    scratch_path(folder, dir, "new/one");
    struct checks checks = open_good(folder);
    cr_assert_eq(checks_append(&checks, "{\"a\":1}\n", 8, NULL), STATUS_OK);
    checks_close(&checks);
    checks = open_good(folder);
    cr_assert_eq(checks.torn_bytes, 0);
    cr_assert_eq(checks_append(&checks, "{}\n", 3, NULL), STATUS_OK);
    checks_close(&checks);
    expect_content(folder, "{\"a\":1}\n{}\n");
}

Test(store_checks, a_torn_last_line_is_cut_off)
{
    scratch_write_text(dir, CHECKS_NAME, "{\"whole\":1}\n{\"to");
    struct checks checks = open_good(dir);
    cr_assert_eq(checks.torn_bytes, 4);
    cr_assert_eq(checks_append(&checks, "{}\n", 3, NULL), STATUS_OK);
    checks_close(&checks);
    expect_content(dir, "{\"whole\":1}\n{}\n");
}

Test(store_checks, a_folder_has_one_writer)
{
    struct checks checks = open_good(dir);
    struct checks other;
    struct err err = {0};
    cr_assert_eq(checks_open(dir, &other, &err), STATUS_BUSY);
    cr_assert_not_null(strstr(err.text, "is being written by process"));
    checks_close(&checks);
    checks = open_good(dir);
    checks_close(&checks);
}

Test(store_checks, what_is_no_plain_file_is_refused)
{
    char path[FILE_PATH_BYTES];
    cr_assert_eq(mkdir(scratch_path(path, dir, CHECKS_NAME), 0777), 0);
    struct checks checks;
    struct err err = {0};
    cr_assert_eq(checks_open(dir, &checks, &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, CHECKS_NAME));
}
