/* A comment of a pull request: what changed, the rest folded away, and the hidden marker by which
 * the next run finds the comment again. GitHub takes 65,536 characters. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compare/phrase.h"

#define COMMENT_BYTES_MAX ((size_t)65535)
/* For what comes behind the rows: closing tags, how many are not shown, notices, the marker. */
#define TAIL_BYTES   ((size_t)8192)
#define NOTICE_BYTES ((size_t)300)
#define ID_BYTES     ((size_t)200)

struct comment {
    struct compare_output *output; /* borrowed: for the call */
    struct phrase_names names;
    size_t left_out; /* rows for which there was no room */
    size_t notices;
};

/* Text in a code span inside of a table: nothing in it is read as markup, nor as a name of a user.
 */
static void append_code(const char *text, size_t bytes_max, struct buf *out)
{
    struct buf plain;
    buf_init(&plain, COMMENT_BYTES_MAX);
    phrase_append_text(text, bytes_max, &plain);
    buf_append_char(out, '`');
    for (size_t i = 0; i < plain.length_bytes; i++)
        if (plain.data[i] == '`')
            buf_append_char(out, '\'');
        else if (plain.data[i] == '|')
            buf_append_text(out, "\\|");
        else
            buf_append_char(out, plain.data[i]);
    buf_append_char(out, '`');
    buf_release(&plain);
}

static void append_name(const struct comment *comment, const struct row *row, struct buf *out)
{
    struct buf name;
    buf_init(&name, COMMENT_BYTES_MAX);
    phrase_append_name(row, &comment->names, &name);
    append_code(name.data, COMMENT_BYTES_MAX, out);
    buf_release(&name);
}

static void append_side(const struct row_metric *result, enum compare_side side, struct buf *out)
{
    if (!result->is_known[side]) {
        buf_append_text(out, "-");
        return;
    }
    double half = phrase_half_width(&result->sides[side]);
    phrase_append_value(result->metric, result->value[side], out);
    if (result->metric->how != FACT_COMPARE_COUNTED && isfinite(half))
        buf_appendf(out, " ± %.1f %%", half);
}

static void append_verdict(enum compare_verdict verdict, struct buf *out)
{
    bool is_plain = verdict == COMPARE_SAME || verdict == COMPARE_NEW;
    buf_appendf(out, "%s %s%s%s", compare_verdict_sign(verdict), is_plain ? "" : "**",
                is_plain ? compare_verdict_plain(verdict) : compare_verdict_word(verdict),
                is_plain ? "" : "**");
}

static void append_metric(const struct comment *comment, const struct row *row,
                          const struct row_metric *result, struct buf *out)
{
    const struct fact *fact = fact_of(result->metric->fact);
    buf_append_text(out, "| ");
    append_name(comment, row, out);
    buf_appendf(out, " | %s%s%s%s | ", fact->name, fact->unit[0] != '\0' ? " (" : "", fact->unit,
                fact->unit[0] != '\0' ? ")" : "");
    append_side(result, COMPARE_BASE, out);
    buf_append_text(out, " | ");
    append_side(result, COMPARE_NOW, out);
    buf_append_text(out, " | ");
    phrase_append_percent(result, out);
    buf_append_text(out, " | ");
    phrase_append_interval(result, out);
    buf_append_text(out, " | ");
    append_verdict(result->verdict, out);
    if (result->why[0] != '\0') {
        buf_append_text(out, ": ");
        append_code(result->why, COMPARE_WHY_BYTES, out);
    }
    buf_append_text(out, " |\n");
}

static void append_cell(const struct comment *comment, const struct row *row, struct buf *out)
{
    buf_append_text(out, "| ");
    append_name(comment, row, out);
    buf_append_text(out, " | | | | | | ");
    append_verdict(row->verdict, out);
    if (row->why[0] != '\0') {
        buf_append_text(out, ": ");
        append_code(row->why, COMPARE_WHY_BYTES, out);
    }
    buf_append_text(out, " |\n");
}

/* Whole rows or nothing. */
static void append_or_count(struct comment *comment, const struct buf *row)
{
    struct buf *out = &comment->output->text;
    if (out->length_bytes + row->length_bytes > COMMENT_BYTES_MAX - TAIL_BYTES)
        comment->left_out++;
    else
        buf_append(out, row->data, row->length_bytes);
}

static bool is_changed(enum compare_verdict verdict)
{
    return verdict != COMPARE_SAME && verdict != COMPARE_NEW;
}

static void append_rows(struct comment *comment, bool wants_changed)
{
    struct row row;
    struct buf text;
    buf_init(&text, COMMENT_BYTES_MAX);
    for (size_t r = 0; r < comparison_rows_count(comment->output->comparison); r++) {
        if (!comparison_row(comment->output->comparison, r, &row))
            continue;
        for (size_t i = 0; i < row.metrics_count; i++) {
            const struct row_metric *result = &row.metrics[i];
            bool is_told = wants_changed ? is_changed(result->verdict)
                                         : !is_changed(result->verdict) &&
                                               result->metric->how == FACT_COMPARE_SAMPLED;
            buf_reset(&text);
            if (is_told)
                append_metric(comment, &row, result, &text);
            append_or_count(comment, &text);
        }
        buf_reset(&text);
        if (row.metrics_count == 0 && wants_changed == is_changed(row.verdict))
            append_cell(comment, &row, &text);
        append_or_count(comment, &text);
    }
    buf_release(&text);
}

static void append_head(struct buf *out)
{
    buf_append_text(out, "\n| cell | metric | base | new | change | 95 % interval | verdict |\n"
                         "| --- | --- | --- | --- | --- | --- | --- |\n");
}

static void append_notice(void *context, const char *sentence)
{
    struct comment *comment = context;
    struct buf *out = &comment->output->text;
    if (comment->notices++ == 0)
        buf_append_text(out, "\n<details><summary>Notes</summary>\n\n");
    if (out->length_bytes + NOTICE_BYTES + 64 > COMMENT_BYTES_MAX - TAIL_BYTES / 4)
        return;
    buf_append_text(out, "- ");
    append_code(sentence, NOTICE_BYTES, out);
    buf_append_char(out, '\n');
}

/* No part of an id ends the marker. */
static void append_marker(const char *id, struct buf *out)
{
    buf_append_text(out, "\n<!-- tokmark:");
    for (size_t i = 0; id[i] != '\0' && i < ID_BYTES; i++)
        buf_append_char(out,
                        strchr("<>-", id[i]) != NULL || (unsigned char)id[i] < 0x20 ? '_' : id[i]);
    buf_append_text(out, " -->\n");
}

enum status compare_write_markdown(struct compare_output *output, struct err *err)
{
    const struct compare_summary *summary = comparison_summary(output->comparison);
    struct comment comment = {.output = output};
    struct buf *out = &output->text;
    uint64_t calm = summary->cells[COMPARE_SAME] + summary->cells[COMPARE_NEW];
    phrase_names(output->comparison, &comment.names);
    buf_append_text(out, "### tokmark: ");
    phrase_append_counts(summary, out);
    buf_append_text(out, "\n\n");
    if (output->has_gate) {
        phrase_append_gate(output, out);
        buf_append_text(out, ". ");
    }
    append_code(summary->names[COMPARE_BASE], NOTICE_BYTES, out);
    buf_append_text(out, " → ");
    append_code(summary->names[COMPARE_NOW], NOTICE_BYTES, out);
    if (comment.names.shared[0] != '\0') {
        buf_append_text(out, ", all ");
        append_code(comment.names.shared, NOTICE_BYTES, out);
    }
    buf_append_char(out, '\n');
    if (calm < summary->cells_count) {
        append_head(out);
        append_rows(&comment, true);
    }
    if (calm > 0) {
        buf_appendf(out, "\n<details><summary>%" PRIu64 " cell%s the same or new</summary>\n", calm,
                    calm == 1 ? " is" : "s are");
        append_head(out);
        append_rows(&comment, false);
        buf_append_text(out, "\n</details>\n");
    }
    if (comment.left_out > 0)
        buf_appendf(out, "\nCut: %zu more row%s not shown, a comment has 65,536 characters.\n",
                    comment.left_out, comment.left_out == 1 ? " is" : "s are");
    phrase_notices(output->comparison, append_notice, &comment);
    if (comment.notices > 0)
        buf_append_text(out, "\n</details>\n");
    append_marker(output->comment_id, out);
    return compare_output_flush(output, true, err);
}
