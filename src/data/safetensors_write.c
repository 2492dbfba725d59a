#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_write.h"
#include "data/safetensors.h"

#define ELEMENT_BYTES    4 /* of both dtypes that are written */
#define HEADER_ALIGNMENT 8
#define MADE_ELEMENTS    ((size_t)1 << 16) /* at a time */

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

/* Its pointers are borrowed while it is written. */
struct content {
    struct buf header;
    const struct safetensors_entry *entries;
    size_t entries_count;
    safetensors_maker *make; /* NULL: the entries' own data */
    void *context;
};

static enum status write_made(const struct content *content, size_t index, int fd, struct err *err)
{
    const struct safetensors_entry *entry = &content->entries[index];
    uint64_t bytes = 0;
    enum status status = entry_bytes(entry, &bytes, err);
    unsigned char *elements = malloc(MADE_ELEMENTS * ELEMENT_BYTES);
    if (elements == NULL)
        status = ERR(err, STATUS_NOMEM, "out of memory");
    uint64_t count = bytes / ELEMENT_BYTES;
    for (uint64_t done = 0; status == STATUS_OK && done < count;) {
        size_t now = count - done < MADE_ELEMENTS ? (size_t)(count - done) : MADE_ELEMENTS;
        content->make(content->context, index, done, now, elements);
        status = file_write_fd(fd, elements, now * ELEMENT_BYTES, err);
        done += now;
    }
    free(elements);
    return status;
}

static enum status write_content(void *context, int fd, struct err *err)
{
    const struct content *content = context;
    uint64_t header_bytes = content->header.length_bytes;
    TRY(file_write_fd(fd, &header_bytes, sizeof(header_bytes), err));
    TRY(file_write_fd(fd, content->header.data, content->header.length_bytes, err));
    for (size_t i = 0; i < content->entries_count; i++) {
        uint64_t bytes = 0;
        if (content->make != NULL) {
            TRY(write_made(content, i, fd, err));
            continue;
        }
        TRY(entry_bytes(&content->entries[i], &bytes, err));
        TRY(file_write_fd(fd, content->entries[i].data, (size_t)bytes, err));
    }
    return STATUS_OK;
}

static enum status write_file(const char *path, struct content *content, struct err *err)
{
    buf_init(&content->header, SAFETENSORS_HEADER_BYTES_MAX);
    enum status status =
        make_header(content->entries, content->entries_count, &content->header, err);
    if (status == STATUS_OK)
        status = file_replace(path, write_content, content, err);
    buf_release(&content->header);
    return status;
}

enum status safetensors_write(const char *path, const struct safetensors_entry *entries,
                              size_t entries_count, struct err *err)
{
    struct content content = {.entries = entries, .entries_count = entries_count};
    return write_file(path, &content, err);
}

enum status safetensors_write_made(const char *path, const struct safetensors_entry *entries,
                                   size_t entries_count, safetensors_maker *make, void *context,
                                   struct err *err)
{
    struct content content = {
        .entries = entries, .entries_count = entries_count, .make = make, .context = context};
    return write_file(path, &content, err);
}
