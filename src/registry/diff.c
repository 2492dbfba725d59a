#include "registry/diff.h"

#include <stdbool.h>
#include <string.h>

#define CONTEXT   3
#define AHEAD_MAX 400 /* lines that are looked at for where the two go on alike */

/* Borrowed for the call. */
struct side {
    const char *text;
    size_t bytes;
    size_t at;   /* of the next line */
    size_t line; /* its number, from 0 */
};

static size_t line_bytes(const struct side *side, size_t at)
{
    const char *newline = memchr(side->text + at, '\n', side->bytes - at);
    return newline != NULL ? (size_t)(newline - side->text) + 1 - at : side->bytes - at;
}

static void skip_lines(struct side *side, size_t count)
{
    for (; count > 0 && side->at < side->bytes; count--) {
        side->at += line_bytes(side, side->at);
        side->line++;
    }
}

static bool is_equal(const struct side *one, const struct side *other)
{
    size_t bytes = line_bytes(one, one->at);
    return one->at < one->bytes && other->at < other->bytes &&
           bytes == line_bytes(other, other->at) &&
           memcmp(one->text + one->at, other->text + other->at, bytes) == 0;
}

/* How many lines of each differ before both go on alike, fewest first. */
static void find_difference(struct side before, struct side after, size_t *ret_before,
                            size_t *ret_after)
{
    for (size_t sum = 1; sum <= AHEAD_MAX; sum++)
        for (size_t removed = 0; removed <= sum; removed++) {
            struct side one = before;
            struct side other = after;
            skip_lines(&one, removed);
            skip_lines(&other, sum - removed);
            bool is_end = one.at == one.bytes && other.at == other.bytes;
            if (one.line - before.line == removed && other.line - after.line == sum - removed &&
                (is_end || is_equal(&one, &other))) {
                *ret_before = removed;
                *ret_after = sum - removed;
                return;
            }
        }
    *ret_before = *ret_after = (size_t)-1; /* the rest */
}

static void append_lines(struct side *side, size_t count, char sign, struct buf *out)
{
    for (; count > 0 && side->at < side->bytes; count--) {
        size_t bytes = line_bytes(side, side->at);
        buf_append_char(out, sign);
        buf_append(out, side->text + side->at, bytes);
        if (side->text[side->at + bytes - 1] != '\n')
            buf_append_text(out, "\n\\ No newline at end of file\n");
        side->at += bytes;
        side->line++;
    }
}

static size_t count_equal(struct side before, struct side after, size_t most)
{
    size_t count = 0;
    while (count < most && is_equal(&before, &after)) {
        skip_lines(&before, 1);
        skip_lines(&after, 1);
        count++;
    }
    return count;
}

static void append_hunk(struct side *before, struct side *after, size_t lead, struct buf *out)
{
    struct buf body;
    size_t first_before = before->line;
    size_t first_after = after->line;
    buf_init(&body, out->max_bytes);
    append_lines(before, lead, ' ', &body);
    skip_lines(after, lead);
    for (;;) {
        size_t removed;
        size_t added;
        find_difference(*before, *after, &removed, &added);
        append_lines(before, removed, '-', &body);
        append_lines(after, added, '+', &body);
        size_t equal = count_equal(*before, *after, 2 * CONTEXT + 1);
        bool is_last =
            equal > 2 * CONTEXT || (before->at == before->bytes && after->at == after->bytes);
        struct side end = *before;
        skip_lines(&end, equal);
        is_last = is_last || end.at == end.bytes;
        size_t shown = is_last && equal > CONTEXT ? CONTEXT : equal;
        append_lines(before, shown, ' ', &body);
        skip_lines(after, shown);
        if (is_last)
            break;
    }
    buf_appendf(out, "@@ -%zu,%zu +%zu,%zu @@\n",
                before->line > first_before ? first_before + 1 : 0, before->line - first_before,
                first_after + 1, after->line - first_after);
    buf_append(out, body.data, body.length_bytes);
    out->failed = out->failed || body.failed;
    buf_release(&body);
}

void diff_append(const char *name, const struct buf *before, const struct buf *after,
                 struct buf *out)
{
    struct side one = {.text = before->data, .bytes = before->length_bytes};
    struct side other = {.text = after->data, .bytes = after->length_bytes};
    bool is_begun = false;
    while (one.at < one.bytes || other.at < other.bytes) {
        size_t equal = count_equal(one, other, (size_t)-1);
        size_t lead = equal < CONTEXT ? equal : CONTEXT;
        skip_lines(&one, equal - lead);
        skip_lines(&other, equal - lead);
        struct side rest = one;
        skip_lines(&rest, lead);
        struct side other_rest = other;
        skip_lines(&other_rest, lead);
        if (rest.at == rest.bytes && other_rest.at == other_rest.bytes)
            return;
        if (!is_begun)
            buf_appendf(out, "--- %s\n+++ %s\n", name, name);
        is_begun = true;
        append_hunk(&one, &other, lead, out);
    }
}
