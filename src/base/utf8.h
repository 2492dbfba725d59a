/* base/utf8.h - text from outside is bytes until it is known to be UTF-8. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Length of the valid UTF-8 sequence at `s`, 0 if it is not one (RFC 3629: no overlong forms, no
 * surrogates, nothing past U+10FFFF). Stops at the NUL because no continuation byte is 0. */
size_t utf8_sequence_bytes(const unsigned char *s);

bool utf8_is_valid(const char *text);

/* Columns on the screen: characters, a byte that is part of none as one. */
size_t utf8_columns(const char *text);

/* Appends `text` with every byte that is not part of a valid sequence written as "%FF". */
void utf8_append_escaped(struct buf *out, const char *text);

/* Appends `text` with every byte that is not part of a valid sequence made U+FFFD. */
void utf8_append_valid(struct buf *out, const char *text);
/* The same of so many bytes; a NUL among them becomes U+FFFD too. The byte behind them is readable.
 */
void utf8_append_valid_bytes(struct buf *out, const char *text, size_t text_bytes);

#endif
