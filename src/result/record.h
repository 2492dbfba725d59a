/* result/record.h - one record: the typed values of the table of facts (spec/facts.def), or why
 * each is not known; and its two texts, a JSON line and a CSV row (docs/records.md).
 *
 * A field that was never set is `null` with reason "not_measured"; record_set_null() gives a better
 * reason. Reasons go to the `null_reasons` object.
 */
#ifndef RESULT_RECORD_H
#define RESULT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "base/status.h"
#include "spec/facts.h"
#include "spec/verdict.h"

#define RECORD_SCHEMA_VERSION 1
/* Longest JSON line, and longest CSV row (in which every quote of a JSON value is doubled). */
#define RECORD_LINE_BYTES_MAX (1U << 20)
#define RECORD_ROW_BYTES_MAX  (4U << 20)

struct record; /* opaque */
struct scan_value;

/* NULL only when memory ends. record_free(NULL) is a no-op. */
struct record *record_new(void);
void record_free(struct record *record);

/* Copies its text (bytes that are not UTF-8 become U+FFFD). The field's type must match (ASSERT). A
 * double that is not finite becomes null with reason "not_finite", an integer over 2^63 - 1, which
 * JSON readers refuse, null with its digits in the reason. Where memory ends the field becomes null
 * with reason "out_of_memory". */
void record_set_string(struct record *record, enum fact_id field, const char *text);
void record_set_u64(struct record *record, enum fact_id field, uint64_t value);
void record_set_double(struct record *record, enum fact_id field, double value);
/* The same, or null where `missing` says why; NULL: it is known. */
void record_put_double(struct record *record, enum fact_id field, double value,
                       const char *missing);
void record_set_bool(struct record *record, enum fact_id field, bool value);
/* `json`: one JSON value, stored compactly; text that is none, or nests more than JSON_DEPTH_MAX
 * deep, becomes null with reason "invalid_json", so that no caller can spoil a line. */
void record_set_json(struct record *record, enum fact_id field, const char *json);
/* FACT_REASONS or FACT_WARNINGS. */
void record_set_reasons(struct record *record, enum fact_id field, const struct reasons *reasons);
/* `reason`: a snake_case word or a short sentence; copied. */
void record_set_null(struct record *record, enum fact_id field, const char *reason);

bool record_is_null(const struct record *record, enum fact_id field);
/* Why it is null; "" when it is not. Borrowed. */
const char *record_null_reason(const struct record *record, enum fact_id field);
/* Of a field that is set and of that type; "" / 0 / NaN / false otherwise. Borrowed.
 * record_string() also gives the text of a JSON field. */
const char *record_string(const struct record *record, enum fact_id field);
uint64_t record_u64(const struct record *record, enum fact_id field);
/* The same, UINT32_MAX where it is more. */
uint32_t record_u32(const struct record *record, enum fact_id field);
double record_double(const struct record *record, enum fact_id field);
bool record_bool(const struct record *record, enum fact_id field);

/* FACT_REASONS or FACT_WARNINGS as it was set or read; empty where it is null. Borrowed: until the
 * field is set again. Code goes by these, never by the field's text. */
const struct reasons *record_reasons(const struct record *record, enum fact_id field);

/* One line with '\n'. JSON: every field in order, then `null_reasons`. CSV: RFC 4180, LF line ends,
 * numbers as in the JSON, null empty, JSON-typed fields as quoted compact JSON. */
void record_format_json(const struct record *record, struct buf *out);
void record_format_csv(const struct record *record, struct buf *out);
void record_format_csv_header(struct buf *out);
/* One field as it stands there. */
void record_put_value(const struct record *record, enum fact_id field, struct json_writer *writer);
void record_format_csv_value(const struct record *record, enum fact_id field, struct buf *out);

/* Sets the field to what stands in a line, which is not null there. False when that is of another
 * type than the field; the field is then as it was. Whole numbers may be written as 1e3 or 128.0.
 */
bool record_take(struct record *record, enum fact_id field, const struct scan_value *value);
/* Is the field null because memory ended? */
bool record_lacks_memory(const struct record *record, enum fact_id field);

#endif
