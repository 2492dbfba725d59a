/* base/num.h - numbers to text and back, independent of the locale. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define NUM_TEXT_BYTES 32

/* Whole decimal text to integer; rejects empty text, signs on unsigned, spaces, trailing bytes and
 * anything outside [min, max]. The error text names the bound that was passed ("largest is 64"). */
MUST_CHECK enum status num_parse_u64(const char *text, uint64_t min, uint64_t max,
                                     uint64_t *ret_value, struct err *err);
/* Finite decimal number in [min, max]. */
MUST_CHECK enum status num_parse_double(const char *text, double min, double max, double *ret_value,
                                        struct err *err);
/* "1.5", "30s", "2m", "1h", "250ms" to nanoseconds; no unit means seconds. Result > 0. */
MUST_CHECK enum status num_parse_duration_ns(const char *text, uint64_t *ret_ns, struct err *err);
/* "1048576", "512M", "2GB", "20GiB" to bytes (all binary multiples, in either case). Result > 0. */
MUST_CHECK enum status num_parse_bytes(const char *text, uint64_t *ret_bytes, struct err *err);

/* Shortest decimal text that reads back as the same double; `value` must be finite.
 * A whole number keeps a ".0" so that the type survives in JSON. */
void num_format_double(double value, char text[NUM_TEXT_BYTES]);
/* Significant digits, 3 or as many more as it takes, with which both numbers ("%.*g") read as they
 * compare: a number that decided must not read as its limit. */
int num_digits_apart(double value, double limit);
/* Four digits for people: "426.3", "1,693", "3.218e-05"; "-" where it is not finite. */
void num_append_short(double value, struct buf *out);
/* The digits of a whole number in threes: "12,345". */
void num_append_whole(double value, struct buf *out);
/* "1.5 GiB", "30.6 M", "2m05s": for people, not for files. */
void num_format_bytes(uint64_t bytes, char text[NUM_TEXT_BYTES]);
/* Two that decided by their difference: in plain bytes where they would read the same. */
void num_format_bytes_apart(uint64_t bytes, uint64_t limit_bytes, char text[NUM_TEXT_BYTES],
                            char limit_text[NUM_TEXT_BYTES]);
void num_format_count(double count, char text[NUM_TEXT_BYTES]);
void num_format_duration(uint64_t ns, char text[NUM_TEXT_BYTES]);
/* The end of a noun behind a number: "cell%s". */
static inline const char *num_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

#endif
