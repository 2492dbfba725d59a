#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "result/scan.h"
#include "result/scan_bytes.h"

#define DIGITS_MAX      19 /* of a number that fits in 64 bits whatever they are */
#define POWER_EXACT_MAX 27 /* 10^27 is the largest power of ten that 64 bits of precision hold */
#define REPLACEMENT     0xFFFDU

/* --- texts --- */

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static uint32_t hex_unit(const char *digits)
{
    return hex_value(digits[0]) << 12 | hex_value(digits[1]) << 8 | hex_value(digits[2]) << 4 |
           hex_value(digits[3]);
}

static void append_code_point(struct buf *out, uint32_t code)
{
    char bytes[4];
    size_t count = 0;
    if (code < 0x80) {
        bytes[count++] = (char)code;
    } else if (code < 0x800) {
        bytes[count++] = (char)(0xC0 | code >> 6);
        bytes[count++] = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        bytes[count++] = (char)(0xE0 | code >> 12);
        bytes[count++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[count++] = (char)(0x80 | (code & 0x3F));
    } else {
        bytes[count++] = (char)(0xF0 | code >> 18);
        bytes[count++] = (char)(0x80 | (code >> 12 & 0x3F));
        bytes[count++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[count++] = (char)(0x80 | (code & 0x3F));
    }
    buf_append(out, bytes, count);
}

/* The code point of the "\u" at `at`, and where it ends. Half of a pair, and NUL, which no text of
 * ours can hold, are U+FFFD. */
static uint32_t take_unicode(const char *at, const char *end, const char **ret_end)
{
    uint32_t unit = hex_unit(at + 2);
    *ret_end = at + 6;
    if (unit == 0 || (unit >= 0xDC00 && unit < 0xE000))
        return REPLACEMENT;
    if (unit < 0xD800 || unit >= 0xE000)
        return unit;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return REPLACEMENT;
    uint32_t low = hex_unit(at + 8);
    if (low < 0xDC00 || low >= 0xE000)
        return REPLACEMENT;
    *ret_end = at + 12;
    return 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00));
}

static uint32_t take_escape(const char *at, const char *end, const char **ret_end)
{
    *ret_end = at + 2;
    switch (at[1]) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': return take_unicode(at, end, ret_end);
    default: return (unsigned char)at[1];
    }
}

void scan_take_text(const struct scan_value *value, struct buf *out)
{
    const char *at = value->text;
    const char *end = at + value->bytes;
    while (!value->is_plain && at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        if (escape == NULL)
            break;
        utf8_append_valid_bytes(out, at, (size_t)(escape - at));
        append_code_point(out, take_escape(escape, end, &at));
    }
    utf8_append_valid_bytes(out, at, (size_t)(end - at));
}

void scan_take_json(const struct scan_value *value, struct buf *out)
{
    const char *at = value->text;
    const char *end = at + value->bytes;
    if (value->kind == SCAN_STRING) { /* its quotes are around it */
        at--;
        end++;
    }
    bool is_nested = value->kind == SCAN_OBJECT || value->kind == SCAN_ARRAY;
    while (is_nested && !value->is_plain && at < end) {
        const char *part = at;
        bool is_plain;
        const char *fault = NULL;
        if (*at == '"')
            at = scan_string_end(at + 1, &is_plain, &fault); /* sound: it was scanned before */
        else
            while (at < end && *at != '"' && scan_space_end(at) == at)
                at++;
        utf8_append_valid_bytes(out, part, (size_t)(at - part));
        at = scan_space_end(at);
    }
    utf8_append_valid_bytes(out, at, (size_t)(end - at));
}

/* --- numbers --- */

/* A number as digits * 10^power. */
struct decimal {
    uint64_t digits;
    int power;
    bool is_negative;
};

/* Reads digits into the number, dropping zeros in front of it; false when they are too many. */
static bool add_digits(struct decimal *decimal, int *count, const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*count == 0 && *at == '0')
            continue;
        if (++*count > DIGITS_MAX)
            return false;
        decimal->digits = decimal->digits * 10 + (uint64_t)(*at - '0');
    }
    return true;
}

/* False: it has more digits than fit, or an exponent of more than four. */
static bool read_decimal(const struct scan_value *value, struct decimal *ret_decimal)
{
    struct decimal decimal = {.is_negative = value->text[0] == '-'};
    int count = 0;
    const char *end = value->text + value->bytes;
    const char *at = value->text + (decimal.is_negative ? 1 : 0);
    const char *part = scan_digits_end(at);
    if (!add_digits(&decimal, &count, at, part))
        return false;
    if (part < end && *part == '.') {
        at = part + 1;
        part = scan_digits_end(at);
        if (part - at > 4 * DIGITS_MAX || !add_digits(&decimal, &count, at, part))
            return false;
        decimal.power = -(int)(part - at);
    }
    if (part < end) {
        bool is_below = part[1] == '-';
        at = part + (part[1] == '-' || part[1] == '+' ? 2 : 1);
        int power = 0;
        if (end - at > 4)
            return false;
        for (; at < end; at++)
            power = power * 10 + (*at - '0');
        decimal.power += is_below ? -power : power;
    }
    *ret_decimal = decimal;
    return true;
}

#if LDBL_MANT_DIG == 64
/* Digits and power of ten are exact in 64 bits of precision, so their product or quotient is off by
 * its rounding to 64 bits alone. Rounding that to the double's 53 gives the nearest double, unless
 * it lies just between two: then the first rounding may have decided, and strtod() is asked. */
static bool to_double(const struct decimal *decimal, double *ret_number)
{
    static const long double powers[POWER_EXACT_MAX + 1] = {
        1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
        1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
        1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L,
    };
    if (decimal->power < -POWER_EXACT_MAX || decimal->power > POWER_EXACT_MAX)
        return false;
    long double wide = (long double)decimal->digits;
    wide = decimal->power < 0 ? wide / powers[-decimal->power] : wide * powers[decimal->power];
    uint64_t mantissa;
    memcpy(&mantissa, &wide, sizeof(mantissa));
    if ((mantissa & 0x7FF) == 0x400)
        return false;
    *ret_number = decimal->is_negative ? -(double)wide : (double)wide;
    return true;
}
#else
static bool to_double(const struct decimal *decimal, double *ret_number)
{
    (void)decimal;
    (void)ret_number;
    return false;
}
#endif

double scan_take_double(const struct scan_value *value)
{
    struct decimal decimal;
    double number;
    if (read_decimal(value, &decimal) && to_double(&decimal, &number))
        return number;
    return strtod(value->text, NULL); /* what follows the number in the line ends it */
}

bool scan_take_u64(const struct scan_value *value, uint64_t *ret_number, bool *ret_is_over)
{
    struct decimal decimal;
    *ret_is_over = false;
    if (!read_decimal(value, &decimal)) {
        /* More digits than fit, or a power beyond all use. */
        *ret_is_over = scan_take_double(value) >= 0x1p63;
        return *ret_is_over;
    }
    for (; decimal.power < 0 && decimal.digits % 10 == 0 && decimal.digits > 0; decimal.power++)
        decimal.digits /= 10;
    if (decimal.digits > 0 && (decimal.power < 0 || decimal.is_negative))
        return false;
    for (; decimal.power > 0 && decimal.digits > 0 && !*ret_is_over; decimal.power--)
        *ret_is_over = __builtin_mul_overflow(decimal.digits, 10, &decimal.digits);
    *ret_is_over |= decimal.digits > INT64_MAX;
    *ret_number = decimal.digits;
    return true;
}
