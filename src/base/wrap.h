/* base/wrap.h - text in lines that fit. */
#ifndef BASE_WRAP_H
#define BASE_WRAP_H

#include "base/buf.h"

/* `text` in lines of at most `columns` (0 = no limit), broken between words only, each begun with
 * `indent` spaces but the first, which goes on in column `column`. Ends with a newline; "\n\n" in
 * the text is a paragraph. */
void wrap_text(const char *text, size_t columns, size_t column, size_t indent, struct buf *out);

#endif
