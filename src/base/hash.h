/* base/hash.h - content hashes for ids (XXH3, 128 bit). Not for security. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_ID_BYTES 17 /* 16 hexadecimal digits and the NUL */

/* First 64 bits of XXH3-128 of the bytes, as 16 lower-case hexadecimal digits. */
void hash_id(const void *bytes, size_t bytes_count, char id[HASH_ID_BYTES]);
uint64_t hash_u64(const void *bytes, size_t bytes_count);

#endif
