/* report/model.h - what a report says of one or more sets of results, computed once: the current
 * result of each cell, verdicts, warnings, environments. Charts (chart.h), what fits (fits.h) and
 * what has changed (changes.h) are made from it, and the forms (format.h) only write it down.
 *
 * All texts are of one line and printable. What is not known is NaN, or "".
 */
#ifndef REPORT_MODEL_H
#define REPORT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "report/texts.h"
#include "spec/verdict.h"

#define REPORT_SOURCES_MAX 16
/* Some 500 bytes each. */
#define REPORT_RECORDS_MAX ((size_t)2 << 20)

/* What cells are told apart by, in the order in which a report goes through them. */
enum report_key {
    REPORT_KEY_MODEL,
    REPORT_KEY_DEVICE,
    REPORT_KEY_MODE,
    REPORT_KEY_ENGINE,
    REPORT_KEY_PRECISION,
    REPORT_KEY_SOURCE,
    REPORT_KEY_SEQ,
    REPORT_KEY_BATCH,
    REPORT_KEYS_COUNT
};

/* A value with the 95 % interval that its record gives. */
struct report_value {
    double value, low, high;
};

#define REPORT_PARTS_COUNT 7
extern const char *const report_part_words[REPORT_PARTS_COUNT];

/* Who says how much memory was used at most. */
#define REPORT_METERS_COUNT 6
extern const char *const report_meter_words[REPORT_METERS_COUNT];

/* A training of `tokmark stability` beside the results: the loss of each step. */
struct report_curve {
    const char *name; /* borrowed from the report: engine and precision */
    uint32_t source;
    double *losses; /* owned */
    size_t count;
};

/* The current result of a cell in one set: of several trials or runs that with the median time, and
 * intervals that reach over all of theirs. Its texts are borrowed from the report. */
struct report_cell {
    const char *model, *device, *mode, *engine, *precision;
    uint32_t source, seq_len, batch_size;
    uint32_t records_count; /* trials and runs that count */
    enum verdict verdict;
    bool has_result, is_published, is_synthetic;
    const char *reason_code, *reason;       /* why the verdict is not ok */
    const char *warnings;                   /* codes: "drift, machine_slow" */
    const char *samples;                    /* the file of raw samples, beside the results */
    struct report_value tokens_per_sec, ms; /* ms: the median */
    double ms_p99, first_step_ms;
    double peak_mb, predicted_mb, needed_mb, available_mb;
    double parts_mb[REPORT_PARTS_COUNT];
    double loss_first, loss_last, steps, flops_per_sec;
    /* In % of what `tokmark peak` measured, and of the maker's datasheet. */
    double mfu, mfu_datasheet, bandwidth, bandwidth_datasheet;
    double power_w, joules_per_token;
    float memory_mb[REPORT_METERS_COUNT];
    double history_runs, history_ms, history_low, history_high;
};

/* What was said of several cells: a verdict's reason, or a warning. Borrowed from the report. */
struct report_issue {
    const char *code, *text; /* the text is that of the first */
    const char *hint;        /* what helps; "" = not known */
    const char *cells;       /* some of them by name */
    enum verdict verdict;    /* VERDICT_OK: a warning */
    size_t count;
};

struct report_fact {
    const char *name, *value; /* borrowed from the report */
};

/* Texts and facts are borrowed from the report, `path` and `name` from whoever made it. */
struct report_source {
    const char *path, *name;
    uint64_t records_count, notes_count;
    const char *first_note;
    const char *first_started, *last_started; /* UTC */
    size_t cells_count, synthetic_count, environments_count;
    const char *environment_id; /* of the first record */
    struct report_fact *facts;  /* owned; of its environment */
    size_t facts_count;
};

struct report {
    struct report_texts texts;
    struct report_source sources[REPORT_SOURCES_MAX];
    size_t sources_count;
    struct report_cell *cells; /* owned; sorted by the keys */
    size_t cells_count;
    struct report_issue *issues; /* owned; failures first, then by count */
    size_t issues_count;
    struct report_curve *curves; /* owned; of the newest call of each set */
    size_t curves_count;
    size_t verdicts[VERDICT_COUNT]; /* cells of each */
    size_t synthetic_count, warned_count, results_count;
    bool is_varied[REPORT_KEYS_COUNT]; /* do cells differ in it? */
};

/* Reads all of them. `paths`: what a reader opens, or "-", once; `names`: what they are called.
 * Both are borrowed for the report's life.
 * STATUS_NOT_FOUND: one is not there; STATUS_LIMIT: more than REPORT_RECORDS_MAX. */
MUST_CHECK enum status report_new(const char *const *paths, const char *const *names,
                                  size_t sources_count, struct report **ret_report,
                                  struct err *err);
void report_free(struct report *report);

/* How near to the peak: of decode the share of the bandwidth, of others that of the arithmetic; in
 * % of the measured peak, or else of the datasheet's. NaN: not known. */
double report_share_of_peak(const struct report_cell *cell);

/* By one key, and by all of them. */
int report_cell_compare(const struct report_cell *a, const struct report_cell *b,
                        enum report_key key);
/* "train native fp32 seq 128 batch 4": the keys of `keys` (bits), or those that vary in the report
 * and always mode and shape. */
void report_cell_name(const struct report *report, const struct report_cell *cell, unsigned keys,
                      struct buf *out);
/* The keys that name a cell apart. */
unsigned report_name_keys(const struct report *report);

#endif
