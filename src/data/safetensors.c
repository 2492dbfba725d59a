#include "data/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/nearest.h"
#include "data/file_formats.h"

#define LENGTH_BYTES 8

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format's byte order is the host's");

/* Borrowed: static. */
struct dtype {
    const char *name;
    unsigned bytes;
};

/* Every whole-byte type of the format; a tensor of any of them may be in a file. */
static const struct dtype dtypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
    {"F32", 4},  {"F64", 8}, {"I64", 8}, {"U64", 8},     {"C64", 8},
};

struct safetensors {
    void *map; /* owned: munmap */
    size_t map_bytes;
    json_t *header;                     /* owned: holds the names */
    struct safetensors_tensor *tensors; /* owned: in order of name */
    size_t tensors_count;
};

/* Where a file is being read, for its errors. All borrowed for the call. */
struct reading {
    const char *path;
    struct safetensors *file;
    const unsigned char *data; /* after the header */
    uint64_t data_bytes;
};

/* --- the header's JSON ------------------------------------------------------------------------ */

static enum status read_dtype(const struct reading *reading, const char *name, const json_t *entry,
                              struct safetensors_tensor *ret, unsigned *ret_bytes, struct err *err)
{
    const char *word = json_string_value(json_object_get(entry, "dtype"));
    if (word == NULL)
        return ERR(err, STATUS_INVALID, "'%s': tensor '%.80s' has no dtype", reading->path, name);
    const char *known[ARRAY_COUNT(dtypes)];
    for (size_t i = 0; i < ARRAY_COUNT(dtypes); i++) {
        known[i] = dtypes[i].name;
        if (strcmp(word, dtypes[i].name) == 0) {
            memcpy(ret->dtype, word, strlen(word) + 1);
            *ret_bytes = dtypes[i].bytes;
            return STATUS_OK;
        }
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_UNSUPPORTED, "'%s': tensor '%.80s' has unknown dtype '%.32s' (%s)",
               reading->path, name, word, nearest_hint(&hint, "", word, known, ARRAY_COUNT(known)));
}

/* A JSON integer that is not negative. */
static bool read_u64(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

/* The shape, and what it needs: elements and bytes, neither of which may overflow. */
static enum status read_shape(const struct reading *reading, const char *name, const json_t *entry,
                              unsigned element_bytes, struct safetensors_tensor *ret,
                              struct err *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return ERR(err, STATUS_INVALID, "'%s': tensor '%.80s' has no shape", reading->path, name);
    if (json_array_size(shape) > SAFETENSORS_DIMS_MAX)
        return ERR(err, STATUS_UNSUPPORTED, "'%s': tensor '%.80s' has %zu dimensions, at most %d",
                   reading->path, name, json_array_size(shape), SAFETENSORS_DIMS_MAX);
    ret->dims_count = (unsigned)json_array_size(shape);
    ret->elements_count = 1;
    for (unsigned i = 0; i < ret->dims_count; i++) {
        if (!read_u64(json_array_get(shape, i), &ret->dims[i]))
            return ERR(err, STATUS_INVALID,
                       "'%s': dimension %u of tensor '%.80s' is not a whole number of 0 or more",
                       reading->path, i, name);
        if (__builtin_mul_overflow(ret->elements_count, ret->dims[i], &ret->elements_count))
            return ERR(err, STATUS_INVALID, "'%s': the shape of tensor '%.80s' overflows",
                       reading->path, name);
    }
    if (__builtin_mul_overflow(ret->elements_count, (uint64_t)element_bytes, &ret->bytes))
        return ERR(err, STATUS_INVALID, "'%s': the shape of tensor '%.80s' overflows",
                   reading->path, name);
    return STATUS_OK;
}

static enum status read_offsets(const struct reading *reading, const char *name,
                                const json_t *entry, struct safetensors_tensor *ret,
                                struct err *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin = 0;
    uint64_t end = 0;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !read_u64(json_array_get(offsets, 0), &begin) ||
        !read_u64(json_array_get(offsets, 1), &end))
        return ERR(err, STATUS_INVALID,
                   "'%s': data_offsets of tensor '%.80s' are not two whole numbers of 0 or more",
                   reading->path, name);
    if (begin > end || end > reading->data_bytes)
        return ERR(err, STATUS_INVALID,
                   "'%s': tensor '%.80s' is at bytes %llu to %llu, but there are %llu bytes of data"
                   " (truncated?)",
                   reading->path, name, (unsigned long long)begin, (unsigned long long)end,
                   (unsigned long long)reading->data_bytes);
    if (end - begin != ret->bytes)
        return ERR(err, STATUS_INVALID,
                   "'%s': tensor '%.80s' has %llu bytes of data, its shape and dtype need %llu",
                   reading->path, name, (unsigned long long)(end - begin),
                   (unsigned long long)ret->bytes);
    ret->data = reading->data + begin;
    return STATUS_OK;
}

static enum status read_tensor(const struct reading *reading, const char *name, const json_t *entry,
                               struct safetensors_tensor *ret, struct err *err)
{
    unsigned element_bytes = 0;
    if (!json_is_object(entry))
        return ERR(err, STATUS_INVALID, "'%s': header entry '%.80s' is not an object",
                   reading->path, name);
    *ret = (struct safetensors_tensor){.name = name};
    enum status status = read_dtype(reading, name, entry, ret, &element_bytes, err);
    if (status == STATUS_OK)
        status = read_shape(reading, name, entry, element_bytes, ret, err);
    if (status == STATUS_OK)
        status = read_offsets(reading, name, entry, ret, err);
    return status;
}

static int compare_place(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a;
    const struct safetensors_tensor *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

static int compare_name(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a;
    const struct safetensors_tensor *y = b;
    return strcmp(x->name, y->name);
}

/* In order of place, every tensor begins where the one before ends, and the last ends the file. */
static enum status check_cover(const struct reading *reading, struct err *err)
{
    struct safetensors *file = reading->file;
    qsort(file->tensors, file->tensors_count, sizeof(*file->tensors), compare_place);
    const unsigned char *next = reading->data;
    for (size_t i = 0; i < file->tensors_count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        if ((const unsigned char *)tensor->data != next)
            return ERR(err, STATUS_INVALID, "'%s': tensor '%.80s' %s the data before it",
                       reading->path, tensor->name,
                       (const unsigned char *)tensor->data < next ? "overlaps"
                                                                  : "leaves a hole after");
        next += tensor->bytes;
    }
    uint64_t covered = (uint64_t)(next - reading->data);
    if (covered != reading->data_bytes)
        return ERR(err, STATUS_INVALID, "'%s': the tensors have %llu bytes, the file has %llu",
                   reading->path, (unsigned long long)covered,
                   (unsigned long long)reading->data_bytes);
    return STATUS_OK;
}

static enum status read_tensors(struct reading *reading, struct err *err)
{
    struct safetensors *file = reading->file;
    size_t entries_count = json_object_size(file->header);
    file->tensors = calloc(entries_count + 1, sizeof(*file->tensors));
    if (file->tensors == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory for %zu tensors", entries_count);
    const char *name = NULL;
    json_t *entry = NULL;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        enum status status =
            read_tensor(reading, name, entry, &file->tensors[file->tensors_count], err);
        if (status != STATUS_OK)
            return status;
        file->tensors_count++;
    }
    enum status status = check_cover(reading, err);
    if (status == STATUS_OK)
        qsort(file->tensors, file->tensors_count, sizeof(*file->tensors), compare_name);
    return status;
}

/* --- the file --------------------------------------------------------------------------------- */

static enum status read_header(struct reading *reading, struct err *err)
{
    struct safetensors *file = reading->file;
    const char *other = file_formats_describe(file->map, file->map_bytes);
    if (other != NULL)
        return ERR(err, STATUS_INVALID, "'%s' %s", reading->path, other);
    uint64_t header_bytes = 0;
    memcpy(&header_bytes, file->map, LENGTH_BYTES);
    if (header_bytes > SAFETENSORS_HEADER_BYTES_MAX)
        return ERR(err, STATUS_LIMIT,
                   "'%s' is no safetensors file: its first bytes are no length of a header of at "
                   "most %d bytes",
                   reading->path, SAFETENSORS_HEADER_BYTES_MAX);
    if (header_bytes > file->map_bytes - LENGTH_BYTES)
        return ERR(err, STATUS_INVALID, "'%s' is truncated: a header of %llu bytes in %zu",
                   reading->path, (unsigned long long)header_bytes, file->map_bytes);
    const char *text = (const char *)file->map + LENGTH_BYTES;
    json_error_t problem;
    file->header = json_loadb(text, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (file->header == NULL)
        return ERR(err, STATUS_INVALID, "'%s': the header is not JSON: %s (byte %d)", reading->path,
                   problem.text, problem.position);
    if (!json_is_object(file->header))
        return ERR(err, STATUS_INVALID, "'%s': the header is not a JSON object", reading->path);
    reading->data = (const unsigned char *)text + header_bytes;
    reading->data_bytes = file->map_bytes - LENGTH_BYTES - header_bytes;
    return read_tensors(reading, err);
}

static enum status map_file(const char *path, int fd, struct safetensors *file, struct err *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return ERR(err, STATUS_INVALID, "'%s' is not a file", path);
    if (info.st_size < LENGTH_BYTES)
        return ERR(err, STATUS_INVALID, "'%s' has %lld bytes: too short for a safetensors file",
                   path, (long long)info.st_size);
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return ERR(err, STATUS_IO, "cannot map '%s': %s", path, strerror(errno));
    file->map = map;
    file->map_bytes = (size_t)info.st_size;
    return STATUS_OK;
}

enum status safetensors_open(const char *path, struct safetensors **ret, struct err *err)
{
    /* O_NONBLOCK: a FIFO must not hang the open; it means nothing to a regular file. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ERR(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read '%s': %s",
                   path, strerror(errno));
    struct safetensors *file = calloc(1, sizeof(*file));
    enum status status = file == NULL ? ERR(err, STATUS_NOMEM, "out of memory") : STATUS_OK;
    if (status == STATUS_OK)
        status = map_file(path, fd, file, err);
    (void)close(fd);
    if (status == STATUS_OK) {
        struct reading reading = {.path = path, .file = file};
        status = read_header(&reading, err);
    }
    if (status != STATUS_OK) {
        safetensors_close(file);
        return status;
    }
    *ret = file;
    return STATUS_OK;
}

void safetensors_close(struct safetensors *file)
{
    if (file == NULL)
        return;
    free(file->tensors);
    json_decref(file->header);
    if (file->map != NULL)
        (void)munmap(file->map, file->map_bytes);
    free(file);
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    struct safetensors_tensor wanted = {.name = name};
    if (file->tensors_count == 0)
        return NULL;
    return bsearch(&wanted, file->tensors, file->tensors_count, sizeof(wanted), compare_name);
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->tensors_count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    ASSERT(index < file->tensors_count);
    return &file->tensors[index];
}

struct safetensors_tensor safetensors_part(const struct safetensors_tensor *tensor, uint64_t first,
                                           uint64_t count)
{
    ASSERT(first <= tensor->elements_count && count <= tensor->elements_count - first);
    uint64_t element_bytes =
        tensor->elements_count == 0 ? 0 : tensor->bytes / tensor->elements_count;
    struct safetensors_tensor part = *tensor;
    part.data = (const char *)tensor->data + first * element_bytes;
    part.dims_count = 1;
    part.dims[0] = count;
    part.elements_count = count;
    part.bytes = count * element_bytes;
    return part;
}

/* --- values ----------------------------------------------------------------------------------- */

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1F;
    uint32_t fraction = half & 0x3FF;
    if (exponent == 0x1F)
        return float_of_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent != 0)
        return float_of_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* zero or subnormal */
    return sign != 0 ? -magnitude : magnitude;
}

enum status safetensors_copy_f32(const struct safetensors_tensor *tensor, float *dst,
                                 struct err *err)
{
    const unsigned char *from = tensor->data;
    uint64_t count = tensor->elements_count;
    if (count == 0)
        return STATUS_OK;
    if (strcmp(tensor->dtype, "F32") == 0) {
        memcpy(dst, from, (size_t)tensor->bytes);
    } else if (strcmp(tensor->dtype, "F64") == 0) {
        for (uint64_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, from + i * sizeof(value), sizeof(value));
            dst[i] = (float)value;
        }
    } else if (strcmp(tensor->dtype, "F16") == 0 || strcmp(tensor->dtype, "BF16") == 0) {
        bool is_half = tensor->dtype[0] == 'F';
        for (uint64_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, from + i * sizeof(value), sizeof(value));
            dst[i] = is_half ? float_of_half(value) : float_of_bits((uint32_t)value << 16);
        }
    } else {
        return ERR(err, STATUS_UNSUPPORTED,
                   "tensor '%.80s' is %s; F32, F64, F16 or BF16 can be read as numbers",
                   tensor->name, tensor->dtype);
    }
    return STATUS_OK;
}

enum status safetensors_copy_i32(const struct safetensors_tensor *tensor, int32_t *dst,
                                 struct err *err)
{
    const unsigned char *from = tensor->data;
    if (tensor->elements_count == 0)
        return STATUS_OK;
    if (strcmp(tensor->dtype, "I32") == 0) {
        memcpy(dst, from, (size_t)tensor->bytes);
        return STATUS_OK;
    }
    if (strcmp(tensor->dtype, "I64") != 0)
        return ERR(err, STATUS_UNSUPPORTED,
                   "tensor '%.80s' is %s; I32 or I64 can be read as whole numbers", tensor->name,
                   tensor->dtype);
    for (uint64_t i = 0; i < tensor->elements_count; i++) {
        int64_t value;
        memcpy(&value, from + i * sizeof(value), sizeof(value));
        if (value < INT32_MIN || value > INT32_MAX)
            return ERR(err, STATUS_INVALID, "element %llu of tensor '%.80s' is %lld: not an int32",
                       (unsigned long long)i, tensor->name, (long long)value);
        dst[i] = (int32_t)value;
    }
    return STATUS_OK;
}
