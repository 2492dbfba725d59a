#include "data/tokens.h"

#include "base/random.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LLMC_HEADER_BYTES   ((size_t)256 * 4)
#define LLMC_MAGIC          20240520
#define LLMC_VERSION_UINT16 1
#define LLMC_VERSION_UINT32 7

struct tokens {
    enum cell_data form; /* never AUTO */
    uint32_t vocab_size;
    uint32_t seq_len;
    uint32_t batch_size;
    uint64_t seed;
    void *map; /* owned: munmap; NULL for synthetic */
    size_t map_bytes;
    const unsigned char *first; /* borrowed: from map, after a header */
    uint64_t count;
};

static unsigned form_bytes(enum cell_data form)
{
    return form == CELL_DATA_UINT32 ? 4 : form == CELL_DATA_UINT16 ? 2 : 1;
}

static uint32_t little_endian(const unsigned char *bytes, unsigned bytes_count)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes_count; i++)
        value |= (uint32_t)bytes[i] << (8 * i);
    return value;
}

static uint32_t token_at(const struct tokens *tokens, uint64_t index)
{
    switch (form_bytes(tokens->form)) {
    case 4: return little_endian(tokens->first + 4 * index, 4);
    case 2: return little_endian(tokens->first + 2 * index, 2);
    default: return tokens->first[index];
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum status open_file(const char *path, int *ret_fd, uint64_t *ret_bytes, struct err *err)
{
    /* O_NONBLOCK: a FIFO must not hang the open; it means nothing to a regular file. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ERR(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                   "cannot read data file '%s': %s", path, strerror(errno));
    struct stat info;
    enum status status = STATUS_OK;
    if (fstat(fd, &info) != 0)
        status = ERR(err, STATUS_IO, "cannot read data file '%s': %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = ERR(err, STATUS_INVALID, "data file '%s' is a folder", path);
    else if (!S_ISREG(info.st_mode))
        status = ERR(err, STATUS_INVALID, "data file '%s' is not a regular file", path);
    if (status != STATUS_OK) {
        (void)close(fd);
        return status;
    }
    *ret_fd = fd;
    *ret_bytes = (uint64_t)info.st_size;
    return STATUS_OK;
}

static enum status map_file(const char *path, struct tokens *tokens, struct err *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    enum status status = open_file(path, &fd, &bytes, err);
    if (status != STATUS_OK)
        return status;
    if (bytes == 0) {
        (void)close(fd);
        return ERR(err, STATUS_INVALID, "data file '%s' is empty", path);
    }
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        status = ERR(err, STATUS_IO, "cannot map data file '%s': %s", path, strerror(errno));
    (void)close(fd);
    if (status != STATUS_OK)
        return status;
    tokens->map = map;
    tokens->map_bytes = (size_t)bytes;
    return STATUS_OK;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    size_t suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

/* llm.c's header: the form it names must be the one asked for, its count the file's. */
static enum status read_header(const char *path, enum cell_data asked, struct tokens *tokens,
                               struct err *err)
{
    if (tokens->map_bytes < LLMC_HEADER_BYTES)
        return ERR(err, STATUS_INVALID, "data file '%s' ends inside its llm.c header", path);
    uint32_t version = little_endian(tokens->first + 4, 4);
    if (version != LLMC_VERSION_UINT16 && version != LLMC_VERSION_UINT32)
        return ERR(err, STATUS_INVALID,
                   "data file '%s' has an llm.c header of version %u (1 and 7 are known)", path,
                   version);
    tokens->form = version == LLMC_VERSION_UINT16 ? CELL_DATA_UINT16 : CELL_DATA_UINT32;
    if (asked != CELL_DATA_AUTO && asked != tokens->form)
        return ERR(err, STATUS_INVALID, "data file '%s' is %s by its llm.c header, not %s", path,
                   cell_data_name(tokens->form), cell_data_name(asked));
    uint64_t said = little_endian(tokens->first + 8, 4);
    uint64_t bytes = tokens->map_bytes - LLMC_HEADER_BYTES;
    if (bytes != said * form_bytes(tokens->form))
        return ERR(err, STATUS_INVALID,
                   "data file '%s' says it has %" PRIu64 " %s tokens, but %" PRIu64
                   " bytes follow its header",
                   path, said, cell_data_name(tokens->form), bytes);
    tokens->first += LLMC_HEADER_BYTES;
    tokens->count = said;
    return STATUS_OK;
}

static enum status find_form(const char *path, enum cell_data asked, struct tokens *tokens,
                             struct err *err)
{
    tokens->first = tokens->map;
    bool has_magic = tokens->map_bytes >= 4 && little_endian(tokens->first, 4) == LLMC_MAGIC;
    if (has_magic && asked != CELL_DATA_TEXT)
        return read_header(path, asked, tokens, err);
    tokens->form = asked;
    if (asked == CELL_DATA_AUTO)
        tokens->form = has_suffix(path, ".bin") ? CELL_DATA_UINT16 : CELL_DATA_TEXT;
    unsigned token_bytes = form_bytes(tokens->form);
    if (tokens->map_bytes % token_bytes != 0)
        return ERR(err, STATUS_INVALID,
                   "data file '%s' has %zu bytes: not a whole number of %s tokens", path,
                   tokens->map_bytes, cell_data_name(tokens->form));
    tokens->count = tokens->map_bytes / token_bytes;
    return STATUS_OK;
}

static enum status check_tokens(const char *path, const struct tokens *tokens, struct err *err)
{
    if (tokens->count <= tokens->seq_len)
        return ERR(err, STATUS_INVALID,
                   "data file '%s' has %" PRIu64
                   " tokens; a sequence of %u needs at least %" PRIu64,
                   path, tokens->count, tokens->seq_len, (uint64_t)tokens->seq_len + 1);
    for (uint64_t i = 0; i < tokens->count; i++) {
        uint32_t token = token_at(tokens, i);
        if (token >= tokens->vocab_size)
            return ERR(err, STATUS_INVALID,
                       "data file '%s': token %" PRIu64 " is %u, but the model's vocabulary has %u",
                       path, i, token, tokens->vocab_size);
    }
    return STATUS_OK;
}

enum status tokens_open(const struct cell *cell, struct tokens **ret_tokens, struct err *err)
{
    ASSERT(cell->model.vocab_size > 0);
    struct tokens *tokens = calloc(1, sizeof(*tokens));
    if (tokens == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    *tokens = (struct tokens){.form = CELL_DATA_SYNTHETIC,
                              .vocab_size = cell->model.vocab_size,
                              .seq_len = cell->seq_len,
                              .batch_size = cell->batch_size,
                              .seed = cell->seed};
    enum status status = STATUS_OK;
    if (cell->data != CELL_DATA_SYNTHETIC) {
        status = map_file(cell->data_path, tokens, err);
        if (status == STATUS_OK)
            status = find_form(cell->data_path, cell->data, tokens, err);
        if (status == STATUS_OK)
            status = check_tokens(cell->data_path, tokens, err);
    }
    if (status != STATUS_OK) {
        tokens_close(tokens);
        return status;
    }
    *ret_tokens = tokens;
    return STATUS_OK;
}

void tokens_close(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    if (tokens->map != NULL)
        (void)munmap(tokens->map, tokens->map_bytes);
    free(tokens);
}

/* --- use -------------------------------------------------------------------------------------- */

void tokens_batch(const struct tokens *tokens, uint64_t step, uint32_t *ret_inputs,
                  uint32_t *ret_targets)
{
    uint64_t step_key = random_key(tokens->seed, step);
    uint32_t seq_len = tokens->seq_len;
    for (uint32_t row = 0; row < tokens->batch_size; row++) {
        uint64_t row_key = random_key(step_key, row);
        uint64_t offset =
            tokens->map == NULL ? 0 : random_at(row_key, 0) % (tokens->count - seq_len);
        uint32_t *inputs = ret_inputs + (size_t)row * seq_len;
        uint32_t *targets = ret_targets + (size_t)row * seq_len;
        for (uint32_t i = 0; i <= seq_len; i++) {
            uint32_t token = tokens->map == NULL
                                 ? (uint32_t)(random_at(row_key, i) % tokens->vocab_size)
                                 : token_at(tokens, offset + i);
            if (i < seq_len)
                inputs[i] = token;
            if (i > 0)
                targets[i - 1] = token;
        }
    }
}

uint64_t tokens_count(const struct tokens *tokens)
{
    return tokens->count;
}

const char *tokens_form(const struct tokens *tokens)
{
    return cell_data_name(tokens->form);
}

enum status tokens_hash_file(const char *path, char id[HASH_ID_BYTES], struct err *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    TRY(open_file(path, &fd, &bytes, err));
    enum status status = hash_id_of_file(fd, path, id, err);
    (void)close(fd);
    return status;
}
