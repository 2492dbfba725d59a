/* report/document.h - a report as blocks in the order in which people read: the forms (format.h)
 * each write the same blocks down.
 *
 * Texts are borrowed from the report, or static. Where memory ends, `failed` is set and what comes
 * then is left out; whoever builds one checks once.
 */
#ifndef REPORT_DOCUMENT_H
#define REPORT_DOCUMENT_H

#include "report/changes.h"
#include "report/chart.h"
#include "report/fits.h"

/* X(name, word): `word` is the one in the page's data. */
#define BLOCK_KIND_MAP(X) \
    X(SECTION, "section") \
    X(TEXT, "text")       \
    X(ALARM, "alarm")     \
    X(CARDS, "cards")     \
    X(FACTS, "facts")     \
    X(TABLE, "table")     \
    X(CHARTS, "charts")

enum block_kind {
#define X(name, word) BLOCK_##name,
    BLOCK_KIND_MAP(X)
#undef X
        BLOCK_KINDS_COUNT
};
const char *block_kind_word(enum block_kind kind);

/* How a text is meant, besides what it says. */
#define TONE_MAP(X)   \
    X(PLAIN, "plain") \
    X(GOOD, "good")   \
    X(WARN, "warn")   \
    X(BAD, "bad")

enum tone {
#define X(name, word) TONE_##name,
    TONE_MAP(X)
#undef X
        TONES_COUNT
};
const char *tone_word(enum tone tone);
/* Of a verdict, and the sign before its word. */
enum tone tone_of_verdict(enum verdict verdict);
const char *tone_sign(enum tone tone);

struct item {
    const char *label, *value, *more; /* borrowed */
    enum tone tone;                   /* of the value */
};

struct column {
    const char *title, *unit; /* borrowed */
    bool is_number;
    unsigned drop; /* as in grid.h: what a narrow screen does without */
};

struct table_cell {
    const char *text; /* borrowed */
    double value;     /* to sort by; NaN: by the text */
    enum tone tone;
    const struct report_cell *samples; /* borrowed; a link to its raw samples, or NULL */
};

struct report_block { /* texts are borrowed */
    enum block_kind kind;
    const char *id;      /* SECTION's and TABLE's, for links */
    const char *title;   /* "" = none */
    const char *text;    /* TEXT and ALARM */
    bool is_wordy;       /* TABLE: mostly sentences, which a terminal writes as such */
    bool is_folded;      /* FACTS: shown when asked for */
    size_t first, count; /* items, charts, or cells */
    size_t columns, columns_count;
};

struct document {
    struct report *report; /* borrowed */
    struct charts charts;
    struct fits fits;
    struct report_changes changes;
    const char *title;           /* borrowed from the report */
    struct report_block *blocks; /* owned, as the other lists are */
    struct item *items;          /* owned */
    struct column *columns;      /* owned */
    struct table_cell *cells;    /* owned */
    size_t blocks_count, items_count, columns_count, cells_count;
    size_t blocks_capacity, items_capacity, columns_capacity, cells_capacity;
    struct table_cell nowhere; /* written where memory ended, never read */
    bool failed;
};

/* All of it. `report` is borrowed for the document's life. */
MUST_CHECK enum status document_new(struct report *report, struct document **ret_document,
                                    struct err *err);
void document_free(struct document *document);

/* --- for what builds it --- */

void document_section(struct document *document, const char *id, const char *title);
void document_text(struct document *document, const char *format, ...) PRINTF_LIKE(2, 3);
void document_alarm(struct document *document, const char *title, const char *text);
/* Starts a list of cards or facts; document_item() adds to it. */
void document_list(struct document *document, enum block_kind kind, const char *title,
                   bool is_folded);
void document_item(struct document *document, const char *label, const char *value,
                   const char *more, enum tone tone);
/* Starts a table; document_cell() adds to it, row by row. */
void document_table(struct document *document, const char *id, const char *title, bool is_wordy,
                    const struct column *columns, size_t columns_count);
struct table_cell *document_cell(struct document *document, const char *text);
struct table_cell *document_number(struct document *document, double value);
/* "1,200 (1,190 to 1,210)" */
struct table_cell *document_value(struct document *document, const struct report_value *value);
void document_verdict(struct document *document, enum verdict verdict);
/* Those of the section, if it has any. */
void document_charts(struct document *document, enum report_section section);

/* The sections. */
void document_add_glance(struct document *document);
void document_add_fast(struct document *document);
void document_add_fits(struct document *document);
void document_add_trust(struct document *document);
void document_add_limit(struct document *document);
void document_add_changed(struct document *document);
void document_add_results(struct document *document);
/* What cells are called in the document's tables. */
const char *document_cell_name(struct document *document, const struct report_cell *cell);

#endif
