#include "registry/merge.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "result/seen.h"

#define FLUSH_BYTES   ((size_t)1 << 20)
#define OUT_BYTES_MAX (FLUSH_BYTES + 8 * (size_t)RECORD_LINE_BYTES_MAX)
#define START_BYTES   4096

struct merge {
    struct target target;
    struct seen *seen;  /* owned */
    struct buf scratch; /* of keys */
    struct buf out;     /* lines to be written */
    bool includes[ADMIT_KINDS_COUNT];
    bool is_look_only;
    struct merge_counts counts;
};

/* --- what the registry is --- */

static bool begins_with(const char *bytes, size_t bytes_count, const char *start)
{
    return bytes_count >= strlen(start) && memcmp(bytes, start, strlen(start)) == 0;
}

/* Lines of other programs are welcome, but a file that is no list of lines would be spoilt by one
 * more. */
static const char *find_other_kind(const char *bytes, size_t bytes_count)
{
    if (begins_with(bytes, bytes_count, "PK\3\4"))
        return "a zip archive";
    if (begins_with(bytes, bytes_count, "\x1F\x8B") ||
        begins_with(bytes, bytes_count, "\x28\xB5\x2F\xFD"))
        return "compressed";
    if (begins_with(bytes, bytes_count, "\xFF\xFE") ||
        begins_with(bytes, bytes_count, "\xFE\xFF") || memchr(bytes, '\0', bytes_count) != NULL)
        return "not UTF-8 text";
    if (begins_with(bytes, bytes_count, "\xEF\xBB\xBF"))
        return find_other_kind(bytes + 3, bytes_count - 3);
    if (begins_with(bytes, bytes_count, "framework,device,"))
        return "a CSV file";
    size_t at = 0;
    while (at < bytes_count && strchr(" \t\r\n", bytes[at]) != NULL)
        at++;
    if (at < bytes_count && bytes[at] == '[')
        return "one JSON array";
    bool is_brace = at < bytes_count && bytes[at] == '{';
    for (at++; is_brace && at < bytes_count && strchr(" \t\r", bytes[at]) != NULL;)
        at++;
    return is_brace && at < bytes_count && bytes[at] == '\n' ? "one JSON object over several lines"
                                                             : NULL;
}

static enum status check_kind(const struct merge *merge, struct err *err)
{
    char start[START_BYTES];
    ssize_t got = pread(merge->target.fd, start, sizeof(start), 0);
    const char *kind = got > 0 ? find_other_kind(start, (size_t)got) : NULL;
    if (kind == NULL)
        return STATUS_OK;
    return ERR(err, STATUS_INVALID,
               "'%s' is %s; records go into a registry of one JSON object a line (JSONL)",
               merge->target.path, kind);
}

static enum status learn_record(void *context, const struct reader_item *item, struct err *err)
{
    struct merge *merge = context;
    bool is_new = false;
    return seen_add(merge->seen, admit_key(item, &merge->scratch), &is_new, err);
}

static enum status learn_records(struct merge *merge, struct err *err)
{
    const struct reader_options options = {
        .fields = admit_fields, .fields_count = admit_fields_count, .is_jsonl = true};
    struct reader *reader = NULL;
    TRY(reader_open_fd(merge->target.fd, merge->target.path, &options, &reader, err));
    return visit_reader(reader, learn_record, merge, NULL, err);
}

static enum status look_at_target(struct merge *merge, const char *path, struct err *err)
{
    TRY(target_open(&merge->target, path, merge->is_look_only, err));
    TRY(seen_new(&merge->seen, err));
    if (merge->target.bytes == 0)
        return STATUS_OK;
    TRY(check_kind(merge, err));
    return learn_records(merge, err);
}

enum status merge_open(const char *path, const bool includes[ADMIT_KINDS_COUNT], bool only_looks,
                       struct merge **ret_merge, struct err *err)
{
    struct merge *merge = calloc(1, sizeof(*merge));
    if (merge == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to merge");
    merge->is_look_only = only_looks;
    memcpy(merge->includes, includes, sizeof(merge->includes));
    buf_init(&merge->scratch, RECORD_LINE_BYTES_MAX * 4);
    buf_init(&merge->out, OUT_BYTES_MAX);
    enum status status = look_at_target(merge, path, err);
    if (status == STATUS_OK)
        *ret_merge = merge;
    else
        merge_close(merge);
    return status;
}

void merge_close(struct merge *merge)
{
    if (merge == NULL)
        return;
    target_close(&merge->target);
    seen_free(merge->seen);
    buf_release(&merge->scratch);
    buf_release(&merge->out);
    free(merge);
}

const struct merge_counts *merge_counts(const struct merge *merge)
{
    return &merge->counts;
}

/* --- what is added --- */

/* The old content, with an end to its last line. */
static enum status begin(struct merge *merge, struct err *err)
{
    char last = '\n';
    TRY(target_begin(&merge->target, err));
    TRY(target_copy_old(&merge->target, err));
    if (merge->target.bytes > 0 &&
        pread(merge->target.fd, &last, 1, (off_t)merge->target.bytes - 1) != 1)
        return ERR(err, STATUS_IO, "cannot read '%s'", merge->target.path);
    return last != '\n' ? target_write(&merge->target, "\n", 1, err) : STATUS_OK;
}

static enum status flush(struct merge *merge, struct err *err)
{
    enum status status = STATUS_OK;
    if (merge->out.failed)
        return ERR(err, STATUS_NOMEM, "no memory for the lines to be added");
    if (!merge->is_look_only && merge->out.length_bytes > 0) {
        if (!target_has_begun(&merge->target))
            status = begin(merge, err);
        if (status == STATUS_OK)
            status = target_write(&merge->target, merge->out.data, merge->out.length_bytes, err);
    }
    buf_reset(&merge->out);
    return status;
}

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct merge *merge = context;
    enum admit_kind kind;
    if (admit_find_kind(item, &kind) && !merge->includes[kind]) {
        merge->counts.left_out[kind]++;
        return STATUS_OK;
    }
    bool is_new = false;
    struct hash_wide key = admit_key(item, &merge->scratch);
    if (merge->scratch.failed)
        return ERR(err, STATUS_NOMEM, "no memory for a record's key");
    enum status status = seen_add(merge->seen, key, &is_new, err);
    if (status != STATUS_OK)
        return status;
    if (!is_new) {
        merge->counts.known++;
        return STATUS_OK;
    }
    merge->counts.added++;
    reader_append_line(item, &merge->out);
    return merge->out.failed || merge->out.length_bytes >= FLUSH_BYTES ? flush(merge, err)
                                                                       : STATUS_OK;
}

enum status merge_add(struct merge *merge, const char *source, struct err *err)
{
    const struct reader_options options = {
        .fields = admit_fields, .fields_count = admit_fields_count, .reads_rows_whole = true};
    return visit_source(source, &options, take_record, merge, &merge->counts.notes, err);
}

enum status merge_commit(struct merge *merge, struct err *err)
{
    enum status status = flush(merge, err);
    if (status == STATUS_OK && target_has_begun(&merge->target))
        status = target_commit(&merge->target, err);
    return status;
}
