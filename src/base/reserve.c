#include "base/reserve.h"

#include "base/sysmem.h"

#define RESERVE_BYTES_MAX (512ULL << 20)

uint64_t reserve_host_bytes(void)
{
    uint64_t part = sysmem_total_bytes() / 20;
    return part < RESERVE_BYTES_MAX ? part : RESERVE_BYTES_MAX;
}
