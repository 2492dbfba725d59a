/* cli/options.h - one table drives parsing, --help, the man page, completion and the drift test.
 *
 * A command has a table of rows and a struct that the rows point into by offset. Defaults are text
 * and are parsed like user input, so a default can never be a value that a user could not give.
 *
 * Grammar: `--flag value`, `--flag=value`, `-q` for the few rows with a short name. A list flag
 * takes several values after it. A word that begins with '-' and is not a negative number is a
 * flag, never a value: `--flag=-value` gives such a value; but for the few rows that take flags.
 * `--` ends the flags. There are no abbreviations. A flag given twice: the last one counts; a list
 * flag adds.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define OPTIONS_MAX        80 /* rows in a table */
#define OPTION_PICKS_MAX   16
#define OPTION_TEXTS_MAX   64
#define OPTION_WORD_BYTES  64   /* one word of a comma list of choices or of an axis */
#define OPTION_VALUE_BYTES 4096 /* longest value of any flag */

enum option_type {
    OPTION_HELP,     /* no target; asks for --help */
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *, borrowed from argv; `max` = most bytes */
    OPTION_TEXTS,    /* struct option_texts; one value each time, repeatable */
    OPTION_WORDS,    /* struct option_texts; a list. Has no default */
    OPTION_CHOICE,   /* uint64_t: the choice's value */
    OPTION_CHOICES,  /* struct option_picks; a list */
    OPTION_NUMBER,   /* uint64_t in min..max, or one of `choices` */
    OPTION_REAL,     /* double in min..max, both in hundredths; or one of `choices` */
    OPTION_DURATION, /* uint64_t ns */
    OPTION_BYTES,    /* uint64_t; or one of `choices` */
    OPTION_AXIS,     /* struct plan_axis, values 1..max; a list */
};

struct option_choice {
    const char *name; /* borrowed: static */
    uint64_t value;
};

struct option_texts {
    const char *items[OPTION_TEXTS_MAX]; /* borrowed: from argv */
    size_t count;
};

/* Values in the order given, without repeats. */
struct option_picks {
    uint64_t values[OPTION_PICKS_MAX];
    size_t count;
};

/* Borrowed: static. */
struct option {
    const char *name; /* without "--" */
    char short_name;  /* 0 = none */
    enum option_type type;
    size_t offset;   /* of the target in the command's struct */
    size_t bytes;    /* of a target that is an enum or uint32_t (CHOICE, NUMBER) or a char array
                      * (TEXT); 0: the target is of the type's own kind */
    const char *arg; /* placeholder in help: "N"; NULL for flags */
    const char *def; /* default as text; lists: words between spaces; or NULL */
    /* The value of a CHOICE that is given without one. It then takes a value behind '=' only. */
    const char *bare;
    uint64_t min, max;
    const struct option_choice *choices; /* ends with a NULL name */
    const struct option_choice *aliases; /* other words for the same values: taken, not listed */
    const char *group;                   /* heading in help */
    const char *help;
    /* (optional) the engines that take this flag, words between spaces ("exec:" stands for any
     * command); `run` refuses it for others. NULL = every engine. */
    const char *engines;
    unsigned programs; /* bits of the program names that know this flag; 0 = all */
    bool takes_flags;  /* TEXT: the next word is the value, though it begins with '-' */
    /* (optional) a further rule on a TEXT or TEXTS value, known without the other flags. */
    enum status (*check)(const char *text, struct err *err);
    /* (optional) words a TEXT may be, for completion; NULL past the last. */
    const char *(*word_at)(unsigned index);
};

/* Other default of a row; a list ends with a NULL name. Borrowed: static. */
struct option_default {
    const char *name;
    const char *def;
};

/* Borrowed: static. */
struct options_table {
    const struct option *rows;
    size_t rows_count;
    /* Rows of another command, behind its own: their targets lie at the start of this command's
     * struct. Flags are those of them whose names, or groups, are in base_names, which ends with
     * NULL. */
    const struct option *base_rows; /* NULL = none */
    size_t base_count;
    const char *const *base_names;
    const struct option_default *defaults; /* over the rows' own; NULL = none */
    unsigned program;                      /* bit of the program name in use */
};

/* What the command line held, beside the values. */
struct options_seen {
    bool is_given[OPTIONS_MAX]; /* by row, base rows behind the others */
    bool wants_help;
    const char *operands[OPTION_TEXTS_MAX]; /* borrowed: from argv; words that are neither flags nor
                                               their values */
    size_t operands_count;
};

/* Own rows and those of the base, known as flags or not. */
size_t options_rows_count(const struct options_table *table);
const struct option *options_row(const struct options_table *table, size_t index);
/* Is the row known under the table's program name? */
bool option_is_known(const struct options_table *table, const struct option *row);
bool option_is_list(const struct option *row);
/* The default in force under this program name; NULL = none. */
const char *option_default_text(const struct options_table *table, const struct option *row);
/* Was the flag of that name on the command line? */
bool options_given(const struct options_table *table, const struct options_seen *seen,
                   const char *name);

/* Zeroes nothing: `target` must be zeroed. STATUS_INVALID only for a fault in the table. */
MUST_CHECK enum status options_set_defaults(const struct options_table *table, void *target,
                                            struct err *err);
/* Reads the words argv[0 .. argc-1]. The error text is one line and names the nearest valid flag or
 * value. Stops at --help, leaving the rest unread. */
MUST_CHECK enum status options_parse(const struct options_table *table, int argc,
                                     const char *const *argv, void *target,
                                     struct options_seen *ret_seen, struct err *err);

#endif
