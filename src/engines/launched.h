/* engines/launched.h - what a launcher that starts one process a rank (srun, mpirun, torchrun) says
 * of this process in its environment. As tokmark_worker/launcher.py, whose workers can be ranks. */
#ifndef ENGINES_LAUNCHED_H
#define ENGINES_LAUNCHED_H

#include <stdbool.h>
#include <stdint.h>

struct launched {
    uint32_t rank, count;
    const char *launcher, *count_key; /* borrowed: static */
};

/* False where no launcher has started several. */
bool launched_find(struct launched *ret);
/* Takes this process's own rank out of the environment of those that it starts. */
void launched_forget(void);

#endif
