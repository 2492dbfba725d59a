/* Records and notes out of files of every kind that the reader takes, and of what it refuses. */
#include <math.h>
#include <sys/wait.h>

#include "base/random.h"
#include "result/reader.h"
#include "result_record_sample.h"

#define PUBLISHED_NAMES                                                                     \
    "framework,device,precision,mode,seq_len,batch_size,steps,tokens_per_step,ms_per_step," \
    "tokens_per_sec,mem_alloc_mb,mem_reserved_mb,peak_mem_mb,params_millions,notes"
#define PUBLISHED_LINE                                                                            \
    "{\"framework\": \"pytorch\", \"device\": \"cuda:0\", \"precision\": \"bf16\", \"mode\": "    \
    "\"train\", \"seq_len\": 128, \"batch_size\": 8, \"steps\": 400, \"tokens_per_step\": 1024, " \
    "\"ms_per_step\": 1.5e1, \"tokens_per_sec\": 68266, \"mem_alloc_mb\": 0.0, "                  \
    "\"mem_reserved_mb\": 0.0, \"peak_mem_mb\": NaN, \"params_millions\": 10333.0, \"notes\": "   \
    "\"caf\\u00e9, \\\"x\\\"\"}"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, "file");
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(result_reader, .init = set_up, .fini = tear_down);

static struct reader *open_path(const char *name, bool follows)
{
    const struct reader_options options = {.follows = follows};
    struct reader *reader = NULL;
    struct err err = {0};
    cr_assert_eq(reader_open(name, &options, &reader, &err), STATUS_OK, "%s", err.text);
    return reader;
}

static struct reader *open_text(const char *text, size_t bytes)
{
    scratch_write(dir, "file", text, bytes);
    return open_path(path, false);
}

static struct reader_item next(struct reader *reader)
{
    struct reader_item item;
    struct err err = {0};
    cr_assert_eq(reader_next(reader, &item, &err), STATUS_OK, "%s", err.text);
    return item;
}

static const struct record *expect_record(struct reader *reader)
{
    struct reader_item item = next(reader);
    cr_assert_eq(item.kind, READER_RECORD, "kind %d: %s", (int)item.kind, item.why);
    cr_assert_str_eq(item.why, "");
    return item.record;
}

static void expect_note(struct reader *reader, enum reader_kind kind, uint64_t line,
                        const char *why)
{
    struct reader_item item = next(reader);
    cr_assert_eq(item.kind, kind, "kind %d, not %d: %s", (int)item.kind, (int)kind, item.why);
    cr_assert_null(item.record);
    cr_assert_eq(item.line, line, "line %zu, not %zu", (size_t)item.line, (size_t)line);
    cr_assert_not_null(strstr(item.why, why), "%s", item.why);
}

static void expect_end(struct reader *reader)
{
    struct reader_item item = next(reader);
    cr_assert_eq(item.kind, READER_END, "kind %d: %s", (int)item.kind, item.why);
    reader_close(reader);
}

static void expect_published(const struct record *record, const char *notes)
{
    cr_assert_str_eq(record_string(record, FACT_FRAMEWORK), "pytorch");
    cr_assert_eq(record_u64(record, FACT_SEQ_LEN), 128);
    cr_assert_eq(record_double(record, FACT_MS_PER_STEP), 15.0);
    cr_assert_eq(record_double(record, FACT_PARAMS_MILLIONS), 10333.0);
    cr_assert_str_eq(record_string(record, FACT_NOTES), notes);
    for (enum fact_id id = PARSER_PUBLISHED_COUNT; id < FACTS_COUNT; id++)
        cr_assert_str_eq(record_null_reason(record, id), "not_recorded", "%s", fact_of(id)->name);
}

Test(result_reader, a_folder_of_ours_gives_its_records)
{
    sample_folder(dir, 3);
    struct reader *reader = open_path(dir, false);
    for (uint64_t i = 0; i < 3; i++) {
        struct reader_item item = next(reader);
        cr_assert_eq(item.kind, READER_RECORD);
        cr_assert_not(item.is_published);
        cr_assert_eq(record_u64(item.record, FACT_TRIAL), i);
        cr_assert_eq(item.line, i + 1);
    }
    expect_end(reader);
}

Test(result_reader, its_csv_gives_the_same_values)
{
    char csv[FILE_PATH_BYTES];
    sample_folder(dir, 2);
    struct reader *json = open_path(dir, false);
    struct reader *rows = open_path(scratch_path(csv, dir, "bench_results.csv"), false);
    for (int i = 0; i < 2; i++) {
        const struct record *left = expect_record(json);
        const struct record *right = expect_record(rows);
        for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
            cr_assert_str_eq(record_string(left, id), record_string(right, id), "%s",
                             fact_of(id)->name);
            cr_assert_eq(record_u64(left, id), record_u64(right, id));
            cr_assert_eq(record_is_null(left, id), record_is_null(right, id));
        }
        cr_assert_str_eq(record_null_reason(right, FACT_SEED), "not_recorded");
    }
    expect_end(json);
    expect_end(rows);
}

Test(result_reader, a_folder_with_only_a_csv_file)
{
    scratch_write_text(dir, "bench_results.csv",
                       PUBLISHED_NAMES "\npytorch,cuda:0,bf16,train,128,8,400,1024,15.0,68266,"
                                       "0.0,0.0,,10333,\n");
    struct reader *reader = open_path(dir, false);
    const struct record *record = expect_record(reader);
    cr_assert_str_eq(record_null_reason(record, FACT_PEAK_MEM_MB), "not_recorded");
    cr_assert_str_eq(record_null_reason(record, FACT_NOTES), "not_recorded");
    expect_end(reader);
}

Test(result_reader, published_lines_of_json)
{
    static const char text[] = "\xEF\xBB\xBF" PUBLISHED_LINE "\r\n" PUBLISHED_LINE;
    struct reader *reader = open_text(text, sizeof(text) - 1);
    struct reader_item item = next(reader);
    cr_assert_eq(item.kind, READER_RECORD, "%s", item.why);
    cr_assert(item.is_published);
    cr_assert_not(item.is_unended);
    expect_published(item.record, "caf\xC3\xA9, \"x\"");
    cr_assert_str_eq(record_null_reason(item.record, FACT_PEAK_MEM_MB), "not_finite");
    /* Whole, though its writer did not end the line: nobody takes it for half a record. */
    item = next(reader);
    cr_assert_eq(item.kind, READER_RECORD, "%s", item.why);
    cr_assert(item.is_unended);
    cr_assert_str_eq(item.why, "");
    expect_end(reader);
}

Test(result_reader, published_csv_with_mark_crlf_quotes_and_line_breaks)
{
    static const char text[] =
        "\xEF\xBB\xBF" PUBLISHED_NAMES "\r\n"
        "pytorch,cuda:0,bf16,train,128,8,400,1024,15.0,68266,0.0,0.0,nan,10333.0,\"two\r\nlines, "
        "\"\"quoted\"\"\"\r\n"
        "\"pytorch\",\"cuda:0\",bf16,train, 128 ,8.0,4e2,1024,1.5e1,68266,0,0,0,10333,\"\"\r\n"
        "pytorch,cuda:0,bf16,train,128,8,400,1024,15.0,68266,0.0,0.0,0.0,10333.0,not quoted, as "
        "published\r\n" PUBLISHED_NAMES "\r\n"
        "pytorch,cuda:0,bf16,train,128,8,400,1024,15.0,68266,0.0,0.0,0.0,10333.0,again\r\n"
        "pytorch,cuda:0,bf16,train,128,8\r\n"
        "pytorch,cuda:0,bf16,train,many,8,400,1024,15.0,68266,0.0,0.0,0.0,10333.0,\r\n"
        "pytorch,cuda:0,bf16,train,128,8,400,1024,15.0,68266,0.0,0.0,0.0,10333.0,torn";
    struct reader *reader = open_text(text, sizeof(text) - 1);
    expect_published(expect_record(reader), "two\r\nlines, \"quoted\"");
    cr_assert_str_eq(record_null_reason(expect_record(reader), FACT_NOTES), "not_recorded");
    expect_published(expect_record(reader), "not quoted, as published");
    expect_published(expect_record(reader), "again");
    expect_note(reader, READER_FOREIGN, 8, "6 fields");
    expect_note(reader, READER_FOREIGN, 9, "'seq_len' must be a whole number");
    expect_note(reader, READER_TORN, 10, "ends inside");
    expect_end(reader);
}

Test(result_reader, columns_in_another_order_and_ones_nobody_knows)
{
    static const char text[] =
        "notes,mine,device,precision,mode,seq_len,batch_size,steps,tokens_per_step,ms_per_step,"
        "tokens_per_sec,mem_alloc_mb,mem_reserved_mb,peak_mem_mb,params_millions,framework\n"
        "n,,cuda:0,bf16,train,128,8,400,1024,15,68266,0,0,0,10333,pytorch\n";
    struct reader *reader = open_text(text, sizeof(text) - 1);
    expect_published(expect_record(reader), "n");
    expect_end(reader);
}

Test(result_reader, lines_that_are_no_records_are_told_with_their_place)
{
    static const char text[] = "# results of today\n"
                               "{\"schema\":1,\"mode\":\"train\"}\n"
                               "\n"
                               "{\"schema\":2,\"mode\":\"train\",\"new\":{}}\n"
                               "{\"schema\":1,\"mode\":\"tr{\"schema\":1,\"mode\":\"infer\"}\n"
                               "{\"schema\":\"tokmark.history/1\"}\n"
                               "{\"loss\":1}\n"
                               "{\"schema\":1,\"mode\":\"infer\"}\n"
                               "{\"schema\":1,\"mode\":\"dec";
    struct reader *reader = open_text(text, sizeof(text) - 1);
    expect_note(reader, READER_FOREIGN, 1, "not a JSON object");
    cr_assert_str_eq(record_string(expect_record(reader), FACT_MODE), "train");
    expect_note(reader, READER_FOREIGN, 3, "empty");
    expect_note(reader, READER_LATER, 4, "schema 2");
    expect_note(reader, READER_FOREIGN, 5, "");
    expect_note(reader, READER_FOREIGN, 6, "schema");
    expect_note(reader, READER_FOREIGN, 7, "no 'schema'");
    struct reader_item item = next(reader);
    cr_assert_eq(item.kind, READER_RECORD);
    cr_assert_eq(item.line, 8);
    cr_assert_eq(memcmp(text + item.offset, "{\"schema\":1,\"mode\":\"infer\"}\n", item.bytes + 1),
                 0);
    expect_note(reader, READER_TORN, 9, "ends inside");
    expect_end(reader);
}

Test(result_reader, a_line_over_the_limit_is_told_and_passed)
{
    struct buf text;
    buf_init(&text, 8 * (size_t)RECORD_LINE_BYTES_MAX);
    for (size_t extra = 0; extra < 2; extra++) {
        static const char start[] = "{\"schema\":1,\"notes\":\"";
        buf_append_text(&text, start);
        for (size_t i = sizeof(start) - 1 + 2; i < RECORD_LINE_BYTES_MAX + extra; i++)
            buf_append_char(&text, 'x');
        buf_append_text(&text, "\"}\n");
    }
    buf_append_text(&text, "{\"schema\":1}\n");
    struct reader *reader = open_text(text.data, text.length_bytes);
    buf_release(&text);
    (void)expect_record(reader);
    expect_note(reader, READER_TOO_LONG, 2, "longer");
    (void)expect_record(reader);
    expect_end(reader);
}

Test(result_reader, files_that_are_no_text_are_refused_with_what_to_do)
{
    static const struct {
        const char *start, *advice;
    } cases[] = {{"\xFF\xFE{\n", "iconv"}, {"\x1F\x8B\x08\n", "gzip"}, {"(\xB5/\xFD\n", "zstd"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct reader *reader = open_text(cases[i].start, strlen(cases[i].start));
        struct reader_item item;
        struct err err = {0};
        cr_assert_eq(reader_next(reader, &item, &err), STATUS_INVALID);
        cr_assert_not_null(strstr(err.text, cases[i].advice), "%s", err.text);
        cr_assert_not_null(strstr(err.text, path), "%s", err.text);
        reader_close(reader);
    }
}

Test(result_reader, a_folder_that_is_archived_reads_the_same)
{
    char zip[FILE_PATH_BYTES];
    char folder[FILE_PATH_BYTES];
    struct err err = {0};
    sample_folder(scratch_path(folder, dir, "out"), 5);
    cr_assert_eq(store_archive(folder, zip, sizeof(zip), &err), STATUS_OK, "%s", err.text);
    struct reader *reader = open_path(zip, false);
    for (uint64_t i = 0; i < 5; i++)
        cr_assert_eq(record_u64(expect_record(reader), FACT_TRIAL), i);
    expect_end(reader);
}

/* A line cut at every byte: never a record, never anything but its own torn end. */
Test(result_reader, a_file_cut_at_any_byte_never_gives_half_a_record)
{
    size_t bytes = 0;
    sample_folder(dir, 2);
    char *text = scratch_read(dir, "bench_results.jsonl", &bytes);
    size_t first_bytes = (size_t)(strchr(text, '\n') - text) + 1;
    for (size_t cut = first_bytes; cut < bytes; cut++) {
        struct reader *reader = open_text(text, cut);
        cr_assert_eq(record_u64(expect_record(reader), FACT_TRIAL), 0);
        if (cut > first_bytes)
            expect_note(reader, READER_TORN, 2, "ends inside");
        expect_end(reader);
    }
    free(text);
}

Test(result_reader, a_replaced_file_may_be_of_another_kind)
{
    char other[FILE_PATH_BYTES];
    scratch_write_text(dir, "file", "{\"schema\":1,\"trial\":7}\n");
    struct reader *reader = open_path(path, true);
    cr_assert_eq(record_u64(expect_record(reader), FACT_TRIAL), 7);
    cr_assert_eq(next(reader).kind, READER_WAITING);
    scratch_write_text(dir, "other",
                       PUBLISHED_NAMES "\npytorch,cuda:0,bf16,train,128,8,400,1024,15,68266,0,0,0,"
                                       "10333,\"a\nb\"\n");
    cr_assert_eq(rename(scratch_path(other, dir, "other"), path), 0);
    cr_assert_eq(next(reader).kind, READER_RESTARTED);
    expect_published(expect_record(reader), "a\nb");
    cr_assert_eq(next(reader).kind, READER_WAITING);
    reader_close(reader);
}

#define RECORDS 60U

/* Appends records as a sweep does; some of its runs end in the middle of a write. */
static void write_records(const char *folder)
{
    uint64_t trial = 0;
    while (trial < RECORDS) {
        struct store_facts facts;
        struct store *store = NULL;
        if (store_open(folder, &store, &facts, NULL) != STATUS_OK)
            _exit(1);
        for (int i = 0; i < 10 && trial < RECORDS; i++, trial++) {
            struct record *record = sample_record(trial, "ok");
            if (store_append(store, record, false, NULL) != STATUS_OK)
                _exit(1);
            record_free(record);
        }
        store_close(store);
        char jsonl[FILE_PATH_BYTES];
        int fd = open(scratch_path(jsonl, folder, "bench_results.jsonl"), O_WRONLY | O_APPEND);
        static const char half[] = "{\"framework\":\"native\",\"device\":\"cpu\",\"trial\":99999";
        size_t bytes = random_at(5, trial) % sizeof(half);
        if (fd < 0 || write(fd, half, bytes) != (ssize_t)bytes || close(fd) != 0)
            _exit(1);
    }
    _exit(0);
}

/* The follower sees each record once and in order; a reader from the start, in between, a start of
 * them that never shrinks. */
Test(result_reader, reading_while_a_sweep_writes)
{
    pid_t writer = fork();
    if (writer == 0)
        write_records(dir);
    struct reader *follower = open_path(dir, true);
    uint64_t seen = 0;
    uint64_t most = 0;
    while (seen < RECORDS) {
        struct reader_item item = next(follower);
        cr_assert(item.kind == READER_RECORD || item.kind == READER_WAITING, "kind %d: %s",
                  (int)item.kind, item.why);
        if (item.kind == READER_RECORD) {
            cr_assert_eq(record_u64(item.record, FACT_TRIAL), seen++);
            continue;
        }
        struct reader *reader = NULL;
        if (reader_open(dir, NULL, &reader, NULL) != STATUS_OK)
            continue; /* there is no file yet */
        uint64_t count = 0;
        do {
            item = next(reader);
            if (item.kind == READER_RECORD)
                cr_assert_eq(record_u64(item.record, FACT_TRIAL), count++);
            else
                cr_assert(item.kind == READER_TORN || item.kind == READER_END);
        } while (item.kind != READER_END);
        cr_assert_geq(count, most);
        cr_assert_geq(count, seen);
        most = count;
        reader_close(reader);
    }
    cr_assert_eq(next(follower).kind, READER_WAITING);
    reader_close(follower);
    int state;
    cr_assert_eq(waitpid(writer, &state, 0), writer);
    cr_assert_eq(state, 0);
}
