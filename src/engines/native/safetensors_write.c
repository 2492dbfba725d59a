#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_write.h"
#include "engines/native/safetensors.h"

#define ELEMENT_BYTES    4 /* of both dtypes that are written */
#define HEADER_ALIGNMENT 8

static enum status entry_bytes(const struct safetensors_entry *entry, uint64_t *ret_bytes,
                               struct err *err)
{
    if (strcmp(entry->dtype, "F32") != 0 && strcmp(entry->dtype, "I32") != 0)
        return ERR(err, STATUS_UNSUPPORTED, "cannot write dtype '%s' (F32 or I32)", entry->dtype);
    if (entry->dims_count > SAFETENSORS_DIMS_MAX)
        return ERR(err, STATUS_UNSUPPORTED, "tensor '%s' has %u dimensions, at most %d",
                   entry->name, entry->dims_count, SAFETENSORS_DIMS_MAX);
    uint64_t bytes = ELEMENT_BYTES;
    for (unsigned i = 0; i < entry->dims_count; i++)
        if (__builtin_mul_overflow(bytes, entry->dims[i], &bytes) || bytes > INT64_MAX)
            return ERR(err, STATUS_INVALID, "the shape of tensor '%s' overflows", entry->name);
    *ret_bytes = bytes;
    return STATUS_OK;
}

static enum status write_entry(struct json_writer *writer, const struct safetensors_entry *entry,
                               uint64_t *offset, struct err *err)
{
    uint64_t bytes = 0;
    enum status status = entry_bytes(entry, &bytes, err);
    if (status != STATUS_OK)
        return status;
    if (*offset + bytes > INT64_MAX)
        return ERR(err, STATUS_LIMIT, "the tensors do not fit into a file");
    json_put_key(writer, entry->name);
    json_begin_object(writer);
    json_field_string(writer, "dtype", entry->dtype);
    json_put_key(writer, "shape");
    json_begin_array(writer);
    for (unsigned i = 0; i < entry->dims_count; i++)
        json_put_u64(writer, entry->dims[i]);
    json_end_array(writer);
    json_put_key(writer, "data_offsets");
    json_begin_array(writer);
    json_put_u64(writer, *offset);
    *offset += bytes;
    json_put_u64(writer, *offset);
    json_end_array(writer);
    json_end_object(writer);
    return STATUS_OK;
}

/* The header's JSON, with spaces behind it up to the alignment the format asks for. */
static enum status make_header(const struct safetensors_entry *entries, size_t entries_count,
                               struct buf *header, struct err *err)
{
    struct json_writer writer;
    json_writer_init(&writer, header);
    json_begin_object(&writer);
    /* Loaders look for this word to know that names and layouts are PyTorch's, as ours are. */
    json_put_key(&writer, "__metadata__");
    json_begin_object(&writer);
    json_field_string(&writer, "format", "pt");
    json_end_object(&writer);
    uint64_t offset = 0;
    for (size_t i = 0; i < entries_count; i++) {
        enum status status = write_entry(&writer, &entries[i], &offset, err);
        if (status != STATUS_OK)
            return status;
    }
    json_end_object(&writer);
    while (header->length_bytes % HEADER_ALIGNMENT != 0 && !header->failed)
        buf_append_char(header, ' ');
    if (header->failed)
        return ERR(err, STATUS_LIMIT, "the header of %zu tensors is too large", entries_count);
    return STATUS_OK;
}

static enum status write_content(int fd, const struct buf *header,
                                 const struct safetensors_entry *entries, size_t entries_count,
                                 struct err *err)
{
    uint64_t header_bytes = header->length_bytes;
    enum status status = file_write_fd(fd, &header_bytes, sizeof(header_bytes), err);
    if (status == STATUS_OK)
        status = file_write_fd(fd, header->data, header->length_bytes, err);
    for (size_t i = 0; i < entries_count && status == STATUS_OK; i++) {
        uint64_t bytes = 0;
        status = entry_bytes(&entries[i], &bytes, err);
        if (status == STATUS_OK)
            status = file_write_fd(fd, entries[i].data, (size_t)bytes, err);
    }
    return status;
}

enum status safetensors_write(const char *path, const struct safetensors_entry *entries,
                              size_t entries_count, struct err *err)
{
    char temporary[FILE_PATH_BYTES];
    int length = snprintf(temporary, sizeof(temporary), "%s.tmp.%d", path, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    struct buf header;
    buf_init(&header, SAFETENSORS_HEADER_BYTES_MAX);
    enum status status = make_header(entries, entries_count, &header, err);
    if (status != STATUS_OK) {
        buf_release(&header);
        return status;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        buf_release(&header);
        return ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    }
    status = write_content(fd, &header, entries, entries_count, err);
    buf_release(&header);
    if (close(fd) != 0 && status == STATUS_OK)
        status = ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    if (status == STATUS_OK && rename(temporary, path) != 0)
        status = ERR(err, STATUS_IO, "cannot replace '%s': %s", path, strerror(errno));
    if (status != STATUS_OK)
        (void)unlink(temporary);
    return status;
}
