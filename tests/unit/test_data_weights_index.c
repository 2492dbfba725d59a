#include <criterion/criterion.h>

#include "data/weights_index.h"
#include "scratch.h"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(data_weights_index, .init = set_up, .fini = tear_down);

static const char *put(const char *name, const char *content)
{
    static char path[FILE_PATH_BYTES];
    cr_assert_eq(file_join(dir, name, path, NULL), STATUS_OK);
    scratch_write_file(path, content, strlen(content));
    return path;
}

#define INDEX                                                                           \
    "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":\"one." \
    "safetensors\"}}"

static void put_both(void)
{
    (void)put("one.safetensors", "1");
    (void)put("two.safetensors", "2");
}

Test(data_weights_index, a_folder_means_its_index_then_its_one_file)
{
    char path[FILE_PATH_BYTES];
    struct err err = {0};
    cr_assert_eq(weights_index_find(dir, path, &err), STATUS_INVALID);
    cr_assert_not_null(
        strstr(err.text, "no model.safetensors.index.json and no model.safetensors"));
    (void)put("model.safetensors", "");
    cr_assert_eq(weights_index_find(dir, path, NULL), STATUS_OK);
    cr_assert_not(weights_index_is_one(path));
    (void)put("model.safetensors.index.json", INDEX);
    cr_assert_eq(weights_index_find(dir, path, NULL), STATUS_OK);
    cr_assert(weights_index_is_one(path));
    cr_assert_eq(weights_index_find("any/file", path, NULL), STATUS_OK);
    cr_assert_str_eq(path, "any/file");
}

Test(data_weights_index, the_hash_follows_every_file)
{
    char first[HASH_ID_BYTES];
    char second[HASH_ID_BYTES];
    put_both();
    const char *index = put("model.safetensors.index.json", INDEX);
    cr_assert_eq(weights_index_hash(index, first, NULL), STATUS_OK);
    cr_assert_eq(weights_index_hash(index, second, NULL), STATUS_OK);
    cr_assert_str_eq(first, second);
    (void)put("two.safetensors", "3");
    index = put("model.safetensors.index.json", INDEX);
    cr_assert_eq(weights_index_hash(index, second, NULL), STATUS_OK);
    cr_assert_str_neq(first, second);
}

Test(data_weights_index, files_that_are_not_there_are_counted_and_named)
{
    char id[HASH_ID_BYTES];
    struct err err = {0};
    put_both();
    const char *index =
        put("x.json", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"three.safetensors\"}}");
    cr_assert_eq(weights_index_hash(index, id, &err), STATUS_INVALID);
    cr_assert_not_null(
        strstr(err.text, "names 2 files of weights, of which 1 are not in its folder: 'three."));
}

Test(data_weights_index, what_is_no_index)
{
    static const char *const cases[][2] = {
        {"{\"weight_map\":", "is not JSON"},
        {"[]", "has no weight_map"},
        {"{\"weight_map\":{}}", "has no weight_map"},
        {"{\"weight_map\":{\"a\":3}}", "is not a file name in the same folder"},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}",
         "is not a file name in the same folder"},
    };
    put_both();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char id[HASH_ID_BYTES];
        struct err err = {0};
        const char *index = put("x.json", cases[i][0]);
        cr_assert_eq(weights_index_hash(index, id, &err), STATUS_INVALID);
        cr_assert_not_null(strstr(err.text, cases[i][1]), "%s", err.text);
    }
}
