/* hud/board.h - what is known of a results folder: the newest result of each place of the sweep,
 * from the records; and what a run is doing, from its events (docs/events.md). Pure: it is given
 * records and lines.
 *
 * A place is a combination of what a sweep goes over: engine, model, device, mode, precision,
 * length, batch. Cells that differ in nothing else (threads, seed) share one: the newest counts.
 * Some 200 bytes a place, nothing a record.
 */
#ifndef HUD_BOARD_H
#define HUD_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "hud/lookup.h"
#include "result/reader.h"
#include "spec/verdict.h"

/* X(name, fact, label, unit for people): what can be looked at, in the order of the key. */
#define BOARD_METRIC_MAP(X)                             \
    X(TOKENS, FACT_TOKENS_PER_SEC, "tokens/s", "")      \
    X(MEDIAN, FACT_MS_P50, "median ms", "ms")           \
    X(MEAN, FACT_MS_PER_STEP, "mean ms", "ms")          \
    X(P99, FACT_MS_P99, "p99 ms", "ms")                 \
    X(MEMORY, FACT_PEAK_MEM_MB, "peak MiB", "MiB")      \
    X(FIRST, FACT_FIRST_STEP_MS, "first step ms", "ms") \
    X(LOSS, FACT_LOSS_LAST, "loss", "")

enum board_metric {
#define X(name, fact, label, unit) BOARD_##name,
    BOARD_METRIC_MAP(X)
#undef X
        BOARD_METRICS_COUNT
};

const char *board_metric_label(enum board_metric metric);
/* The field's name in records. */
const char *board_metric_name(enum board_metric metric);
/* Over 0: more is better; under 0: less is; 0: neither. */
int board_metric_better(enum board_metric metric);

/* The fields that a reader must give. */
extern const enum fact_id board_fields[];
extern const size_t board_fields_count;

/* Texts by their number in board->words. */
struct board_axes {
    uint32_t engine, model, device, mode, precision;
    uint32_t seq_len, batch_size;
};

enum board_state { BOARD_PLANNED, BOARD_RUNNING, BOARD_DONE };

struct board_place {
    struct board_axes axes;
    enum board_state state;
    bool is_planned; /* by the newest run that is told of */
    bool has_result; /* there is a record; what follows is of the newest */
    bool
        is_valid; /* its verdict is ok or unsteady, or it is a published script's, which has none */
    bool is_synthetic;
    bool is_mixed;         /* records of several cells are here */
    enum verdict verdict;  /* VERDICT_COUNT = none, or one of a later tokmark */
    uint32_t trials_count; /* records of that cell and run */
    uint32_t warnings_count;
    uint64_t tokens_per_step; /* by the plan; 0 = not known */
    uint32_t reason;          /* a text: the first reason's, or warning's, code; "" = none */
    uint64_t cell_hash, run_hash;
    double values[BOARD_METRICS_COUNT]; /* NaN = not known */
    double median_low, median_high;     /* ms */
};

#define BOARD_STEPS      1024 /* of the present cell that are kept */
#define BOARD_TEXT_BYTES 160

/* Block lines of the present cell, the newest last. A ring. */
struct board_series {
    double values[BOARD_STEPS];
    bool is_marked[BOARD_STEPS]; /* of warm-up */
    size_t next, count;
};

/* A run as its events tell it. Points in time are since 1970. */
struct board_run {
    bool is_told; /* there are events at all */
    char run_id[BOARD_TEXT_BYTES];
    uint64_t pid;
    uint64_t begin_ns, newest_ns;
    uint64_t gap_ns; /* the longest time between two lines */
    uint64_t trials_count, cells_count;
    uint64_t done_count, measured_count,
        measured_ns; /* trials of cells; skipped ones in the first */
    bool has_ended;
    uint64_t exit_code;
    /* the trial at work, or the last */
    uint32_t place; /* LOOKUP_NONE: it is not known, or nothing is at work yet */
    bool is_at_work;
    bool is_canary;
    uint64_t trial, cell_begin_ns;
    char phase[BOARD_TEXT_BYTES];
    uint64_t steps_done, samples_count, set_aside_count;
    double step_ms, median_ms, median_low, median_high; /* NaN = not known */
    double remaining_ms, loss, rss_mb, available_mb;
    char
        telemetry[BOARD_TEXT_BYTES]; /* whatever else was measured: "power_w 312  clock_mhz 1980" */
    struct board_series steps;       /* ms of a step */
    struct board_series widths;      /* half the interval, in % of the median */
};

struct board {
    struct lexicon words;
    struct board_place *places; /* owned */
    size_t places_count, places_capacity;
    struct lookup by_axes;
    struct lookup by_cell; /* of the plan: a cell's id */
    struct board_run run;
    uint64_t records_count, bad_count;
    uint64_t version; /* goes up with each change of a place */
    uint32_t newest;  /* the place of the newest record; LOOKUP_NONE = there is none */
};

void board_init(struct board *board);
void board_release(struct board *board);
/* Forgets all records, as their file starts anew; not the plan, nor the run. */
void board_forget_records(struct board *board);
/* `item` is a record. STATUS_NOMEM. */
MUST_CHECK enum status board_take_record(struct board *board, const struct reader_item *item,
                                         struct err *err);
/* A line of events.jsonl; what is none, or of a later kind, is passed over. STATUS_NOMEM. */
MUST_CHECK enum status board_take_event(struct board *board, const char *line, size_t line_bytes,
                                        struct err *err);
/* The place of those axes, made where there is none. STATUS_NOMEM. */
MUST_CHECK enum status board_find_place(struct board *board, const struct board_axes *axes,
                                        uint32_t *ret_place, struct err *err);
/* Of the whole sweep; 0 = not known. */
uint64_t board_remaining_ns(const struct board_run *run, uint64_t now_ns);

void board_series_add(struct board_series *series, double value, bool is_marked);
/* The i-th of those that are kept, 0 = the oldest. */
double board_series_at(const struct board_series *series, size_t i);
bool board_series_is_marked(const struct board_series *series, size_t i);

#endif
