#include "scratch.h"
#include "store/journal.h"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_journal, .init = set_up, .fini = tear_down);

static void expect_content(const char *folder, const char *wanted)
{
    char *text = scratch_read(folder, JOURNAL_CHECKS, NULL);
    cr_assert_not_null(text);
    cr_expect_str_eq(text, wanted);
    free(text);
}

static struct journal open_good(const char *folder)
{
    struct journal journal;
    struct err err = {0};
    cr_assert_eq(journal_open(folder, JOURNAL_CHECKS, &journal, &err), STATUS_OK, "%s", err.text);
    return journal;
}

Test(store_journal, lines_are_appended_across_openings)
{
    char folder[FILE_PATH_BYTES];
    scratch_path(folder, dir, "new/one");
    struct journal journal = open_good(folder);
    cr_assert_eq(journal_append(&journal, "{\"a\":1}\n", 8, NULL), STATUS_OK);
    journal_close(&journal);
    journal = open_good(folder);
    cr_assert_eq(journal.torn_bytes, 0);
    cr_assert_eq(journal_append(&journal, "{}\n", 3, NULL), STATUS_OK);
    journal_close(&journal);
    expect_content(folder, "{\"a\":1}\n{}\n");
}

Test(store_journal, a_torn_last_line_is_cut_off)
{
    scratch_write_text(dir, JOURNAL_CHECKS, "{\"whole\":1}\n{\"to");
    struct journal journal = open_good(dir);
    cr_assert_eq(journal.torn_bytes, 4);
    cr_assert_eq(journal_append(&journal, "{}\n", 3, NULL), STATUS_OK);
    journal_close(&journal);
    expect_content(dir, "{\"whole\":1}\n{}\n");
}

Test(store_journal, a_folder_has_one_writer)
{
    struct journal journal = open_good(dir);
    struct journal other;
    struct err err = {0};
    cr_assert_eq(journal_open(dir, JOURNAL_CHECKS, &other, &err), STATUS_BUSY);
    cr_assert_not_null(strstr(err.text, "is being written by process"));
    journal_close(&journal);
    journal = open_good(dir);
    journal_close(&journal);
}

Test(store_journal, what_is_no_plain_file_is_refused)
{
    char path[FILE_PATH_BYTES];
    cr_assert_eq(mkdir(scratch_path(path, dir, JOURNAL_CHECKS), 0777), 0);
    struct journal journal;
    struct err err = {0};
    cr_assert_eq(journal_open(dir, JOURNAL_CHECKS, &journal, &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, JOURNAL_CHECKS));
}
