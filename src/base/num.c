#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

/* tokmark never calls setlocale(LC_NUMERIC, ...), so strtod and printf stay in the C locale. */

enum status num_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value,
                          struct err *err)
{
    if (!isdigit((unsigned char)text[0])) {
        if (text[0] == '-' && isdigit((unsigned char)text[1]))
            return ERR(err, STATUS_INVALID, "'%s' is too small: the smallest is %" PRIu64, text,
                       min);
        return ERR(err, STATUS_INVALID, "'%s' is not a whole number; try %" PRIu64, text, min);
    }
    errno = 0;
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0')
        return ERR(err, STATUS_INVALID, "'%s' is not a whole number; try %" PRIu64, text,
                   value < min   ? min
                   : value > max ? max
                                 : (uint64_t)value);
    if (errno == ERANGE || value > max)
        return ERR(err, STATUS_INVALID, "'%s' is too large: the largest is %" PRIu64, text, max);
    if (value < min)
        return ERR(err, STATUS_INVALID, "'%s' is too small: the smallest is %" PRIu64, text, min);
    *ret_value = value;
    return STATUS_OK;
}

enum status num_parse_double(const char *text, double min, double max, double *ret_value,
                             struct err *err)
{
    /* strtod alone would also take "inf", "nan", hexadecimal and leading spaces. */
    bool plain = text[0] != '\0' && strspn(text, "0123456789+-.eE") == strlen(text);
    char *end = NULL;
    double value = plain ? strtod(text, &end) : 0.0;
    if (!plain || end == text || *end != '\0')
        return ERR(err, STATUS_INVALID, "'%s' is not a number; try %g", text, min);
    if (!isfinite(value) || value > max)
        return ERR(err, STATUS_INVALID, "'%s' is too large: the largest is %g", text, max);
    if (value < min)
        return ERR(err, STATUS_INVALID, "'%s' is too small: the smallest is %g", text, min);
    *ret_value = value;
    return STATUS_OK;
}

/* Borrowed: static. */
struct unit {
    const char *name;
    double factor;
};

/* Splits "12.5GiB" into number and unit and multiplies; `limit` bounds the product. */
static enum status parse_with_unit(const char *text, const struct unit *units, size_t units_count,
                                   const char *example, double limit, uint64_t *ret_value,
                                   struct err *err)
{
    size_t digits = strspn(text, "0123456789.");
    char number[NUM_TEXT_BYTES];
    if (digits == 0 || digits >= sizeof(number))
        return ERR(err, STATUS_INVALID, "'%s' is not understood; try %s", text, example);
    memcpy(number, text, digits);
    number[digits] = '\0';
    char *end = NULL;
    double value = strtod(number, &end);
    if (*end != '\0')
        return ERR(err, STATUS_INVALID, "'%s' is not understood; try %s", text, example);
    for (size_t i = 0; i < units_count; i++) {
        if (strcasecmp(text + digits, units[i].name) != 0)
            continue;
        value *= units[i].factor;
        if (value > limit)
            return ERR(err, STATUS_INVALID, "'%s' is too large; try %s", text, example);
        if (value < 1.0)
            return ERR(err, STATUS_INVALID, "'%s' must be more than 0; try %s", text, example);
        *ret_value = (uint64_t)value;
        return STATUS_OK;
    }
    return ERR(err, STATUS_INVALID, "'%s' has an unknown unit '%s'; try %s", text, text + digits,
               example);
}

enum status num_parse_duration_ns(const char *text, uint64_t *ret_ns, struct err *err)
{
    static const struct unit units[] = {
        {"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9},
    };
    const double limit_ns =
        30.0 * 86400.0 * 1e9; /* a month: far past any cell, far from overflow */
    return parse_with_unit(text, units, ARRAY_COUNT(units), "30s", limit_ns, ret_ns, err);
}

enum status num_parse_bytes(const char *text, uint64_t *ret_bytes, struct err *err)
{
    static const struct unit units[] = {
        {"", 1.0},       {"B", 1.0},     {"K", 0x1p10},   {"KB", 0x1p10},  {"KiB", 0x1p10},
        {"M", 0x1p20},   {"MB", 0x1p20}, {"MiB", 0x1p20}, {"G", 0x1p30},   {"GB", 0x1p30},
        {"GiB", 0x1p30}, {"T", 0x1p40},  {"TB", 0x1p40},  {"TiB", 0x1p40},
    };
    return parse_with_unit(text, units, ARRAY_COUNT(units), "20GiB", 0x1p60, ret_bytes, err);
}

/* A number that is `digits` / 10^places with up to 15 digits, as most are: the quotient of two
 * whole numbers that a double holds exactly is the double next to it, so these digits read back as
 * it, and no others of 15 do. The text is that of %.15g, at a tenth of its cost. */
static bool format_short(double value, char text[NUM_TEXT_BYTES])
{
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const double limit = 1e15;
    double size = fabs(value);
    size_t places = 0;
    if (size != 0 && !(size >= 1e-4 && size < limit))
        return false;
    while (rint(size * powers[places]) / powers[places] != size)
        if (++places == ARRAY_COUNT(powers) || size * powers[places] >= limit)
            return false;
    uint64_t digits = (uint64_t)llrint(size * powers[places]);
    char reversed[NUM_TEXT_BYTES];
    size_t length = 0;
    for (size_t i = 0; digits > 0 || i <= places; i++) {
        if (i == places && i > 0)
            reversed[length++] = '.';
        reversed[length++] = (char)('0' + digits % 10);
        digits /= 10;
    }
    if (signbit(value))
        *text++ = '-';
    while (length > 0)
        *text++ = reversed[--length];
    *text = '\0';
    return true;
}

void num_format_double(double value, char text[NUM_TEXT_BYTES])
{
    ASSERT(isfinite(value));
    bool is_short = format_short(value, text);
    for (int digits = 15; !is_short && digits <= 17; digits++) {
        (void)snprintf(text, NUM_TEXT_BYTES, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    if (strcspn(text, ".eE") == strlen(text))
        (void)snprintf(text + strlen(text), NUM_TEXT_BYTES - strlen(text), ".0");
}

static int compare(double a, double b)
{
    return (a > b) - (a < b);
}

int num_digits_apart(double value, double limit)
{
    int digits = 3;
    for (; digits < 17; digits++) {
        char texts[2][NUM_TEXT_BYTES];
        (void)snprintf(texts[0], NUM_TEXT_BYTES, "%.*g", digits, value);
        (void)snprintf(texts[1], NUM_TEXT_BYTES, "%.*g", digits, limit);
        if (compare(strtod(texts[0], NULL), strtod(texts[1], NULL)) == compare(value, limit))
            break;
    }
    return digits;
}

void num_append_whole(double value, struct buf *out)
{
    char digits[NUM_TEXT_BYTES * 2];
    int length = snprintf(digits, sizeof(digits), "%.0f", value);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            buf_append_char(out, ',');
        buf_append_char(out, digits[i]);
    }
}

void num_append_short(double value, struct buf *out)
{
    if (!isfinite(value))
        buf_append_char(out, '-');
    else if (fabs(value) >= 1e15 || (fabs(value) < 1e-3 && value != 0))
        buf_appendf(out, "%.3e", value);
    else if (fabs(value) >= 1000)
        num_append_whole(value, out);
    else
        buf_appendf(out, "%#.4g", value);
}

/* Three significant digits and the largest unit that keeps the number at or over 1. */
static void format_scaled(double value, double step, const char *const *suffixes, size_t count,
                          char text[NUM_TEXT_BYTES])
{
    size_t i = 0;
    while (value >= step && i + 1 < count) {
        value /= step;
        i++;
    }
    int decimals = i == 0 ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
    (void)snprintf(text, NUM_TEXT_BYTES, "%.*f%s", decimals, value, suffixes[i]);
}

void num_format_bytes(uint64_t bytes, char text[NUM_TEXT_BYTES])
{
    static const char *const suffixes[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    format_scaled((double)bytes, 1024.0, suffixes, ARRAY_COUNT(suffixes), text);
}

void num_format_bytes_apart(uint64_t bytes, uint64_t limit_bytes, char text[NUM_TEXT_BYTES],
                            char limit_text[NUM_TEXT_BYTES])
{
    num_format_bytes(bytes, text);
    num_format_bytes(limit_bytes, limit_text);
    if (bytes == limit_bytes || strcmp(text, limit_text) != 0)
        return;
    (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 " B", bytes);
    (void)snprintf(limit_text, NUM_TEXT_BYTES, "%" PRIu64 " B", limit_bytes);
}

void num_format_count(double count, char text[NUM_TEXT_BYTES])
{
    static const char *const suffixes[] = {"", " k", " M", " G", " T"};
    format_scaled(count, 1000.0, suffixes, ARRAY_COUNT(suffixes), text);
}

void num_format_duration(uint64_t ns, char text[NUM_TEXT_BYTES])
{
    uint64_t seconds = ns / NS_PER_S;
    if (ns < NS_PER_MS)
        (void)snprintf(text, NUM_TEXT_BYTES, "%.3g us", (double)ns / 1e3);
    else if (ns < NS_PER_S)
        (void)snprintf(text, NUM_TEXT_BYTES, "%.3g ms", (double)ns / 1e6);
    else if (seconds < 100)
        (void)snprintf(text, NUM_TEXT_BYTES, "%.1fs", (double)ns / 1e9);
    else if (seconds < 3600)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "m%02us", seconds / 60,
                       (unsigned)(seconds % 60));
    else
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "h%02um", seconds / 3600,
                       (unsigned)(seconds / 60 % 60));
}
