/* data/safetensors.h - reading and writing safetensors files.
 *
 * The format: 8 bytes little-endian header length, a JSON header
 *   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__":
 * {}} and the tensors' bytes, little-endian, row-major, offsets counted from the header's end.
 * A file is taken as hostile: the header, every name, dtype, shape and offset is checked before
 * anything is used; as in the reference implementation the tensors must cover the data exactly,
 * without a hole or an overlap.
 */
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SAFETENSORS_DIMS_MAX    8
#define SAFETENSORS_DTYPE_BYTES 12

/* Over 100,000 tensors. The reference implementation allows 100 MB, which a hostile file could turn
 * into gigabytes of parsed JSON. */
#define SAFETENSORS_HEADER_BYTES_MAX (16 * 1024 * 1024)

struct safetensors; /* opaque: an open file */

struct safetensors_tensor {
    const char *name;                    /* borrowed: from the open file */
    char dtype[SAFETENSORS_DTYPE_BYTES]; /* "F32", "BF16", ... */
    unsigned dims_count;                 /* 0 = a scalar */
    uint64_t dims[SAFETENSORS_DIMS_MAX];
    uint64_t elements_count;
    const void *data; /* borrowed: from the open file; not aligned */
    uint64_t bytes;
};

/* Maps the file and checks all of it but the values. NOT_FOUND, IO, INVALID, UNSUPPORTED (a dtype
 * or number of dimensions this reader does not know) or LIMIT, with the file's name in the text. */
MUST_CHECK enum status safetensors_open(const char *path, struct safetensors **ret,
                                        struct err *err);
void safetensors_close(struct safetensors *file);

/* NULL when there is no such tensor. Borrowed until safetensors_close(). */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);
/* All tensors, in order of name. */
size_t safetensors_count(const struct safetensors *file);
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index);

/* The tensor's elements_count values to `dst`. F32, F64 (rounded), F16, BF16; another dtype is
 * UNSUPPORTED. */
MUST_CHECK enum status safetensors_copy_f32(const struct safetensors_tensor *tensor, float *dst,
                                            struct err *err);
/* I32 and I64; a value outside int32 is INVALID (and `dst` undefined). */
MUST_CHECK enum status safetensors_copy_i32(const struct safetensors_tensor *tensor, int32_t *dst,
                                            struct err *err);

/* The `count` elements from `first` on, as a tensor of one dimension: large ones are read in parts.
 */
struct safetensors_tensor safetensors_part(const struct safetensors_tensor *tensor, uint64_t first,
                                           uint64_t count);

/* All borrowed while it is written. */
struct safetensors_entry {
    const char *name;  /* not "__metadata__", no two equal */
    const char *dtype; /* "F32" or "I32" */
    unsigned dims_count;
    uint64_t dims[SAFETENSORS_DIMS_MAX];
    const void *data; /* not looked at by safetensors_write_made() */
};

/* Writes the entries in the order given, through a temporary file and rename(2). The tensors' bytes
 * go from `data` to the file without a copy. */
MUST_CHECK enum status safetensors_write(const char *path, const struct safetensors_entry *entries,
                                         size_t entries_count, struct err *err);

/* Makes `count` elements of the index-th entry, from element `first` on. */
typedef void safetensors_maker(void *context, size_t index, uint64_t first, size_t count,
                               void *ret_elements);
/* The same, with elements that are made as they are written: the tensors need not fit in memory. */
MUST_CHECK enum status safetensors_write_made(const char *path,
                                              const struct safetensors_entry *entries,
                                              size_t entries_count, safetensors_maker *make,
                                              void *context, struct err *err);

#endif
