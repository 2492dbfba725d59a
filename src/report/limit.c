/* How far from the machine's limit: share of its peaks, arithmetic that was achieved, energy. */
#include <math.h>

#include "report/best.h"
#include "report/document.h"

static double saving(const struct report_cell *cell)
{
    return cell->joules_per_token > 0 ? 1 / cell->joules_per_token : NAN;
}

static double arithmetic(const struct report_cell *cell)
{
    return cell->flops_per_sec;
}

static size_t add_shares(struct document *document)
{
    static const struct column columns[] = {{"cell", "", false, 0},
                                            {"MFU", "%", true, 0},
                                            {"MFU of datasheet", "%", true, 2},
                                            {"bandwidth", "%", true, 0},
                                            {"bandwidth of datasheet", "%", true, 3}};
    const struct report_cell *best[BEST_ROWS_MAX];
    size_t count = best_find(document->report, report_share_of_peak, best);
    if (count == 0)
        return 0;
    document_text(document, "MFU is the model's operations over the mean time, of the best matmul "
                            "that `tokmark peak` has seen on the device in this precision; "
                            "bandwidth the bytes that a decode step has to read, of the best read. "
                            "Decode is bound by memory: its MFU is far below.");
    document_table(document, "shares", "The nearest to the peak of each mode, engine and precision",
                   false, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < count; i++) {
        document_cell(document, document_cell_name(document, best[i]));
        document_number(document, best[i]->mfu);
        document_number(document, best[i]->mfu_datasheet);
        document_number(document, best[i]->bandwidth);
        document_number(document, best[i]->bandwidth_datasheet);
    }
    return count;
}

static size_t add_achieved(struct document *document)
{
    static const struct column columns[] = {{"cell", "", false, 0},
                                            {"achieved", "GFLOP/s", true, 0},
                                            {"of the report's best", "%", true, 0}};
    const struct report_cell *best[BEST_ROWS_MAX];
    size_t count = best_find(document->report, arithmetic, best);
    if (count == 0)
        return 0;
    document_table(document, "achieved", "The most arithmetic of each mode, engine and precision",
                   false, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < count; i++) {
        double most = 0;
        for (size_t other = 0; other < count; other++)
            if (report_cell_compare(best[i], best[other], REPORT_KEY_DEVICE) == 0)
                most = fmax(most, best[other]->flops_per_sec);
        document_cell(document, document_cell_name(document, best[i]));
        document_number(document, best[i]->flops_per_sec / 1e9);
        document_number(document, 100 * best[i]->flops_per_sec / most);
    }
    return count;
}

static void add_energy(struct document *document)
{
    static const struct column columns[] = {{"cell", "", false, 0},
                                            {"energy", "mJ/token", true, 0},
                                            {"power", "W", true, 1},
                                            {"per joule", "tokens", true, 2}};
    const struct report_cell *best[BEST_ROWS_MAX];
    size_t count = best_find(document->report, saving, best);
    if (count == 0)
        return;
    document_text(document, "Energy is that of the card, or of the processor's package, from the "
                            "first measured block to the last, idle power included.");
    document_table(document, "energy",
                   "The least energy a token of each mode, engine and precision", false, columns,
                   ARRAY_COUNT(columns));
    for (size_t i = 0; i < count; i++) {
        document_cell(document, document_cell_name(document, best[i]));
        document_number(document, 1e3 * best[i]->joules_per_token);
        document_number(document, best[i]->power_w);
        document_number(document, saving(best[i]));
    }
}

void document_add_limit(struct document *document)
{
    if (document->report->cells_count == 0)
        return;
    document_section(document, report_section_id(REPORT_SECTION_LIMIT),
                     report_section_title(REPORT_SECTION_LIMIT));
    bool has_peak = add_shares(document) > 0;
    if (!has_peak)
        document_text(document,
                      "These records hold no measured peak of the machine (`tokmark peak` measures "
                      "it), so this is what was achieved: operations counted from the model over "
                      "the median time. The best of a device is a lower bound of what it can do; "
                      "decode is bound by memory, so its numbers are far below.");
    if (add_achieved(document) == 0 && !has_peak)
        document_text(document, "These records do not say how many operations a step has.");
    add_energy(document);
    document_charts(document, REPORT_SECTION_LIMIT);
}
