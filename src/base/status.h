/* base/status.h - how every fallible function reports.
 *
 * A fallible function returns `enum status`, is marked MUST_CHECK, and takes a
 * `struct err *` last. On success `*err` is untouched. The first error set wins,
 * so a cleanup path can never hide the cause. Outputs are named `ret_*` and are
 * written only on success.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg) \
    __attribute__((format(printf, format_index, first_arg)))

/* Append only: the names are stored in records (`reasons`). */
#define STATUS_MAP(X)                  \
    X(OK, "ok")                        \
    X(INVALID, "invalid input")        \
    X(UNSUPPORTED, "not supported")    \
    X(NOMEM, "out of memory")          \
    X(TIMEOUT, "time limit reached")   \
    X(CRASHED, "process died")         \
    X(PROTOCOL, "protocol broken")     \
    X(IO, "input or output failed")    \
    X(LIMIT, "over a built-in limit")  \
    X(BUSY, "held by another process") \
    X(NOT_FOUND, "not found")          \
    X(INTERRUPTED, "interrupted")

enum status {
#define X(name, text) STATUS_##name,
    STATUS_MAP(X)
#undef X
};

#define ERR_TEXT_BYTES 1024

/* A fixed record: setting it never allocates. Zero-initialise before first use. */
struct err {
    enum status status;
    const char *file; /* borrowed: string literal */
    int line;
    char text[ERR_TEXT_BYTES];
};

/* Stores status, place and text in `err` unless it already holds an error.
 * `err` may be NULL when the caller does not want the text. */
void err_set(struct err *err, enum status status, const char *file, int line, const char *format,
             ...) PRINTF_LIKE(5, 6);

/* Records the error and is the status: `return ERR(err, STATUS_INVALID, "..."`). The status stands
 * outside the call so that compilers and analysers see that it is not STATUS_OK. */
#define ERR(err, code, ...) \
    (err_set((err), (code), __FILE__, __LINE__, __VA_ARGS__), (enum status)(code))

/* Hands on a failure: what has to be released first is marked CLEANUP. */
#define TRY(call)                   \
    do {                            \
        enum status tried = (call); \
        if (tried != STATUS_OK)     \
            return tried;           \
    } while (0)

/* `struct buf text CLEANUP(buf_release) = ...`: called with the variable's address on every way out
 * of its block. A pointer that is given away is set to NULL before. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* One line, "out of memory". */
const char *status_text(enum status status);

/* Where no error can be given: says what there is no memory for, and ends the program with exit
 * code 5. What is stored stays. */
_Noreturn void out_of_memory(const char *what);

/* Aborts with the place on stderr. For programmer errors only; stays on in every build type. */
_Noreturn void assert_failed(const char *condition, const char *file, int line);
#define ASSERT(condition)                                  \
    do {                                                   \
        if (!(condition))                                  \
            assert_failed(#condition, __FILE__, __LINE__); \
    } while (0)

/* A place that correct code never reaches; `why` says what would have had to be wrong. */
#define UNREACHABLE(why)   assert_failed((why), __FILE__, __LINE__)

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
