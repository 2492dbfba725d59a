#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

/* RFC 3629, section 3, the other way round: bytes of a code point; 0 for one that has none. */
static size_t encode(uint32_t code, unsigned char ret[4])
{
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length; i-- > 1; code >>= 6)
        ret[i] = (unsigned char)(0x80 | (code & 0x3F));
    ret[0] = (unsigned char)(leads[length] | code);
    return length;
}

Test(base_utf8, every_code_point_is_one_sequence)
{
    for (uint32_t code = 1; code <= 0x110000; code++) {
        unsigned char bytes[5] = {0};
        size_t length = encode(code, bytes);
        if (length > 0 && utf8_sequence_bytes(bytes) != length)
            cr_assert_fail("U+%04X", code);
    }
}

/* What is no code point's bytes is no sequence: all first two bytes, with the most telling behind.
 */
Test(base_utf8, nothing_else_is_a_sequence)
{
    static const unsigned char behind[] = {0x00, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    size_t valid_count = 0;
    for (uint32_t i = 0; i < 0x10000 * 49; i++) {
        unsigned char bytes[5] = {(unsigned char)(i / 49 >> 8), (unsigned char)(i / 49),
                                  behind[i % 7], behind[i / 7 % 7], 0};
        uint32_t lead = bytes[0];
        if (lead < 0x80)
            continue;
        size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        uint32_t code = lead & (0x7FU >> length);
        for (size_t k = 1; k < length; k++)
            code = code << 6 | (bytes[k] & 0x3FU);
        unsigned char again[4];
        size_t wanted =
            encode(code, again) == length && memcmp(again, bytes, length) == 0 ? length : 0;
        valid_count += wanted > 0;
        if (utf8_sequence_bytes(bytes) != wanted)
            cr_assert_fail("%02X %02X %02X %02X", bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    cr_assert_gt(valid_count, 10000);
}
