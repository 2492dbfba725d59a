#include "base/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

/* A machine with many containers has many mounts. */
#define CGROUP_MOUNTS_BYTES (4U << 20)

/* Fields of a line of /proc/self/mountinfo, in proc(5)'s order, up to the separator "-". */
enum { MOUNT_ROOT_FIELD = 3, MOUNT_POINT_FIELD = 4, MOUNT_FIELDS_MAX = 32 };

struct cgroup_mount {
    char top[FILE_PATH_BYTES];   /* the group that is mounted */
    char point[FILE_PATH_BYTES]; /* where */
};

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, size_t list_bytes, const char *word)
{
    size_t word_bytes = strlen(word);
    const char *end = list + list_bytes;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - list) == word_bytes && memcmp(list, word, word_bytes) == 0)
            return true;
        list = stop + 1;
    }
    return false;
}

/* Copies a path of mountinfo, which has spaces and the like as \ooo. False when it does not fit. */
static bool unescape(const char *text, char path[FILE_PATH_BYTES])
{
    size_t filled = 0;
    while (*text != '\0') {
        if (filled + 1 >= FILE_PATH_BYTES)
            return false;
        bool is_octal = text[0] == '\\' && strspn(text + 1, "01234567") >= 3;
        if (is_octal) {
            path[filled++] = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            path[filled++] = *text++;
        }
    }
    path[filled] = '\0';
    return true;
}

/* Reads one line (changed by it). True when it mounts the wanted hierarchy. */
static bool parse_mount(char *line, const char *controller, bool is_v2, struct cgroup_mount *ret)
{
    char *fields[MOUNT_FIELDS_MAX];
    size_t count = 0;
    size_t dash = 0;
    char *rest = NULL;
    for (char *field = strtok_r(line, " ", &rest); field != NULL && count < MOUNT_FIELDS_MAX;
         field = strtok_r(NULL, " ", &rest)) {
        if (dash == 0 && count > MOUNT_POINT_FIELD && strcmp(field, "-") == 0)
            dash = count;
        fields[count++] = field;
    }
    if (dash == 0 || dash + 3 >= count)
        return false;
    const char *options = fields[dash + 3];
    if (strcmp(fields[dash + 1], is_v2 ? "cgroup2" : "cgroup") != 0)
        return false;
    if (!is_v2 && !has_word(options, strlen(options), controller))
        return false;
    return unescape(fields[MOUNT_ROOT_FIELD], ret->top) &&
           unescape(fields[MOUNT_POINT_FIELD], ret->point);
}

/* Does `path` lie at or under `top`? Sets what follows it ("" at the top itself). */
static bool strip_top(const char *path, const char *top, const char **ret_rest)
{
    size_t top_bytes = strlen(top);
    if (top_bytes > 0 && top[top_bytes - 1] == '/')
        top_bytes--;
    if (strncmp(path, top, top_bytes) != 0 || (path[top_bytes] != '/' && path[top_bytes] != '\0'))
        return false;
    *ret_rest = path[top_bytes] == '/' && path[top_bytes + 1] == '\0' ? "" : path + top_bytes;
    return true;
}

/* Our group's directory, and where in that text the mount point ends. A group outside of what is
 * mounted (a container without a namespace of its own) leaves the mount point, whose limits are
 * the container's. */
static bool find_dir(char *mounts, const char *controller, bool is_v2, const char *group,
                     char dir[FILE_PATH_BYTES], size_t *ret_point_bytes)
{
    bool is_found = false;
    char *rest = NULL;
    for (char *line = strtok_r(mounts, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        struct cgroup_mount mount;
        if (!parse_mount(line, controller, is_v2, &mount))
            continue;
        const char *below = "";
        bool is_inside = strstr(group, "/..") == NULL && strip_top(group, mount.top, &below);
        if (is_found && !is_inside)
            continue;
        int length = snprintf(dir, FILE_PATH_BYTES, "%s%s", mount.point, is_inside ? below : "");
        if (length < 0 || length >= FILE_PATH_BYTES)
            continue;
        *ret_point_bytes = strlen(mount.point);
        is_found = true;
        if (is_inside)
            break;
    }
    return is_found;
}

/* Our path from the lines "ID:controllers:path" of /proc/self/cgroup; v2's line is "0::path". */
static bool find_group(const char *groups, const char *controller, bool is_v2,
                       char group[FILE_PATH_BYTES])
{
    for (const char *line = groups; *line != '\0';) {
        size_t line_bytes = strcspn(line, "\n");
        const char *end = line + line_bytes;
        const char *list = memchr(line, ':', line_bytes);
        const char *path = list == NULL ? NULL : memchr(list + 1, ':', (size_t)(end - list - 1));
        if (path != NULL) {
            size_t list_bytes = (size_t)(path - list - 1);
            size_t path_bytes = (size_t)(end - path - 1);
            bool is_wanted = is_v2 ? list_bytes == 0 && line[0] == '0'
                                   : has_word(list + 1, list_bytes, controller);
            if (is_wanted && path_bytes > 0 && path_bytes < FILE_PATH_BYTES) {
                memcpy(group, path + 1, path_bytes);
                group[path_bytes] = '\0';
                return true;
            }
        }
        line = *end == '\n' ? end + 1 : end;
    }
    return false;
}

static bool read_text(const char *root, const char *path, struct buf *text)
{
    char full[FILE_PATH_BYTES];
    int length = snprintf(full, sizeof(full), "%s%s", root, path);
    return length > 0 && (size_t)length < sizeof(full) &&
           file_read_all(full, text, NULL) == STATUS_OK;
}

static void walk_one(const char *root, const char *controller, bool is_v2, cgroup_visit visit,
                     void *context)
{
    struct buf groups;
    struct buf mounts;
    buf_init(&groups, CGROUP_MOUNTS_BYTES);
    buf_init(&mounts, CGROUP_MOUNTS_BYTES);
    char group[FILE_PATH_BYTES];
    char dir[FILE_PATH_BYTES];
    size_t point_bytes = 0;
    if (read_text(root, "/proc/self/cgroup", &groups) &&
        find_group(groups.data, controller, is_v2, group) &&
        read_text(root, "/proc/self/mountinfo", &mounts) &&
        find_dir(mounts.data, controller, is_v2, group, dir, &point_bytes)) {
        for (;;) {
            visit(context, dir, is_v2);
            char *slash = strrchr(dir, '/');
            if (slash == NULL || (size_t)(slash - dir) < point_bytes)
                break;
            *slash = '\0';
        }
    }
    buf_release(&groups);
    buf_release(&mounts);
}

void cgroup_walk(const char *root, const char *controller, cgroup_visit visit, void *context)
{
    walk_one(root, controller, false, visit, context);
    walk_one(root, controller, true, visit, context);
}
