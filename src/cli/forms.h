/* cli/forms.h - `--format FORM[:FILE]`: forms of output, to standard output or to a file. */
#ifndef CLI_FORMS_H
#define CLI_FORMS_H

#include "base/file.h"
#include "cli/options.h"

#define FORMS_MAX 8

/* The forms of a command, by number. All borrowed. */
struct forms {
    const char *names[FORMS_MAX];
    size_t count;
};

/* Is each a form, with a file that is named, and only one without? STATUS_INVALID. */
MUST_CHECK enum status forms_check(const struct forms *forms, const struct option_texts *words,
                                   struct err *err);
/* Of a word that was checked: the number of its form, and its file; NULL: standard output. */
size_t forms_find(const struct forms *forms, const char *word, const char **ret_file);
/* Writes to the file, or to standard output where it is NULL: fd -1. A file is replaced whole; a
 * pipe or a device is written to. */
MUST_CHECK enum status forms_write(const char *file, file_writer *write, void *context,
                                   struct err *err);
/* All bytes to `fd`, or to standard output where it is -1: main() says why that fails. */
MUST_CHECK enum status forms_put(int fd, const char *bytes, size_t bytes_count, struct err *err);

#endif
