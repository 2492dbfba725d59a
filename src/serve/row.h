/* serve/row.h - what the page is told of a record: the values of some fields, as one JSON array.
 *
 * Which fields these are, their units and which way is better is sent once, from the table of
 * facts; so the page knows no field by itself that it could get wrong.
 */
#ifndef SERVE_ROW_H
#define SERVE_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "result/reader.h"
#include "spec/facts.h"

/* A row's JSON is far below. */
#define ROW_BYTES_MAX ((size_t)64 * 1024)

/* Never changes once it is made, but for who holds it and the text that is kept of it. */
struct serve_row {
    size_t holders;  /* counted by the feed, under its lock */
    uint64_t end;    /* of the record in the file: its offset and bytes, with the '\n' */
    uint64_t count;  /* which record of its cell it is, from 1 */
    size_t cell;     /* number of the cell, from 0, in the order in which they came */
    double *numbers; /* owned: of the number fields, in their order; NaN = null */
    char *words;     /* owned: of the text fields, in their order, each with its NUL */
    char *json;      /* owned: made when it is first asked for; NULL before */
    size_t json_bytes;
};

/* The fields that a reader must give, those of cells.h among them: how many. */
size_t row_collect_fields(enum fact_id ret_fields[FACTS_COUNT]);

/* NULL only when memory ends. Holders: 1. */
struct serve_row *row_new(const struct reader_item *item, size_t cell, uint64_t count);
void row_free(struct serve_row *row);

/* Of a field that is one of the row's; NaN / "" where it is null. */
double row_number(const struct serve_row *row, enum fact_id field);
const char *row_word(const struct serve_row *row, enum fact_id field);

/* Appends "[cell,count,...]", and keeps it: by one thread only. */
void row_append(struct serve_row *row, struct buf *out);
/* Appends the description of that array: [{"name":..,"unit":..,"better":..,"meaning":..}, ...]. */
void row_append_columns(struct buf *out);

#endif
