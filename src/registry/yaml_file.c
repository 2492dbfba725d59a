#include "registry/yaml_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "registry/diff.h"
#include "registry/target.h"
#include "registry/yaml_tree.h"

#define CHUNK_BYTES 65536

static enum status read_text(const struct target *target, struct buf *text, struct err *err)
{
    char chunk[CHUNK_BYTES];
    if (target->bytes > YAML_BYTES_MAX)
        return ERR(err, STATUS_INVALID, "it is over %zu MiB", YAML_BYTES_MAX >> 20);
    while (text->length_bytes < target->bytes) {
        ssize_t got = pread(target->fd, chunk, sizeof(chunk), (off_t)text->length_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR(err, STATUS_IO, "%s", got < 0 ? strerror(errno) : "it became shorter");
        buf_append(text, chunk, (size_t)got);
        if (text->failed)
            return ERR(err, STATUS_NOMEM, "no memory for it");
    }
    return STATUS_OK;
}

static enum status write_text(struct target *target, const struct buf *text, struct err *err)
{
    enum status status = target_begin(target, err);
    if (status == STATUS_OK)
        status = target_write(target, text->data, text->length_bytes, err);
    return status == STATUS_OK ? target_commit(target, err) : status;
}

enum status yaml_file_edit(const char *path, const char *key, const struct entry *entries,
                           size_t entries_count, bool only_looks, struct buf *ret_diff,
                           struct yaml_edit_counts *ret_counts, struct err *err)
{
    struct target target;
    struct buf before;
    struct buf after;
    struct err cause = {0};
    buf_init(&before, YAML_BYTES_MAX + 1);
    buf_init(&after, YAML_EDIT_BYTES_MAX);
    buf_append_text(&before, "");
    enum status status = target_open(&target, path, only_looks, err);
    if (status == STATUS_OK && target.fd >= 0) {
        status = read_text(&target, &before, &cause);
        if (status != STATUS_OK)
            status = ERR(err, status, "cannot read '%.300s': %.600s", path, cause.text);
    }
    if (status == STATUS_OK) {
        status = yaml_edit(before.data, before.length_bytes, key, entries, entries_count, &after,
                           ret_counts, &cause);
        if (status != STATUS_OK)
            status = ERR(err, status, "cannot change '%.300s', which stays as it is: %.600s", path,
                         cause.text);
    }
    bool is_changed =
        status == STATUS_OK && (before.length_bytes != after.length_bytes ||
                                memcmp(before.data, after.data, after.length_bytes) != 0);
    if (is_changed)
        diff_append(path, &before, &after, ret_diff);
    if (is_changed && !only_looks)
        status = write_text(&target, &after, err);
    target_close(&target);
    buf_release(&before);
    buf_release(&after);
    return status;
}
