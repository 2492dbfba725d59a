#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
/* header-only form: nothing to link, and the streaming state stays internal */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_u64(const void *bytes, size_t bytes_count)
{
    return XXH3_128bits(bytes, bytes_count).high64;
}

void hash_id(const void *bytes, size_t bytes_count, char id[HASH_ID_BYTES])
{
    (void)snprintf(id, HASH_ID_BYTES, "%016" PRIx64, hash_u64(bytes, bytes_count));
}
