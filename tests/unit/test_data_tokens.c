#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/tokens.h"
#include "scratch.h"

#define SEQ_LEN      4
#define BATCH        2
#define TOKENS_COUNT 100

static char dir[] = "/tmp/test_tokens_XXXXXX";

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static void tear_down(void)
{
    const char *const names[] = {"data.bin", "data.txt", "data.dat", "fifo", "sub"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[FILE_PATH_BYTES];
        cr_assert_eq(file_join(dir, names[i], path, NULL), STATUS_OK);
        (void)remove(path);
    }
    (void)rmdir(dir);
}

TestSuite(data_tokens, .init = set_up, .fini = tear_down);

static struct cell make_cell(enum cell_data data, const char *name, uint32_t vocab_size)
{
    struct cell cell = {.seq_len = SEQ_LEN, .batch_size = BATCH, .seed = 1234, .data = data};
    cell.model.vocab_size = vocab_size;
    if (name != NULL)
        (void)snprintf(cell.data_path, sizeof(cell.data_path), "%s/%s", dir, name);
    return cell;
}

static struct tokens *open_good(const struct cell *cell)
{
    struct tokens *tokens = NULL;
    struct err err = {0};
    cr_assert_eq(tokens_open(cell, &tokens, &err), STATUS_OK, "%s", err.text);
    return tokens;
}

static void expect_refusal(const struct cell *cell, enum status status, const char *words)
{
    struct tokens *tokens = NULL;
    struct err err = {0};
    cr_assert_eq(tokens_open(cell, &tokens, &err), status, "%s: %s", words, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' is not in '%s'", words, err.text);
    cr_assert_not_null(strstr(err.text, cell->data_path), "%s", err.text);
    cr_assert_null(strchr(err.text, '\n'));
    cr_assert_null(tokens);
}

static void put_bytes(const struct cell *cell, const void *bytes, size_t bytes_count)
{
    scratch_write_file(cell->data_path, bytes, bytes_count);
}

/* TOKENS_COUNT tokens of the given width, the i-th being 3 * i, behind an optional llm.c header. */
static void put_tokens(const struct cell *cell, unsigned width, uint32_t header_version,
                       uint32_t header_count)
{
    unsigned char bytes[1024 + TOKENS_COUNT * 4] = {0};
    size_t length = 0;
    if (header_version != 0) {
        const uint32_t header[3] = {20240520, header_version, header_count};
        memcpy(bytes, header, sizeof(header));
        length = 1024;
    }
    for (uint32_t i = 0; i < TOKENS_COUNT; i++, length += width)
        for (unsigned byte = 0; byte < width; byte++)
            bytes[length + byte] = (unsigned char)((3 * i) >> (8 * byte));
    put_bytes(cell, bytes, length);
}

static void expect_batch(const struct tokens *tokens, uint64_t step,
                         const uint32_t expected[BATCH][SEQ_LEN + 1])
{
    uint32_t inputs[BATCH * SEQ_LEN];
    uint32_t targets[BATCH * SEQ_LEN];
    tokens_batch(tokens, step, inputs, targets);
    for (size_t row = 0; row < BATCH; row++)
        for (size_t i = 0; i < SEQ_LEN; i++) {
            cr_assert_eq(inputs[row * SEQ_LEN + i], expected[row][i]);
            cr_assert_eq(targets[row * SEQ_LEN + i], expected[row][i + 1]);
        }
}

/* The golden numbers of this file are Python's, from the formulas in data/tokens.h and
 * base/random.h:
 *   M = 2**64 - 1
 *   def at(key, n):
 *       z = (key + (n + 1) * 0x9E3779B97F4A7C15) & M
 *       z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
 *       z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
 *       return z ^ z >> 31
 *   def key(parent, n): return at(parent ^ 0xD1B54A32D192ED03, n)
 *   def row(seed, step, r, vocab, seq):
 *       return [at(key(key(seed, step), r), i) % vocab for i in range(seq + 1)]
 *   def offset(seed, step, r, count, seq): return at(key(key(seed, step), r), 0) % (count - seq)
 */
Test(data_tokens, synthetic_is_what_python_makes)
{
    struct cell cell = make_cell(CELL_DATA_SYNTHETIC, NULL, 64000);
    struct tokens *tokens = open_good(&cell);
    cr_assert_str_eq(tokens_form(tokens), "synthetic");
    cr_assert_eq(tokens_count(tokens), 0);
    /* row(1234, 0, 0, 64000, 4), row(1234, 0, 1, 64000, 4) */
    const uint32_t first[BATCH][SEQ_LEN + 1] = {{10484, 5753, 57573, 61531, 45099},
                                                {24083, 19242, 25911, 62826, 61601}};
    expect_batch(tokens, 0, first);
    uint32_t inputs[BATCH * SEQ_LEN];
    uint32_t targets[BATCH * SEQ_LEN];
    tokens_batch(tokens, 7, inputs, targets);
    /* row(1234, 7, 0, 64000, 4) */
    const uint32_t seventh[SEQ_LEN + 1] = {63750, 7992, 12012, 32287, 37511};
    cr_assert_eq(memcmp(inputs, seventh, SEQ_LEN * sizeof(uint32_t)), 0);
    cr_assert_eq(memcmp(targets, seventh + 1, SEQ_LEN * sizeof(uint32_t)), 0);
    expect_batch(tokens, 0, first); /* no state between steps */
    tokens_close(tokens);
    tokens_close(NULL);
}

Test(data_tokens, synthetic_with_large_numbers)
{
    struct cell cell = make_cell(CELL_DATA_SYNTHETIC, NULL, 50257);
    cell.seed = UINT64_MAX;
    cell.batch_size = 3;
    struct tokens *tokens = open_good(&cell);
    uint32_t inputs[3 * SEQ_LEN];
    uint32_t targets[3 * SEQ_LEN];
    tokens_batch(tokens, 1ULL << 40, inputs, targets);
    /* row(2**64 - 1, 2**40, 2, 50257, 4) */
    const uint32_t expected[SEQ_LEN + 1] = {46415, 43810, 9674, 12050, 13900};
    cr_assert_eq(memcmp(inputs + 2 * SEQ_LEN, expected, SEQ_LEN * sizeof(uint32_t)), 0);
    cr_assert_eq(memcmp(targets + 2 * SEQ_LEN, expected + 1, SEQ_LEN * sizeof(uint32_t)), 0);
    tokens_close(tokens);
}

/* [offset(1234, s, r, 100, 4) for s in range(3) for r in range(2)] */
static const uint32_t offsets[3][BATCH] = {{84, 51}, {55, 41}, {70, 65}};

static void expect_file_batches(const struct tokens *tokens)
{
    cr_assert_eq(tokens_count(tokens), TOKENS_COUNT);
    for (uint32_t step = 0; step < 3; step++) {
        uint32_t expected[BATCH][SEQ_LEN + 1];
        for (uint32_t row = 0; row < BATCH; row++)
            for (uint32_t i = 0; i <= SEQ_LEN; i++)
                expected[row][i] = 3 * (offsets[step][row] + i);
        expect_batch(tokens, step, expected);
    }
}

Test(data_tokens, every_form_gives_the_same_tokens)
{
    const struct {
        enum cell_data data;
        const char *name;
        unsigned width;
        uint32_t header_version;
        const char *form;
    } cases[] = {
        {CELL_DATA_UINT16, "data.dat", 2, 0, "uint16"},
        {CELL_DATA_AUTO, "data.bin", 2, 0, "uint16"},
        {CELL_DATA_UINT32, "data.bin", 4, 0, "uint32"},
        {CELL_DATA_AUTO, "data.dat", 2, 1, "uint16"},
        {CELL_DATA_AUTO, "data.bin", 4, 7, "uint32"},
        {CELL_DATA_UINT16, "data.bin", 2, 1, "uint16"},
        {CELL_DATA_UINT32, "data.bin", 4, 7, "uint32"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct cell cell = make_cell(cases[i].data, cases[i].name, 300);
        put_tokens(&cell, cases[i].width, cases[i].header_version, TOKENS_COUNT);
        struct tokens *tokens = open_good(&cell);
        cr_assert_str_eq(tokens_form(tokens), cases[i].form, "case %zu", i);
        expect_file_batches(tokens);
        tokens_close(tokens);
    }
}

Test(data_tokens, text_is_bytes)
{
    struct cell cell = make_cell(CELL_DATA_AUTO, "data.txt", 256);
    unsigned char text[TOKENS_COUNT];
    for (uint32_t i = 0; i < TOKENS_COUNT; i++)
        text[i] = (unsigned char)(255 - i);
    put_bytes(&cell, text, sizeof(text));
    struct tokens *tokens = open_good(&cell);
    cr_assert_str_eq(tokens_form(tokens), "text");
    uint32_t expected[BATCH][SEQ_LEN + 1];
    for (uint32_t row = 0; row < BATCH; row++)
        for (uint32_t i = 0; i <= SEQ_LEN; i++)
            expected[row][i] = 255 - (offsets[0][row] + i);
    expect_batch(tokens, 0, expected);
    tokens_close(tokens);
    /* asked for by name, even where the name or the content says otherwise */
    cell = make_cell(CELL_DATA_TEXT, "data.bin", 256);
    put_tokens(&cell, 2, 1, TOKENS_COUNT);
    tokens = open_good(&cell);
    cr_assert_eq(tokens_count(tokens), 1024 + 2 * TOKENS_COUNT);
    tokens_close(tokens);
}

Test(data_tokens, the_shortest_file_that_works)
{
    struct cell cell = make_cell(CELL_DATA_TEXT, "data.txt", 256);
    put_bytes(&cell, "abcde", 5);
    struct tokens *tokens = open_good(&cell);
    const uint32_t expected[BATCH][SEQ_LEN + 1] = {{'a', 'b', 'c', 'd', 'e'},
                                                   {'a', 'b', 'c', 'd', 'e'}};
    expect_batch(tokens, 0, expected);
    tokens_close(tokens);
    put_bytes(&cell, "abcd", 4);
    expect_refusal(&cell, STATUS_INVALID, "has 4 tokens; a sequence of 4 needs at least 5");
}

Test(data_tokens, tokens_outside_the_vocabulary)
{
    struct cell cell = make_cell(CELL_DATA_UINT16, "data.bin", 298);
    put_tokens(&cell, 2, 0, 0); /* the last is 297 */
    tokens_close(open_good(&cell));
    cell.model.vocab_size = 150;
    expect_refusal(&cell, STATUS_INVALID, "token 50 is 150, but the model's vocabulary has 150");
    cell = make_cell(CELL_DATA_UINT32, "data.bin", 65536);
    const uint32_t values[6] = {0, 1, 65536, 3, 4, 5};
    put_bytes(&cell, values, sizeof(values));
    expect_refusal(&cell, STATUS_INVALID, "token 2 is 65536");
    cell = make_cell(CELL_DATA_TEXT, "data.txt", 128);
    put_bytes(&cell, "abcd\xc3\xa9", 6);
    expect_refusal(&cell, STATUS_INVALID, "token 4 is 195");
}

Test(data_tokens, files_that_are_no_data)
{
    struct cell cell = make_cell(CELL_DATA_AUTO, "data.bin", 300);
    expect_refusal(&cell, STATUS_NOT_FOUND, "No such file");
    put_bytes(&cell, "", 0);
    expect_refusal(&cell, STATUS_INVALID, "is empty");
    put_bytes(&cell, "\1\0\1\0\1\0\1\0\1\0\1", 11);
    expect_refusal(&cell, STATUS_INVALID, "has 11 bytes: not a whole number of uint16 tokens");
    cell.data = CELL_DATA_UINT32;
    expect_refusal(&cell, STATUS_INVALID, "has 11 bytes: not a whole number of uint32 tokens");
    cell = make_cell(CELL_DATA_AUTO, "sub", 300);
    cr_assert_eq(mkdir(cell.data_path, 0777), 0);
    expect_refusal(&cell, STATUS_INVALID, "is a folder");
    cell = make_cell(CELL_DATA_AUTO, "fifo", 300);
    cr_assert_eq(mkfifo(cell.data_path, 0666), 0);
    expect_refusal(&cell, STATUS_INVALID, "not a regular file");
}

Test(data_tokens, headers_that_lie)
{
    struct cell cell = make_cell(CELL_DATA_AUTO, "data.bin", 300);
    put_tokens(&cell, 2, 2, TOKENS_COUNT);
    expect_refusal(&cell, STATUS_INVALID, "version 2");
    put_tokens(&cell, 2, 1, TOKENS_COUNT + 1);
    expect_refusal(&cell, STATUS_INVALID, "says it has 101 uint16 tokens, but 200 bytes follow");
    put_tokens(&cell, 2, 7, TOKENS_COUNT);
    expect_refusal(&cell, STATUS_INVALID, "says it has 100 uint32 tokens");
    put_tokens(&cell, 4, 7, TOKENS_COUNT);
    cell.data = CELL_DATA_UINT16;
    expect_refusal(&cell, STATUS_INVALID, "is uint32 by its llm.c header, not uint16");
    cell.data = CELL_DATA_AUTO;
    const uint32_t stump[3] = {20240520, 1, 100};
    put_bytes(&cell, stump, sizeof(stump));
    expect_refusal(&cell, STATUS_INVALID, "ends inside its llm.c header");
}

Test(data_tokens, hash_of_a_file)
{
    struct cell cell = make_cell(CELL_DATA_AUTO, "data.bin", 300);
    char id[HASH_ID_BYTES];
    char expected[HASH_ID_BYTES];
    struct err err = {0};
    put_bytes(&cell, "", 0);
    cr_assert_eq(tokens_hash_file(cell.data_path, id, &err), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(id, "h99aa06d3014798d8"); /* the published XXH3-128 of nothing, high half */
    static unsigned char large[300000];        /* more than one chunk */
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (unsigned char)(i * i >> 3);
    put_bytes(&cell, large, sizeof(large));
    cr_assert_eq(tokens_hash_file(cell.data_path, id, &err), STATUS_OK);
    hash_id(large, sizeof(large), expected);
    cr_assert_str_eq(id, expected);
    cr_assert_eq(tokens_hash_file(dir, id, &err), STATUS_INVALID);
    cr_assert_eq(tokens_hash_file("/nowhere/x", id, NULL), STATUS_NOT_FOUND);
}
