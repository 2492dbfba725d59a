/* JUnit XML, a test case a cell: WORSE is a failure, what the gate does not let pass otherwise an
 * error, and without a gate what says nothing is skipped. */
#include <inttypes.h>

#include "compare/phrase.h"

#define NAME_BYTES_MAX 2048

/* XML 1.0 has no control characters but these three; phrase_append_text() made them spaces. */
static void append_escaped(const struct buf *text, struct buf *out)
{
    for (size_t i = 0; i < text->length_bytes; i++)
        switch (text->data[i]) {
        case '<': buf_append_text(out, "&lt;"); break;
        case '>': buf_append_text(out, "&gt;"); break;
        case '&': buf_append_text(out, "&amp;"); break;
        case '"': buf_append_text(out, "&quot;"); break;
        default: buf_append_char(out, text->data[i]);
        }
}

/* U+FFFE and U+FFFF are UTF-8 but no characters of XML. */
static void drop_non_characters(struct buf *text)
{
    for (size_t i = 0; i + 2 < text->length_bytes; i++)
        if ((unsigned char)text->data[i] == 0xef && (unsigned char)text->data[i + 1] == 0xbf &&
            (unsigned char)text->data[i + 2] >= 0xbe)
            text->data[i + 2] = (char)0xbd; /* U+FFFD */
}

static void append_clean(const char *text, struct buf *out)
{
    struct buf plain;
    buf_init(&plain, 2 * NAME_BYTES_MAX);
    phrase_append_text(text, NAME_BYTES_MAX, &plain);
    drop_non_characters(&plain);
    append_escaped(&plain, out);
    buf_release(&plain);
}

static const char *outcome_of(enum compare_verdict verdict, bool has_gate, bool is_lenient)
{
    switch (verdict) {
    case COMPARE_WORSE: return "failure";
    case COMPARE_NOT_COMPARABLE:
    case COMPARE_MISSING: return has_gate ? "error" : "skipped";
    case COMPARE_UNDECIDED: return has_gate && !is_lenient ? "error" : "skipped";
    case COMPARE_BETTER:
    case COMPARE_SAME:
    case COMPARE_NEW:
    case COMPARE_VERDICTS_COUNT: break;
    }
    return NULL;
}

/* "WORSE: ms_p50 426.3 -> 440.1 (+3.24 %, +2.10 to +4.40 %)" */
static void append_message(const struct row *row, struct buf *out)
{
    buf_append_text(out, compare_verdict_word(row->verdict));
    if (row->why[0] != '\0')
        buf_appendf(out, ": %s", row->why);
    for (size_t i = 0; i < row->metrics_count; i++) {
        const struct row_metric *result = &row->metrics[i];
        if (result->verdict != row->verdict || !result->is_known[COMPARE_NOW])
            continue;
        buf_appendf(out, "; %s ", fact_of(result->metric->fact)->name);
        phrase_append_value(result->metric, result->value[COMPARE_BASE], out);
        buf_append_text(out, " -> ");
        phrase_append_value(result->metric, result->value[COMPARE_NOW], out);
        buf_append_text(out, " (");
        phrase_append_percent(result, out);
        buf_append_text(out, ", ");
        phrase_append_interval(result, out);
        buf_append_char(out, ')');
    }
}

static void append_case(const struct compare_output *output, const struct row *row, struct buf *out)
{
    struct buf text;
    const char *outcome = outcome_of(row->verdict, output->has_gate, output->is_lenient);
    buf_init(&text, 4 * NAME_BYTES_MAX);
    buf_append_text(out, "<testcase classname=\"");
    append_clean(row->names[ROW_ENGINE][0] != '\0' ? row->names[ROW_ENGINE] : "tokmark", out);
    buf_append_text(out, "\" name=\"");
    phrase_append_name(row, NULL, &text);
    append_clean(text.data, out);
    buf_append_text(out, outcome == NULL ? "\"/>\n" : "\">");
    if (outcome != NULL) {
        buf_reset(&text);
        append_message(row, &text);
        buf_appendf(out, "<%s message=\"", outcome);
        append_clean(text.data, out);
        buf_append_text(out, "\"/></testcase>\n");
    }
    buf_release(&text);
}

enum status compare_write_junit(struct compare_output *output, struct err *err)
{
    const struct compare_summary *summary = comparison_summary(output->comparison);
    struct buf *out = &output->text;
    struct row row;
    uint64_t undecided = summary->cells[COMPARE_UNDECIDED];
    uint64_t others = summary->cells[COMPARE_MISSING] + summary->cells[COMPARE_NOT_COMPARABLE];
    bool is_error = output->has_gate;
    uint64_t errors = is_error ? others + (output->is_lenient ? 0 : undecided) : 0;
    bool is_empty = output->has_gate && summary->metrics_count == 0 && errors == 0 &&
                    summary->cells[COMPARE_WORSE] == 0;
    buf_append_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    buf_appendf(out,
                "<testsuite name=\"tokmark compare\" tests=\"%" PRIu64 "\" failures=\"%" PRIu64
                "\" errors=\"%" PRIu64 "\" skipped=\"%" PRIu64 "\">\n",
                summary->cells_count + is_empty, summary->cells[COMPARE_WORSE], errors + is_empty,
                others + undecided - errors);
    if (is_empty)
        buf_append_text(out, "<testcase classname=\"tokmark\" name=\"gate\"><error message=\""
                             "nothing was compared\"/></testcase>\n");
    enum status status = STATUS_OK;
    for (size_t r = 0; status == STATUS_OK && r < comparison_rows_count(output->comparison); r++)
        if (comparison_row(output->comparison, r, &row)) {
            append_case(output, &row, out);
            status = compare_output_flush(output, false, err);
        }
    buf_append_text(out, "</testsuite>\n</testsuites>\n");
    return status == STATUS_OK ? compare_output_flush(output, true, err) : status;
}
