#include "base/user_folder.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char path[FILE_PATH_BYTES];

Test(base_user_folder, xdg_goes_before_home)
{
    (void)setenv("XDG_DATA_HOME", "/data", 1);
    (void)setenv("HOME", "/home/me", 1);
    cr_assert_eq(user_folder_data("noise", path, NULL), STATUS_OK);
    cr_assert_str_eq(path, "/data/tokmark/noise");
    cr_assert_eq(user_folder_data(NULL, path, NULL), STATUS_OK);
    cr_assert_str_eq(path, "/data/tokmark");
    (void)setenv("XDG_DATA_HOME", "", 1);
    cr_assert_eq(user_folder_data("noise", path, NULL), STATUS_OK);
    cr_assert_str_eq(path, "/home/me/.local/share/tokmark/noise");
}

Test(base_user_folder, none_and_too_long_are_errors)
{
    static char longer[FILE_PATH_BYTES];
    (void)unsetenv("XDG_DATA_HOME");
    (void)unsetenv("HOME");
    cr_assert_eq(user_folder_data("noise", path, NULL), STATUS_NOT_FOUND);
    for (size_t i = 0; i + 1 < sizeof(longer); i++)
        longer[i] = 'x';
    (void)setenv("HOME", longer, 1);
    cr_assert_eq(user_folder_data("noise", path, NULL), STATUS_LIMIT);
}
