#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void err_set(struct err *err, enum status status, const char *file, int line, const char *format,
             ...)
{
    if (err == NULL || err->status != STATUS_OK)
        return;
    err->status = status;
    err->file = file;
    err->line = line;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
}

const char *status_text(enum status status)
{
    static const char *const texts[] = {
#define X(name, text) text,
        STATUS_MAP(X)
#undef X
    };
    return (size_t)status < ARRAY_COUNT(texts) ? texts[status] : "unknown status";
}

_Noreturn void out_of_memory(const char *what)
{
    (void)fprintf(stderr, "tokmark: no memory for %s\n", what);
    _exit(5);
}

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "tokmark: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}
