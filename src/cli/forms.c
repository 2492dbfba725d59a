#include "cli/forms.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/nearest.h"

size_t forms_find(const struct forms *forms, const char *word, const char **ret_file)
{
    size_t bytes = strcspn(word, ":");
    *ret_file = word[bytes] == ':' ? word + bytes + 1 : NULL;
    for (size_t i = 0; i < forms->count; i++)
        if (strlen(forms->names[i]) == bytes && strncmp(forms->names[i], word, bytes) == 0)
            return i;
    return forms->count;
}

enum status forms_check(const struct forms *forms, const struct option_texts *words,
                        struct err *err)
{
    size_t on_stdout = 0;
    for (size_t i = 0; i < words->count; i++) {
        const char *file = NULL;
        const char *word = words->items[i];
        struct nearest_hint hint;
        if (forms_find(forms, word, &file) == forms->count)
            return ERR(err, STATUS_INVALID, "--format has no form '%.80s'; %s", word,
                       nearest_hint(&hint, "", word, forms->names, forms->count));
        if (file != NULL && file[0] == '\0')
            return ERR(err, STATUS_INVALID, "--format '%.80s' names no file", word);
        on_stdout += file == NULL;
    }
    return on_stdout > 1 ? ERR(err, STATUS_INVALID,
                               "--format: only one form can go to standard output; give the "
                               "others a file, FORM:FILE")
                         : STATUS_OK;
}

enum status forms_put(int fd, const char *bytes, size_t bytes_count, struct err *err)
{
    if (fd >= 0)
        return file_write_fd(fd, bytes, bytes_count, err);
    return fwrite(bytes, 1, bytes_count, stdout) == bytes_count
               ? STATUS_OK
               : ERR(err, STATUS_IO, "cannot write to standard output");
}

enum status forms_write(const char *file, file_writer *write, void *context, struct err *err)
{
    struct stat info;
    if (file == NULL)
        return write(context, -1, err);
    if (stat(file, &info) != 0 || S_ISREG(info.st_mode))
        return file_replace(file, write, context, err);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", file, strerror(errno));
    enum status status = write(context, fd, err);
    (void)close(fd);
    return status;
}
