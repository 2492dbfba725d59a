#include "report/format.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/grid.h"

const struct report_format report_formats[] = {
    {"text", "plots and tables for a terminal", report_write_text},
    {"markdown", "the same for a page or a comment", report_write_markdown},
    {"html", "one page that needs nothing else", report_write_html},
};
const size_t report_formats_count = ARRAY_COUNT(report_formats);

/* --- links --- */

/* The folder that the source's samples lie in; false: it has none. */
static bool find_folder(const struct report_source *source, char folder[PATH_MAX])
{
    struct stat info;
    if (strcmp(source->path, "-") == 0 || realpath(source->path, folder) == NULL ||
        stat(folder, &info) != 0)
        return false;
    if (S_ISDIR(info.st_mode))
        return true;
    char *slash = strrchr(folder, '/');
    if (!S_ISREG(info.st_mode) || slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* "../a/b" from one absolute folder to another. */
static void append_relative(const char *from, const char *to, struct buf *out)
{
    size_t same = 0;
    size_t at = 0;
    for (; from[at] != '\0' && from[at] == to[at]; at++)
        if (from[at] == '/')
            same = at;
    if ((from[at] == '\0' || from[at] == '/') && (to[at] == '\0' || to[at] == '/'))
        same = at;
    const char *rest = from + same;
    for (; *rest != '\0'; rest++)
        if (*rest == '/' && rest[1] != '\0')
            buf_append_text(out, "../");
    rest = to + same;
    rest += strspn(rest, "/");
    if (*rest != '\0') {
        buf_append_text(out, rest);
        buf_append_char(out, '/');
    }
}

static void append_encoded(const char *path, struct buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    for (; *path != '\0'; path++)
        if (strchr(plain, *path) != NULL)
            buf_append_char(out, *path);
        else
            buf_appendf(out, "%%%02X", (unsigned)(unsigned char)*path);
}

void report_append_link(const struct report_output *output, const struct report_cell *cell,
                        struct buf *out)
{
    const struct report_source *source = &output->document->report->sources[cell->source];
    char folder[PATH_MAX];
    char from[PATH_MAX];
    char file[2 * PATH_MAX];
    struct buf path CLEANUP(buf_release) = {0};
    if (cell->samples[0] == '\0' || !find_folder(source, folder) ||
        realpath(output->folder, from) == NULL)
        return;
    int length = snprintf(file, sizeof(file), "%s/%s", folder, cell->samples);
    if (length < 0 || (size_t)length >= sizeof(file) || access(file, F_OK) != 0)
        return;
    buf_init(&path, 4 * (size_t)PATH_MAX);
    append_relative(from, folder, &path);
    buf_append_text(&path, cell->samples);
    append_encoded(path.data, out);
}

/* --- tables --- */

static enum grid_color color_of(enum tone tone)
{
    switch (tone) {
    case TONE_GOOD: return GRID_GREEN;
    case TONE_WARN: return GRID_YELLOW;
    case TONE_BAD: return GRID_RED;
    case TONE_PLAIN:
    case TONES_COUNT: break;
    }
    return GRID_PLAIN;
}

void report_put_cell(const struct table_cell *cell, bool has_sign, struct grid *grid)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, REPORT_BYTES_MAX);
    if (has_sign && cell->tone != TONE_PLAIN)
        buf_appendf(&text, "%s ", tone_sign(cell->tone));
    buf_append_text(&text, cell->text);
    grid_put(grid, color_of(cell->tone), text.data);
}
