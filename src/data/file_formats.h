/* data/file_formats.h - what a file is that was given as weights and is no safetensors file. */
#ifndef DATA_FILE_FORMATS_H
#define DATA_FILE_FORMATS_H

#include <stddef.h>

/* What follows "'PATH' " in an error and says what to do, by a file's first bytes; NULL where they
 * are not those of a format that is known here. Static text. */
const char *file_formats_describe(const unsigned char *start, size_t bytes);

#endif
