/* The first and the third question: what these results are, and whether they can be trusted. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "report/document.h"

#define FASTEST_MAX 6

const char *document_cell_name(struct document *document, const struct report_cell *cell)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXTS_BYTES_MAX);
    report_cell_name(document->report, cell, report_name_keys(document->report), &text);
    return texts_keep(&document->report->texts, text.data);
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* --- at a glance --- */

static void add_alarm(struct document *document)
{
    const struct report *report = document->report;
    if (report->synthetic_count == 0)
        return;
    document_alarm(document, "SYNTHETIC",
                   texts_keepf(&document->report->texts,
                               "%s of the results here were made up by the sandbox engine. Nothing "
                               "was run, so they say nothing about any machine.",
                               report->synthetic_count == report->cells_count ? "All" : "Some"));
}

/* "ok" first, then the others with how many there are. */
static void add_verdicts(struct document *document)
{
    const struct report *report = document->report;
    struct report_texts *texts = &document->report->texts;
    struct buf others CLEANUP(buf_release) = {0};
    buf_init(&others, TEXTS_BYTES_MAX);
    for (enum verdict verdict = VERDICT_UNSTEADY; verdict < VERDICT_COUNT; verdict++)
        if (report->verdicts[verdict] > 0)
            buf_appendf(&others, "%s%zu %s", others.length_bytes > 0 ? ", " : "",
                        report->verdicts[verdict], verdict_name(verdict));
    bool is_all = report->verdicts[VERDICT_OK] == report->cells_count;
    document_item(
        document, "Verdicts",
        texts_keepf(texts, "%zu of %zu ok", report->verdicts[VERDICT_OK], report->cells_count),
        is_all ? "every cell gave a valid result" : texts_keep(texts, others.data),
        is_all                                         ? TONE_GOOD
        : report->results_count == report->cells_count ? TONE_WARN
                                                       : TONE_BAD);
    document_item(document, "Warnings",
                  report->warned_count == 0 ? "none"
                                            : texts_keepf(texts, "%zu cell%s", report->warned_count,
                                                          plural(report->warned_count)),
                  report->warned_count == 0 ? "nothing is known to have disturbed the results"
                                            : "something may have disturbed them",
                  report->warned_count == 0 ? TONE_GOOD : TONE_WARN);
}

static const char *fact_value(const struct report_source *source, const char *name)
{
    for (size_t i = 0; i < source->facts_count; i++)
        if (strcmp(source->facts[i].name, name) == 0)
            return source->facts[i].value;
    return "";
}

static void add_machine(struct document *document)
{
    const struct report_source *source = &document->report->sources[0];
    const char *processor = fact_value(source, "cpu.model");
    const char *cpus = fact_value(source, "cpu.cpus_usable");
    const char *memory = fact_value(source, "memory.total_bytes");
    const char *kernel = fact_value(source, "system.kernel");
    size_t environments = 0;
    for (size_t i = 0; i < document->report->sources_count; i++)
        environments += document->report->sources[i].environments_count;
    if (source->facts_count == 0)
        document_item(document, "Machine", "not recorded",
                      "the records do not say where they are from", TONE_PLAIN);
    else
        document_item(document, environments > 1 ? "Machine of the first results" : "Machine",
                      processor[0] != '\0' ? processor : "of an unknown processor",
                      texts_keepf(&document->report->texts, "%s CPUs, %s of memory%s%s",
                                  cpus[0] != '\0' ? cpus : "?", memory[0] != '\0' ? memory : "?",
                                  kernel[0] != '\0' ? "; Linux " : "", kernel),
                      TONE_PLAIN);
}

static bool is_faster(const struct report_cell *cell, const struct report_cell *best)
{
    return cell->has_result && isfinite(cell->tokens_per_sec.value) &&
           (best == NULL || cell->tokens_per_sec.value > best->tokens_per_sec.value);
}

/* The fastest of each model, device and mode. */
static void add_fastest(struct document *document)
{
    const struct report *report = document->report;
    size_t shown = 0;
    for (size_t i = 0; i < report->cells_count && shown < FASTEST_MAX;) {
        const struct report_cell *first = &report->cells[i];
        const struct report_cell *best = NULL;
        for (; i < report->cells_count &&
               report_cell_compare(first, &report->cells[i], REPORT_KEY_MODEL) == 0 &&
               report_cell_compare(first, &report->cells[i], REPORT_KEY_DEVICE) == 0 &&
               report_cell_compare(first, &report->cells[i], REPORT_KEY_MODE) == 0;
             i++)
            best = is_faster(&report->cells[i], best) ? &report->cells[i] : best;
        if (best == NULL)
            continue;
        struct buf value CLEANUP(buf_release) = {0};
        struct buf label CLEANUP(buf_release) = {0};
        buf_init(&value, TEXTS_BYTES_MAX);
        buf_init(&label, TEXTS_BYTES_MAX);
        num_append_short(best->tokens_per_sec.value, &value);
        buf_append_text(&value, " tokens/s");
        buf_append_text(&label, "Fastest ");
        unsigned keys = 1U << REPORT_KEY_MODE;
        for (enum report_key key = REPORT_KEY_MODEL; key <= REPORT_KEY_DEVICE; key++)
            keys |= (unsigned)report->is_varied[key] << key;
        report_cell_name(report, best, keys, &label);
        document_item(document, texts_keep(&document->report->texts, label.data),
                      texts_keep(&document->report->texts, value.data),
                      document_cell_name(document, best), TONE_PLAIN);
        shown++;
    }
}

static void add_sources(struct document *document)
{
    const struct report *report = document->report;
    static const struct column columns[] = {
        {"results", "", false, 0},  {"cells", "", true, 0},    {"records", "", true, 4},
        {"first", "UTC", false, 3}, {"last", "UTC", false, 2}, {"environments", "", true, 1},
        {"processor", "", false, 0}};
    if (report->sources_count < 2)
        return;
    document_table(document, "sources", "Sets of results", false, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < report->sources_count; i++) {
        const struct report_source *source = &report->sources[i];
        document_cell(document, source->name);
        document_number(document, (double)source->cells_count);
        document_number(document, (double)source->records_count);
        document_cell(document, source->first_started);
        document_cell(document, source->last_started);
        document_number(document, (double)source->environments_count);
        document_cell(document, fact_value(source, "cpu.model"));
    }
}

/* What all cells have in common stands once, and not in every name. */
static void add_shared(struct document *document)
{
    const struct report *report = document->report;
    const struct report_cell *cell = &report->cells[0];
    const struct {
        const char *word, *value;
        enum report_key key;
    } parts[] = {{"engine", cell->engine, REPORT_KEY_ENGINE},
                 {"model", cell->model, REPORT_KEY_MODEL},
                 {"device", cell->device, REPORT_KEY_DEVICE},
                 {"precision", cell->precision, REPORT_KEY_PRECISION}};
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXTS_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        if (!report->is_varied[parts[i].key] && parts[i].value[0] != '\0')
            buf_appendf(&text, "%s%s %s",
                        text.length_bytes > 0 ? ", " : "All of them: ", parts[i].word,
                        parts[i].value);
    if (text.length_bytes > 0)
        document_text(document, "%s.", text.data);
}

void document_add_glance(struct document *document)
{
    struct report *report = document->report;
    const struct report_source *source = &report->sources[0];
    const char *first = "";
    const char *last = "";
    for (size_t i = 0; i < report->sources_count; i++) {
        const struct report_source *one = &report->sources[i];
        if (one->first_started[0] != '\0' &&
            (first[0] == '\0' || strcmp(one->first_started, first) < 0))
            first = one->first_started;
        if (strcmp(one->last_started, last) > 0)
            last = one->last_started;
    }
    document->title = report->sources_count == 1
                          ? source->name
                          : texts_keepf(&report->texts, "%s and %zu more", source->name,
                                        report->sources_count - 1);
    add_alarm(document);
    document_section(document, "glance", "At a glance");
    uint64_t records = 0;
    for (size_t i = 0; i < report->sources_count; i++)
        records += report->sources[i].records_count;
    if (report->cells_count == 0) {
        document_text(document, "There are no results here: no record was found.");
        return;
    }
    document_text(document, "%zu cell%s from %" PRIu64 " record%s%s%s%s%s%s.", report->cells_count,
                  plural(report->cells_count), records, plural((size_t)records),
                  first[0] != '\0' ? ", measured " : "", first,
                  strcmp(first, last) != 0 ? " to " : "", strcmp(first, last) != 0 ? last : "",
                  first[0] != '\0' ? " UTC" : "");
    add_shared(document);
    document_list(document, BLOCK_CARDS, "", false);
    add_verdicts(document);
    add_fastest(document);
    add_machine(document);
    add_sources(document);
}

/* --- trust --- */

static void add_issues(struct document *document)
{
    const struct report *report = document->report;
    static const struct column columns[] = {
        {"verdict", "", false, 0},     {"why", "", false, 0},     {"cells", "", true, 0},
        {"for example", "", false, 2}, {"it says", "", false, 3}, {"what helps", "", false, 1}};
    if (report->issues_count == 0)
        return;
    document_table(document, "issues", "What is wrong, or may have disturbed results", true,
                   columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < report->issues_count; i++) {
        const struct report_issue *issue = &report->issues[i];
        if (issue->verdict == VERDICT_OK)
            document_cell(document, "warning")->tone = TONE_WARN;
        else
            document_verdict(document, issue->verdict);
        document_cell(document, issue->code);
        document_number(document, (double)issue->count);
        document_cell(document, issue->cells);
        document_cell(document, issue->text);
        document_cell(document, issue->hint);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

static double half_percent(const struct report_cell *cell)
{
    return cell->has_result ? 50 * (cell->ms.high - cell->ms.low) / cell->ms.value : NAN;
}

static void add_precision(struct document *document)
{
    const struct report *report = document->report;
    double *halves = calloc(report->cells_count, sizeof(*halves));
    const struct report_cell *widest = NULL;
    size_t count = 0;
    document->failed |= halves == NULL;
    for (size_t i = 0; halves != NULL && i < report->cells_count; i++) {
        double half = half_percent(&report->cells[i]);
        if (!isfinite(half))
            continue;
        halves[count++] = half;
        if (widest == NULL || half > half_percent(widest))
            widest = &report->cells[i];
    }
    if (count > 0) {
        qsort(halves, count, sizeof(*halves), compare_doubles);
        document_text(document,
                      "The 95 %% interval of a cell's median time is ±%.2g %% in the middle one of "
                      "%zu cells and ±%.2g %% in the widest (%.300s). Differences smaller than "
                      "that are not certain; another run may differ by more (docs/metrics.md, the "
                      "next run).",
                      halves[(count - 1) / 2], count, halves[count - 1],
                      document_cell_name(document, widest));
    }
    free(halves);
}

static void add_environments(struct document *document)
{
    const struct report *report = document->report;
    for (size_t i = 0; i < report->sources_count; i++) {
        const struct report_source *source = &report->sources[i];
        if (source->notes_count > 0)
            document_text(document, "%" PRIu64 " line%s no record%s: %.900s", source->notes_count,
                          source->notes_count == 1 ? " was" : "s were",
                          source->notes_count == 1 ? "" : "s; the first", source->first_note);
        if (source->environments_count > 1)
            document_text(document,
                          "%.300s holds results of %zu environments: machines, builds or settings "
                          "that differ. Compare them with care.",
                          source->name, source->environments_count);
        if (source->facts_count == 0)
            continue;
        document_list(document, BLOCK_FACTS,
                      texts_keepf(&document->report->texts, "Environment %s%s%s",
                                  source->environment_id, report->sources_count > 1 ? " of " : "",
                                  report->sources_count > 1 ? source->name : ""),
                      true);
        for (size_t f = 0; f < source->facts_count; f++)
            document_item(document, source->facts[f].name, source->facts[f].value, "", TONE_PLAIN);
    }
}

void document_add_trust(struct document *document)
{
    const struct report *report = document->report;
    if (report->cells_count == 0)
        return;
    document_section(document, report_section_id(REPORT_SECTION_TRUST),
                     report_section_title(REPORT_SECTION_TRUST));
    if (report->issues_count == 0)
        document_text(document, "Every cell is ok, and none has a warning.");
    add_precision(document);
    add_issues(document);
    add_environments(document);
    document_charts(document, REPORT_SECTION_TRUST);
}
