#include "report/changes.h"

#include <math.h>
#include <stdlib.h>

#include "compare/phrase.h"

#define TEXT_BYTES ((size_t)2048)

struct changes_work { /* all is borrowed but the text */
    struct report *report;
    struct changes_set *set;
    const struct comparison *comparison;
    struct phrase_names names;
    struct buf text;
};

/* What was written into the work's text, kept; the text is empty again. */
static const char *keep(struct changes_work *work)
{
    const char *kept = texts_keep(&work->report->texts, work->text.data);
    buf_reset(&work->text);
    return kept;
}

static const char *keep_side(struct changes_work *work, const struct row_metric *result,
                             enum compare_side side)
{
    double half = phrase_half_width(&result->sides[side]);
    if (!result->is_known[side])
        return "";
    phrase_append_value(result->metric, result->value[side], &work->text);
    if (result->metric->how != FACT_COMPARE_COUNTED && isfinite(half))
        buf_appendf(&work->text, " ± %.1f %%", half);
    return keep(work);
}

static struct changes_row *next_row(struct changes_work *work, enum compare_verdict verdict,
                                    const struct row *row, const char *why)
{
    if (work->set->rows_count == CHANGES_ROWS_MAX) {
        work->set->left_out++;
        return NULL;
    }
    struct changes_row *next = &work->set->rows[work->set->rows_count++];
    phrase_append_name(row, &work->names, &work->text);
    *next = (struct changes_row){.verdict = verdict,
                                 .cell = keep(work),
                                 .metric = "",
                                 .base = "",
                                 .now = "",
                                 .change = "",
                                 .interval = "",
                                 .why = texts_keep(&work->report->texts, why)};
    return next;
}

static void put_metric(struct changes_work *work, const struct row *row,
                       const struct row_metric *result)
{
    const struct fact *fact = fact_of(result->metric->fact);
    struct changes_row *next = next_row(work, result->verdict, row, result->why);
    if (next == NULL)
        return;
    next->metric = texts_keepf(&work->report->texts, "%s%s%s", fact->name,
                               fact->unit[0] != '\0' ? ", " : "", fact->unit);
    next->base = keep_side(work, result, COMPARE_BASE);
    next->now = keep_side(work, result, COMPARE_NOW);
    phrase_append_percent(result, &work->text);
    next->change = keep(work);
    phrase_append_interval(result, &work->text);
    next->interval = keep(work);
}

static void put_rows(struct changes_work *work, enum compare_verdict verdict)
{
    for (size_t r = 0; r < comparison_rows_count(work->comparison); r++) {
        struct row row;
        if (!comparison_row(work->comparison, r, &row))
            continue;
        for (size_t i = 0; i < row.metrics_count; i++)
            if (row.metrics[i].verdict == verdict)
                put_metric(work, &row, &row.metrics[i]);
        if (row.metrics_count == 0 && row.verdict == verdict)
            (void)next_row(work, verdict, &row, row.why);
    }
}

static void take_notice(void *context, const char *sentence)
{
    struct changes_work *work = context;
    if (work->set->notices_count < CHANGES_NOTICES_MAX)
        work->set->notices[work->set->notices_count++] = texts_keep(&work->report->texts, sentence);
}

static enum status describe(struct report *report, const struct comparison *comparison,
                            struct changes_set *set, struct err *err)
{
    struct changes_work work = {.report = report, .set = set, .comparison = comparison};
    const struct compare_summary *summary = comparison_summary(comparison);
    set->rows = calloc(CHANGES_ROWS_MAX, sizeof(*set->rows));
    if (set->rows == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for what has changed");
    buf_init(&work.text, TEXT_BYTES);
    phrase_names(comparison, &work.names);
    for (enum compare_verdict verdict = 0; verdict < COMPARE_VERDICTS_COUNT; verdict++) {
        set->counts[verdict] = summary->cells[verdict];
        if (verdict != COMPARE_SAME)
            put_rows(&work, verdict);
    }
    phrase_append_counts(summary, &work.text);
    set->summary = keep(&work);
    phrase_notices(comparison, take_notice, &work);
    buf_release(&work.text);
    return STATUS_OK;
}

static enum status compare_with(struct report *report, uint32_t source, struct changes_set *set,
                                struct err *err)
{
    struct comparison_options options = {.includes_sandbox = true};
    struct comparison *comparison = NULL;
    const struct report_source *base = &report->sources[0];
    const struct report_source *now = &report->sources[source];
    enum status status = metrics_choose(NULL, 0, 0, &options.metrics, err);
    if (status == STATUS_OK)
        status = comparison_new(&options, &comparison, err);
    if (status == STATUS_OK)
        status = comparison_read(comparison, COMPARE_BASE, base->path, base->name, err);
    if (status == STATUS_OK)
        status = comparison_read(comparison, COMPARE_NOW, now->path, now->name, err);
    if (status == STATUS_OK)
        status = comparison_decide(comparison, err);
    set->source = source;
    if (status == STATUS_OK)
        status = describe(report, comparison, set, err);
    comparison_free(comparison);
    return status;
}

/* --- earlier runs --- */

double changes_percent(const struct report_cell *cell)
{
    return 100 * (cell->ms.value / cell->history_ms - 1);
}

static void find_earlier(const struct report *report, struct report_changes *changes)
{
    for (size_t i = 0; i < report->cells_count; i++) {
        const struct report_cell *cell = &report->cells[i];
        if (!(cell->history_runs > 1) || !(cell->history_ms > 0) || !(cell->ms.value > 0))
            continue;
        double distance = fabs(log(cell->ms.value / cell->history_ms));
        size_t at = changes->earlier_count;
        if (at == CHANGES_EARLIER_MAX) {
            const struct report_cell *last = changes->earlier[--at];
            changes->earlier_left_out++;
            if (fabs(log(last->ms.value / last->history_ms)) >= distance)
                continue;
        } else {
            changes->earlier_count++;
        }
        for (; at > 0; at--) {
            const struct report_cell *before = changes->earlier[at - 1];
            if (fabs(log(before->ms.value / before->history_ms)) >= distance)
                break;
            changes->earlier[at] = before;
        }
        changes->earlier[at] = cell;
    }
}

enum status changes_make(struct report *report, struct report_changes *changes, struct err *err)
{
    find_earlier(report, changes);
    for (uint32_t source = 1; source < report->sources_count; source++)
        TRY(compare_with(report, source, &changes->sets[changes->sets_count++], err));
    return report->texts.failed ? ERR(err, STATUS_NOMEM, "no memory for what has changed")
                                : STATUS_OK;
}

void changes_release(struct report_changes *changes)
{
    for (size_t i = 0; i < changes->sets_count; i++)
        free(changes->sets[i].rows);
    *changes = (struct report_changes){0};
}
