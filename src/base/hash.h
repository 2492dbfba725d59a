/* base/hash.h - content hashes for ids (XXH3, 128 bit). Not for security. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define HASH_ID_BYTES 18 /* 'h', 16 hexadecimal digits and the NUL */

/* First 64 bits of XXH3-128 of the bytes: 'h' and 16 lower-case hexadecimal digits. Without the
 * letter, readers of CSV take some ids for numbers ("346306279874e673" is infinite). */
void hash_id(const void *bytes, size_t bytes_count, char id[HASH_ID_BYTES]);
/* The same of all that is left to read in `fd`; `path` is for the message of a failure. */
MUST_CHECK enum status hash_id_of_file(int fd, const char *path, char id[HASH_ID_BYTES],
                                       struct err *err);
/* The id of a hash. */
void hash_id_format(uint64_t hash, char id[HASH_ID_BYTES]);
/* Where the digits of an id begin. Ids of earlier versions are the digits alone, so this is what
 * ids are compared by, and what goes into another hash. Any other text is returned as it is. */
const char *hash_id_digits(const char *id);
/* Ids of the same content, with or without the letter? */
bool hash_id_is_same(const char *a, const char *b);
uint64_t hash_u64(const void *bytes, size_t bytes_count);

/* All 128 bits, where one collision in many millions of contents would lose one of them. */
struct hash_wide {
    uint64_t high, low;
};
struct hash_wide hash_wide(const void *bytes, size_t bytes_count);

#endif
