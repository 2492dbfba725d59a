#include "base/hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define XXH_STATIC_LINKING_ONLY /* for a state that needs no heap */
#include <xxhash.h>

#define ID_LETTER   'h' /* no hexadecimal digit */
#define ID_DIGITS   16

#define CHUNK_BYTES ((size_t)64 * 1024)

uint64_t hash_u64(const void *bytes, size_t bytes_count)
{
    return XXH3_128bits(bytes, bytes_count).high64;
}

struct hash_wide hash_wide(const void *bytes, size_t bytes_count)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, bytes_count);
    return (struct hash_wide){.high = hash.high64, .low = hash.low64};
}

void hash_id(const void *bytes, size_t bytes_count, char id[HASH_ID_BYTES])
{
    hash_id_format(hash_u64(bytes, bytes_count), id);
}

enum status hash_id_of_file(int fd, const char *path, char id[HASH_ID_BYTES], struct err *err)
{
    XXH3_state_t state;
    unsigned char chunk[CHUNK_BYTES];
    (void)XXH3_128bits_reset(&state);
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        (void)XXH3_128bits_update(&state, chunk, (size_t)got);
    }
    hash_id_format(XXH3_128bits_digest(&state).high64, id);
    return STATUS_OK;
}

void hash_id_format(uint64_t hash, char id[HASH_ID_BYTES])
{
    (void)snprintf(id, HASH_ID_BYTES, "%c%016" PRIx64, ID_LETTER, hash);
}

const char *hash_id_digits(const char *id)
{
    bool is_whole = id[0] == ID_LETTER && strspn(id + 1, "0123456789abcdef") == ID_DIGITS &&
                    id[1 + ID_DIGITS] == '\0';
    return is_whole ? id + 1 : id;
}

bool hash_id_is_same(const char *a, const char *b)
{
    return strcmp(hash_id_digits(a), hash_id_digits(b)) == 0;
}
