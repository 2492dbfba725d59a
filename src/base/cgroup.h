/* base/cgroup.h - where this process stands in the control groups, v1 and v2.
 *
 * A limit can be set on any group between ours and the top, so whoever asks "what may we use?" has
 * to look at all of them. In a container the top of what we see is often not the top of the tree:
 * /proc/self/mountinfo says which group is mounted where, and the path in /proc/self/cgroup is
 * taken relative to that.
 */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdbool.h>

/* `dir`: without the root, to be handed to procfs_read(); borrowed for the call. */
typedef void (*cgroup_visit)(void *context, const char *dir, bool is_v2);

/* Calls `visit` for our own group and every group above it up to the mount point, first in the v1
 * hierarchy that has `controller` ("memory", "cpu"), then in the v2 one. Nothing is called where
 * there are no control groups. `root` as in base/procfs.h. */
void cgroup_walk(const char *root, const char *controller, cgroup_visit visit, void *context);

#endif
