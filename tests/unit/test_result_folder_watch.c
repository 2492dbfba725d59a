#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "result/folder_watch.h"
#include "scratch.h"

static bool is_told(const struct folder_watch *watch)
{
    struct pollfd polled = {.fd = watch->fd, .events = POLLIN};
    return poll(&polled, 1, 0) == 1;
}

/* A folder that is not there yet, comes, is replaced by another and goes. */
Test(result_folder_watch, follows_a_name_and_not_a_folder)
{
    char root[FILE_PATH_BYTES];
    char dir[FILE_PATH_BYTES + 16];
    char away[FILE_PATH_BYTES + 16];
    struct folder_watch watch;
    scratch_new(root);
    (void)snprintf(dir, sizeof(dir), "%s/results", root);
    (void)snprintf(away, sizeof(away), "%s/away", root);
    folder_watch_open(&watch, dir);
    cr_expect_eq(watch.fd, -1);
    cr_assert_eq(mkdir(dir, 0755), 0);
    folder_watch_refresh(&watch);
    cr_assert_geq(watch.fd, 0);
    cr_expect(!is_told(&watch));
    scratch_write(dir, "a", "1", 1);
    cr_expect(is_told(&watch));
    folder_watch_refresh(&watch);
    cr_expect(!is_told(&watch));
    cr_assert_eq(rename(dir, away), 0);
    cr_assert_eq(mkdir(dir, 0755), 0);
    folder_watch_refresh(&watch);
    scratch_write(away, "a", "1", 1);
    cr_expect(!is_told(&watch));
    scratch_write(dir, "a", "1", 1);
    cr_expect(is_told(&watch));
    folder_watch_close(&watch);
    scratch_free(root);
}

/* A file stands for the folder that it is in; `root` is that. */
static void check_file(const char *root, const char *path)
{
    struct folder_watch watch;
    scratch_write(root, "a", "1", 1);
    folder_watch_open(&watch, path);
    cr_assert_geq(watch.fd, 0);
    scratch_write(root, "b", "1", 1);
    cr_expect(is_told(&watch));
    folder_watch_close(&watch);
}

Test(result_folder_watch, of_a_file_its_folder_is_watched)
{
    char root[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES + 16];
    scratch_new(root);
    (void)snprintf(path, sizeof(path), "%s/a", root);
    check_file(root, path);
    scratch_free(root);
}

/* Of one that is named without its folder that is the current one. */
Test(result_folder_watch, of_a_bare_name_the_current_folder_is_watched)
{
    char root[FILE_PATH_BYTES];
    scratch_new(root);
    cr_assert_eq(chdir(root), 0);
    check_file(root, "a");
    scratch_free(root);
}

/* A path without room is not watched in its shortened form: that is another folder. */
Test(result_folder_watch, a_path_that_is_too_long_is_not_watched)
{
    char path[FILE_PATH_BYTES + 2];
    struct folder_watch watch;
    memset(path, '/', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    folder_watch_open(&watch, path);
    cr_expect_eq(watch.fd, -1);
    folder_watch_refresh(&watch);
    cr_expect_eq(watch.fd, -1);
}
