#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "scratch.h"

#define FILE_BYTES 65536

static char dir[] = "/tmp/test_safetensors_XXXXXX";
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(file_join(dir, "file.safetensors", path, NULL), STATUS_OK);
}

static void tear_down(void)
{
    (void)unlink(path);
    (void)rmdir(dir);
}

TestSuite(data_safetensors, .init = set_up, .fini = tear_down);

/* A file of the given header text and `data_bytes` bytes 0, 1, 2, ... */
static void put_file(const char *header, size_t data_bytes)
{
    static unsigned char content[FILE_BYTES];
    uint64_t header_bytes = strlen(header);
    memcpy(content, &header_bytes, 8);
    memcpy(content + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++)
        content[8 + header_bytes + i] = (unsigned char)i;
    scratch_write_file(path, content, 8 + header_bytes + data_bytes);
}

static struct safetensors *open_good(void)
{
    struct safetensors *file = NULL;
    struct err err = {0};
    cr_assert_eq(safetensors_open(path, &file, &err), STATUS_OK, "%s", err.text);
    return file;
}

/* The file must be refused with a status and words in the text, and nothing handed out. */
static void expect_refusal(enum status status, const char *words)
{
    struct safetensors *file = NULL;
    struct err err = {0};
    cr_assert_eq(safetensors_open(path, &file, &err), status, "%s: %s", words, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' is not in '%s'", words, err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    cr_assert_null(file);
}

static void refuse(const char *header, size_t data_bytes, const char *words)
{
    put_file(header, data_bytes);
    expect_refusal(STATUS_INVALID, words);
}

Test(data_safetensors, what_is_written_is_read)
{
    const float matrix[6] = {1.0f, -2.5f, 0.0f, INFINITY, 1e-40f, 3.25f};
    const int32_t tokens[4] = {0, -1, INT32_MAX, INT32_MIN};
    const float scalar = 42.0f;
    const struct safetensors_entry entries[] = {
        {"z.weight", "F32", 2, {2, 3}, matrix},
        {"a.tokens", "I32", 1, {4}, tokens},
        {"empty", "F32", 2, {0, 7}, NULL},
        {"scalar \"q\"", "F32", 0, {0}, &scalar},
    };
    struct err err = {0};
    cr_assert_eq(safetensors_write(path, entries, 4, &err), STATUS_OK, "%s", err.text);
    struct safetensors *file = open_good();
    cr_assert_eq(safetensors_count(file), 4);
    cr_assert_str_eq(safetensors_at(file, 0)->name, "a.tokens");
    const struct safetensors_tensor *tensor = safetensors_find(file, "z.weight");
    cr_assert_not_null(tensor);
    cr_assert_str_eq(tensor->dtype, "F32");
    cr_assert_eq(tensor->dims_count, 2);
    cr_assert_eq(tensor->dims[0], 2);
    cr_assert_eq(tensor->dims[1], 3);
    cr_assert_eq(tensor->elements_count, 6);
    cr_assert_eq(tensor->bytes, 24);
    float floats[6];
    cr_assert_eq(safetensors_copy_f32(tensor, floats, &err), STATUS_OK);
    cr_assert_eq(memcmp(floats, matrix, sizeof(matrix)), 0);
    int32_t integers[4];
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "a.tokens"), integers, &err),
                 STATUS_OK);
    cr_assert_eq(memcmp(integers, tokens, sizeof(tokens)), 0);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "scalar \"q\""), floats, &err),
                 STATUS_OK);
    cr_assert_eq(floats[0], 42.0f);
    cr_assert_eq(safetensors_find(file, "empty")->bytes, 0);
    cr_assert_null(safetensors_find(file, "z.weigh"));
    cr_assert_null(safetensors_find(file, "__metadata__"));
    safetensors_close(file);
    safetensors_close(NULL);
}

Test(data_safetensors, header_is_aligned_and_nothing_is_left_beside)
{
    const float value = 1.0f;
    char name[16];
    for (size_t length = 1; length <= 9; length++) {
        memset(name, 'n', length);
        name[length] = '\0';
        const struct safetensors_entry entry = {name, "F32", 0, {0}, &value};
        cr_assert_eq(safetensors_write(path, &entry, 1, NULL), STATUS_OK);
        struct buf content;
        buf_init(&content, FILE_BYTES);
        cr_assert_eq(file_read_all(path, &content, NULL), STATUS_OK);
        uint64_t header_bytes = 0;
        memcpy(&header_bytes, content.data, 8);
        cr_assert_eq(header_bytes % 8, 0);
        cr_assert_eq(content.length_bytes, 8 + header_bytes + 4);
        cr_assert_eq(content.data[8], '{');
        buf_release(&content);
    }
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0, "a temporary file was left");
    cr_assert_eq(mkdir(dir, 0777), 0);
}

Test(data_safetensors, writer_refuses)
{
    const float value = 1.0f;
    struct err err = {0};
    struct safetensors_entry entry = {"x", "F16", 1, {1}, &value};
    cr_assert_eq(safetensors_write(path, &entry, 1, &err), STATUS_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "F16"));
    entry = (struct safetensors_entry){"x", "F32", 2, {UINT64_MAX, UINT64_MAX}, &value};
    cr_assert_eq(safetensors_write(path, &entry, 1, NULL), STATUS_INVALID);
    entry = (struct safetensors_entry){"x", "F32", SAFETENSORS_DIMS_MAX + 1, {1}, &value};
    cr_assert_eq(safetensors_write(path, &entry, 1, NULL), STATUS_UNSUPPORTED);
    cr_assert_not(file_exists(path));
    entry = (struct safetensors_entry){"x", "F32", 0, {0}, &value};
    err = (struct err){0};
    cr_assert_eq(safetensors_write("/nowhere/x", &entry, 1, &err), STATUS_IO);
}

/* Bit patterns and values by the definitions of binary16, bfloat16 and binary64. */
Test(data_safetensors, conversions)
{
    const uint16_t halves[] = {0x0000, 0x8000, 0x3C00, 0xC000, 0x7BFF, 0x0001,
                               0x03FF, 0x0400, 0x7C00, 0xFC00, 0x3555};
    const double half_values[] = {0.0,       -0.0,    1.0,      -2.0,      65504.0,       0x1p-24,
                                  0x3FFp-24, 0x1p-14, INFINITY, -INFINITY, 0.333251953125};
    const uint16_t brains[] = {0x3F80, 0xC000, 0x4049, 0x0001};
    const double brain_values[] = {1.0, -2.0, 3.140625, 0x1p-133};
    const double doubles[] = {1.0, 0.1, -1e300};
    const int64_t longs[] = {5, -2147483648LL, 2147483647LL};
    const char *header = "{\"h\":{\"dtype\":\"F16\",\"shape\":[11],\"data_offsets\":[0,22]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[22,30]},"
                         "\"d\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[30,54]},"
                         "\"l\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[54,78]}}";
    unsigned char content[1024];
    uint64_t header_bytes = strlen(header);
    memcpy(content, &header_bytes, 8);
    memcpy(content + 8, header, header_bytes);
    unsigned char *data = content + 8 + header_bytes;
    memcpy(data, halves, 22);
    memcpy(data + 22, brains, 8);
    memcpy(data + 30, doubles, 24);
    memcpy(data + 54, longs, 24);
    scratch_write_file(path, content, 8 + header_bytes + 78);
    struct safetensors *file = open_good();
    float values[11];
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "h"), values, NULL), STATUS_OK);
    for (size_t i = 0; i < 11; i++)
        cr_assert(values[i] == (float)half_values[i] &&
                      !signbit(values[i]) == !signbit(half_values[i]),
                  "half %zu", i);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "b"), values, NULL), STATUS_OK);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(values[i], (float)brain_values[i], "bfloat16 %zu", i);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "d"), values, NULL), STATUS_OK);
    cr_assert(values[0] == 1.0f && values[1] == 0.1f && values[2] == -INFINITY);
    int32_t integers[3];
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "l"), integers, NULL), STATUS_OK);
    cr_assert(integers[0] == 5 && integers[1] == INT32_MIN && integers[2] == INT32_MAX);
    struct err err = {0};
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "d"), integers, &err),
                 STATUS_UNSUPPORTED);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "l"), values, NULL),
                 STATUS_UNSUPPORTED);
    safetensors_close(file);
}

Test(data_safetensors, integers_out_of_range)
{
    put_file("{\"l\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]}}", 16);
    struct safetensors *file = open_good();
    int32_t integers[2];
    struct err err = {0};
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "l"), integers, &err), STATUS_INVALID);
    cr_assert_not_null(strstr(err.text, "element 0"));
    safetensors_close(file);
}

Test(data_safetensors, file_is_not_there_or_no_file)
{
    struct safetensors *file = NULL;
    struct err err = {0};
    cr_assert_eq(safetensors_open("/nowhere/x.safetensors", &file, &err), STATUS_NOT_FOUND);
    err = (struct err){0};
    cr_assert_eq(safetensors_open(dir, &file, &err), STATUS_INVALID);
    cr_assert_not_null(strstr(err.text, "not a file"));
    cr_assert_eq(mkfifo(path, 0666), 0);
    expect_refusal(STATUS_INVALID, "not a file");
}

Test(data_safetensors, truncated_files)
{
    scratch_write_file(path, "", 0);
    expect_refusal(STATUS_INVALID, "too short");
    scratch_write_file(path, "\x02\0\0\0\0\0\0", 7);
    expect_refusal(STATUS_INVALID, "too short");
    scratch_write_file(path, "\x02\0\0\0\0\0\0\0{", 9);
    expect_refusal(STATUS_INVALID, "truncated");
    scratch_write_file(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_refusal(STATUS_LIMIT, "at most 16777216");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 15, "truncated");
}

Test(data_safetensors, headers_that_are_no_header)
{
    refuse("", 0, "not JSON");
    refuse("{\"x\":", 0, "not JSON");
    refuse("[]", 0, "not a JSON object");
    refuse("{\"x\":[1]}", 0, "not an object");
    refuse("{\"x\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype");
    refuse("{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "data_offsets");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "data_offsets");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
           "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
           2, "duplicate");
    refuse("{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
           "not JSON");
}

Test(data_safetensors, places_that_do_not_fit)
{
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
           "at bytes 4 to 0");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 8, "truncated");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "need 8");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
           "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
           6, "overlaps");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
           "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}",
           5, "hole");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3,
           "the tensors have 2 bytes, the file has 3");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
           0, "overflows");
    refuse("{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
           "overflows");
}

Test(data_safetensors, what_is_not_known)
{
    put_file("{\"x\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    expect_refusal(STATUS_UNSUPPORTED, "did you mean 'F32'?");
    put_file("{\"x\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
    expect_refusal(STATUS_UNSUPPORTED, "9 dimensions");
}

Test(data_safetensors, metadata_and_padding_are_no_tensors)
{
    put_file("{\"__metadata__\":{\"format\":\"pt\"},"
             "\"x\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}      ",
             1);
    struct safetensors *file = open_good();
    cr_assert_eq(safetensors_count(file), 1);
    cr_assert_eq(safetensors_at(file, 0)->dims_count, 0);
    safetensors_close(file);
    put_file("{}", 0);
    file = open_good();
    cr_assert_eq(safetensors_count(file), 0);
    cr_assert_null(safetensors_find(file, "x"));
    safetensors_close(file);
}

/* What the Python package (safetensors 0.8.0) wrote for
 *   save_file({'a.weight': torch.tensor([[1.5, -2.], [3., 4.]]), 'b': torch.tensor([1, -2**31, 5]),
 *              'h': torch.tensor([1.0, -0.5], dtype=torch.float16),
 *              'bf': torch.tensor([3.140625], dtype=torch.bfloat16)}, path, {'k': 'v'})
 */
Test(data_safetensors, file_of_the_python_package)
{
    static const char header[] =
        "{\"__metadata__\":{\"k\":\"v\"},\"b\":{\"dtype\":\"I64\",\"shape\":[3],"
        "\"data_offsets\":[0,24]},\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],"
        "\"data_offsets\":[24,40]},\"bf\":{\"dtype\":\"BF16\",\"shape\":[1],"
        "\"data_offsets\":[40,42]},\"h\":{\"dtype\":\"F16\",\"shape\":[2],"
        "\"data_offsets\":[42,46]}}";
    static const char data[] = "\x01\0\0\0\0\0\0\0\0\0\0\x80\xff\xff\xff\xff\x05\0\0\0\0\0\0\0"
                               "\0\0\xc0?\0\0\0\xc0\0\0@@\0\0\x80@I@\0<\0\xb8";
    char content[310];
    cr_assert_eq(8 + strlen(header) + sizeof(data) - 1, sizeof(content));
    memcpy(content, "\0\1\0\0\0\0\0\0", 8);
    memcpy(content + 8, header, strlen(header));
    memcpy(content + 8 + strlen(header), data, sizeof(data) - 1);
    scratch_write_file(path, content, sizeof(content));
    struct safetensors *file = open_good();
    cr_assert_eq(safetensors_count(file), 4);
    float values[4];
    int32_t integers[3];
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "a.weight"), values, NULL), STATUS_OK);
    cr_assert(values[0] == 1.5f && values[1] == -2.0f && values[2] == 3.0f && values[3] == 4.0f);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "h"), values, NULL), STATUS_OK);
    cr_assert(values[0] == 1.0f && values[1] == -0.5f);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "bf"), values, NULL), STATUS_OK);
    cr_assert_eq(values[0], 3.140625f);
    cr_assert_eq(safetensors_copy_i32(safetensors_find(file, "b"), integers, NULL), STATUS_OK);
    cr_assert(integers[0] == 1 && integers[1] == INT32_MIN && integers[2] == 5);
    safetensors_close(file);
}

/* Element i of entry e is 1000000 e + i. */
static void make_elements(void *context, size_t index, uint64_t first, size_t count,
                          void *ret_elements)
{
    float *elements = ret_elements;
    unsigned *calls = context;
    (*calls)++;
    for (size_t i = 0; i < count; i++)
        elements[i] = (float)(1000000 * index + first + i);
}

Test(data_safetensors, tensors_can_be_made_and_read_in_parts)
{
    const struct safetensors_entry entries[] = {
        {.name = "small", .dtype = "F32", .dims_count = 1, .dims = {3}},
        {.name = "large", .dtype = "F32", .dims_count = 2, .dims = {3, 50000}},
        {.name = "none", .dtype = "F32", .dims_count = 1, .dims = {0}},
    };
    unsigned calls = 0;
    struct err err = {0};
    cr_assert_eq(safetensors_write_made(path, entries, 3, make_elements, &calls, &err), STATUS_OK,
                 "%s", err.text);
    cr_assert_gt(calls, 2);
    struct safetensors *file = open_good();
    const struct safetensors_tensor *large = safetensors_find(file, "large");
    static float values[150000];
    cr_assert_eq(safetensors_copy_f32(large, values, &err), STATUS_OK);
    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        cr_assert_eq(values[i], (float)(1000000 + i));
    struct safetensors_tensor part = safetensors_part(large, 99999, 7);
    cr_assert_eq(part.bytes, 28);
    cr_assert_eq(safetensors_copy_f32(&part, values, &err), STATUS_OK);
    for (size_t i = 0; i < 7; i++)
        cr_assert_eq(values[i], (float)(1099999 + i));
    part = safetensors_part(safetensors_find(file, "none"), 0, 0);
    cr_assert_eq(part.elements_count, 0);
    safetensors_close(file);
}
