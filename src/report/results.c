/* The table of all cells. */
#include <math.h>

#include "report/document.h"

/* A page with more is slow to open. */
#define RESULTS_MAX ((size_t)20000)

enum result_column {
    RESULT_SOURCE,
    RESULT_ENGINE,
    RESULT_MODEL,
    RESULT_DEVICE,
    RESULT_MODE,
    RESULT_PRECISION,
    RESULT_SEQ,
    RESULT_BATCH,
    RESULT_VERDICT,
    RESULT_THROUGHPUT,
    RESULT_MEDIAN,
    RESULT_P99,
    RESULT_MEMORY,
    RESULT_MFU,
    RESULT_BANDWIDTH,
    RESULT_ENERGY,
    RESULT_LOSS,
    RESULT_RECORDS,
    RESULT_REMARKS,
    RESULT_SAMPLES,
    RESULT_COLUMNS_COUNT
};

static const struct column all[RESULT_COLUMNS_COUNT] = {
    [RESULT_SOURCE] = {"results", "", false, 7},
    [RESULT_ENGINE] = {"engine", "", false, 8},
    [RESULT_MODEL] = {"model", "", false, 9},
    [RESULT_DEVICE] = {"device", "", false, 6},
    [RESULT_MODE] = {"mode", "", false, 0},
    [RESULT_PRECISION] = {"precision", "", false, 0},
    [RESULT_SEQ] = {"seq", "", true, 0},
    [RESULT_BATCH] = {"batch", "", true, 0},
    [RESULT_VERDICT] = {"verdict", "", false, 0},
    [RESULT_THROUGHPUT] = {"throughput", "tokens/s", true, 0},
    [RESULT_MEDIAN] = {"median", "ms", true, 5},
    [RESULT_P99] = {"p99", "ms", true, 13},
    [RESULT_MEMORY] = {"memory", "MiB", true, 4},
    [RESULT_MFU] = {"MFU", "%", true, 10},
    [RESULT_BANDWIDTH] = {"bandwidth", "%", true, 11},
    [RESULT_ENERGY] = {"energy", "mJ/token", true, 12},
    [RESULT_LOSS] = {"loss", "", true, 14},
    [RESULT_RECORDS] = {"records", "", true, 16},
    [RESULT_REMARKS] = {"remarks", "", false, 3},
    [RESULT_SAMPLES] = {"raw samples", "", false, 15},
};

/* Of the measured peak; of the datasheet's where there is none. */
static double mfu_of(const struct report_cell *cell)
{
    return isfinite(cell->mfu) ? cell->mfu : cell->mfu_datasheet;
}

static double bandwidth_of(const struct report_cell *cell)
{
    return isfinite(cell->bandwidth) ? cell->bandwidth : cell->bandwidth_datasheet;
}

static double energy_of(const struct report_cell *cell)
{
    return 1e3 * cell->joules_per_token;
}

static bool is_known(const struct report *report, double value_of(const struct report_cell *cell))
{
    for (size_t i = 0; i < report->cells_count; i++)
        if (isfinite(value_of(&report->cells[i])))
            return true;
    return false;
}

/* What all cells have in common stands at the report's start; what none has needs no column. */
static bool is_shown(const struct report *report, enum result_column column)
{
    static const struct {
        enum result_column column;
        enum report_key key;
    } varied[] = {{RESULT_SOURCE, REPORT_KEY_SOURCE},
                  {RESULT_ENGINE, REPORT_KEY_ENGINE},
                  {RESULT_MODEL, REPORT_KEY_MODEL},
                  {RESULT_DEVICE, REPORT_KEY_DEVICE}};
    for (size_t i = 0; i < ARRAY_COUNT(varied); i++)
        if (varied[i].column == column)
            return report->is_varied[varied[i].key];
    if (column == RESULT_MFU)
        return is_known(report, mfu_of);
    if (column == RESULT_BANDWIDTH)
        return is_known(report, bandwidth_of);
    return column != RESULT_ENERGY || is_known(report, energy_of);
}

static const char *remarks_of(struct document *document, const struct report_cell *cell)
{
    if (cell->verdict == VERDICT_OK || cell->reason_code[0] == '\0')
        return cell->warnings;
    return texts_keepf(&document->report->texts, "%s%s%s", cell->reason_code,
                       cell->warnings[0] != '\0' ? ", " : "", cell->warnings);
}

static void put(struct document *document, const struct report_cell *cell,
                enum result_column column)
{
    switch (column) {
    case RESULT_SOURCE:
        document_cell(document, document->report->sources[cell->source].name);
        break;
    case RESULT_ENGINE: document_cell(document, cell->engine); break;
    case RESULT_MODEL: document_cell(document, cell->model); break;
    case RESULT_DEVICE: document_cell(document, cell->device); break;
    case RESULT_MODE: document_cell(document, cell->mode); break;
    case RESULT_PRECISION: document_cell(document, cell->precision); break;
    case RESULT_SEQ: document_number(document, cell->seq_len); break;
    case RESULT_BATCH: document_number(document, cell->batch_size); break;
    case RESULT_VERDICT: document_verdict(document, cell->verdict); break;
    case RESULT_THROUGHPUT: document_value(document, &cell->tokens_per_sec); break;
    case RESULT_MEDIAN: document_value(document, &cell->ms); break;
    case RESULT_P99: document_number(document, cell->ms_p99); break;
    case RESULT_MEMORY:
        document_number(document, isnan(cell->peak_mb) ? cell->predicted_mb : cell->peak_mb);
        break;
    case RESULT_MFU: document_number(document, mfu_of(cell)); break;
    case RESULT_BANDWIDTH: document_number(document, bandwidth_of(cell)); break;
    case RESULT_ENERGY: document_number(document, energy_of(cell)); break;
    case RESULT_LOSS: document_number(document, cell->loss_last); break;
    case RESULT_RECORDS: document_number(document, cell->records_count); break;
    case RESULT_REMARKS: document_cell(document, remarks_of(document, cell)); break;
    case RESULT_SAMPLES:
        document_cell(document, cell->samples)->samples = cell->samples[0] != '\0' ? cell : NULL;
        break;
    case RESULT_COLUMNS_COUNT: break;
    }
}

static void add_left_out(struct document *document)
{
    size_t count = document->report->cells_count;
    if (count > RESULTS_MAX)
        document_text(document,
                      "Thinned: the table has the first %zu of %zu cells. `tokmark cat` "
                      "prints all.",
                      RESULTS_MAX, count);
    if (document->charts.thinned_count > 0)
        document_text(document, "Thinned: charts leave out %zu points of long series.",
                      document->charts.thinned_count);
    if (document->charts.left_out > 0)
        document_text(document, "Left out: %zu charts, of which there are too many of a kind.",
                      document->charts.left_out);
}

void document_add_results(struct document *document)
{
    const struct report *report = document->report;
    struct column columns[RESULT_COLUMNS_COUNT];
    enum result_column shown[RESULT_COLUMNS_COUNT];
    size_t count = 0;
    if (report->cells_count == 0)
        return;
    for (enum result_column column = 0; column < RESULT_COLUMNS_COUNT; column++) {
        if (!is_shown(report, column))
            continue;
        shown[count] = column;
        columns[count++] = all[column];
    }
    document_section(document, "results", "All results");
    document_table(document, "all", "One line for each cell", false, columns, count);
    for (size_t i = 0; i < report->cells_count && i < RESULTS_MAX; i++)
        for (size_t c = 0; c < count; c++)
            put(document, &report->cells[i], shown[c]);
    add_left_out(document);
}
