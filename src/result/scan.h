/* result/scan.h - one line of JSON: checks all of it, and finds the values of named top-level keys.
 *
 * A line is checked whole whatever the caller names, so a caller that wants two fields and one that
 * wants all agree on which lines are sound. What is not wanted is not converted, copied or
 * unescaped.
 *
 * As in RFC 8259, but for what other writers do: NaN, Infinity and -Infinity as top-level values,
 * bytes that are not UTF-8 and lone surrogates inside of strings (they become U+FFFD when the text
 * is taken). Of a key that is there twice the last value counts.
 */
#ifndef RESULT_SCAN_H
#define RESULT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* Behind a line there are so many readable bytes; the first of them is '\n'. */
#define SCAN_PADDING_BYTES 64
#define SCAN_DEPTH_MAX     1024

enum scan_kind {
    SCAN_ABSENT,
    SCAN_NULL,
    SCAN_FALSE,
    SCAN_TRUE,
    SCAN_NUMBER,
    SCAN_NOT_FINITE, /* NaN, Infinity, -Infinity */
    SCAN_STRING,
    SCAN_OBJECT,
    SCAN_ARRAY
};

/* A value as it stands in the line. */
struct scan_value {
    const char *text; /* borrowed: from the line; of a string what is between its quotes */
    uint32_t bytes;
    uint8_t kind; /* enum scan_kind */
    /* A string without escapes; a number that is all digits; an object or array without spaces
     * between its parts. */
    bool is_plain;
    uint16_t depth; /* of an object or array: its levels, itself included; else 0 */
};

struct scanner; /* opaque: the names, and what it has learned of the order of keys in lines */

/* `names` are borrowed for the scanner's life and differ from each other. */
MUST_CHECK enum status scanner_new(const char *const *names, size_t names_count,
                                   struct scanner **ret_scanner, struct err *err);
void scanner_free(struct scanner *scanner);

/* `line` has `line_bytes` bytes, none of them '\n', then SCAN_PADDING_BYTES. `ret_values`: one a
 * name, in their order. False: the line is not one JSON object: *ret_fault says why (static), and
 * the values mean nothing. */
MUST_CHECK bool scanner_scan(struct scanner *scanner, const char *line, size_t line_bytes,
                             struct scan_value *ret_values, const char **ret_fault);

/* The same of an object that is a value of a line that was scanned. */
void scanner_scan_nested(struct scanner *scanner, const struct scan_value *object,
                         struct scan_value *ret_values);

/* One value of any kind alone, with SCAN_PADDING_BYTES behind it as for a line. False: it is none.
 */
MUST_CHECK bool scan_single(const char *text, size_t text_bytes, struct scan_value *ret_value);

/* Appends the text of a string value, unescaped, as valid UTF-8 without NUL bytes. */
void scan_take_text(const struct scan_value *value, struct buf *out);
/* Appends an object, array or any other value as compact JSON. */
void scan_take_json(const struct scan_value *value, struct buf *out);
/* The nearest double of a number; infinite when it is too large. */
double scan_take_double(const struct scan_value *value);
/* False when the number is not whole, or below 0; 1e3 and 128.0 are whole. *ret_is_over: it is over
 * 2^63 - 1, and *ret_number means nothing. */
bool scan_take_u64(const struct scan_value *value, uint64_t *ret_number, bool *ret_is_over);

#endif
