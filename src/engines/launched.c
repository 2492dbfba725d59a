#include "engines/launched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/num.h"

#define RANKS_MAX 999999999

static const struct {
    const char *name, *rank_key, *count_key;
} launchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"PMI", "PMI_RANK", "PMI_SIZE"},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS"},
};

static bool read_number(const char *key, uint64_t *ret)
{
    const char *text = getenv(key);
    struct err why = {0};
    return text != NULL && num_parse_u64(text, 0, RANKS_MAX, ret, &why) == STATUS_OK;
}

bool launched_find(struct launched *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(launchers); i++) {
        uint64_t rank = 0, count = 0;
        if (!read_number(launchers[i].rank_key, &rank) ||
            !read_number(launchers[i].count_key, &count) || rank >= count)
            continue;
        *ret = (struct launched){(uint32_t)rank, (uint32_t)count, launchers[i].name,
                                 launchers[i].count_key};
        return count > 1;
    }
    return false;
}

void launched_forget(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(launchers); i++)
        (void)unsetenv(launchers[i].rank_key);
}
