/* data/sample_text.h - a text to train on where the user has none: English, public domain, and the
 * same in every version, so that courses of losses can be compared between them. */
#ifndef DATA_SAMPLE_TEXT_H
#define DATA_SAMPLE_TEXT_H

#include "base/buf.h"

/* What it is, for people. */
#define SAMPLE_TEXT_NAME "United States Declaration of Independence, 1776"

/* Appends it: some 8 KiB of ASCII. */
void sample_text_append(struct buf *out);

#endif
