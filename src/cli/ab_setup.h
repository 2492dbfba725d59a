/* cli/ab_setup.h - from the flags of `tokmark ab` and `tokmark noise` to pairs of cells. Nothing is
 * written here, and no worker started. */
#ifndef CLI_AB_SETUP_H
#define CLI_AB_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/words.h"
#include "cli/ab_rev.h"
#include "cli/command.h"
#include "cli/run_setup.h"
#include "drive/pair.h"

/* The flags of both commands; those of `tokmark run` point to its start.
 * Texts are borrowed: from the command line. */
struct ab_options {
    struct run_options run;
    const char *flags[PAIR_SIDES]; /* NULL = the common ones alone */
    double threshold_percent;
    uint64_t starts; /* of fresh workers, at most; 0, as `noise` has it: one */
    uint64_t rounds; /* of each start; 0 = by precision */
    uint64_t max_time_ns;
    bool is_gated;
    /* of `noise` */
    uint64_t repeats;
    bool wants_list;
};

/* What only a side can have, behind what it may have of `tokmark run`. Texts are borrowed: from
 * the words of its flag. */
struct ab_side_options {
    struct run_options run;
    const char *binary;
    const char *rev;
};

struct ab_side {
    struct words words; /* the options borrow from it */
    struct ab_side_options options;
    struct run_setup run;
    char binary[FILE_PATH_BYTES]; /* absolute; "" = this program */
    struct ab_rev rev;
};

struct ab_setup {
    struct ab_options options;
    struct ab_side sides[PAIR_SIDES];
    size_t pairs_count;
    char out[FILE_PATH_BYTES]; /* without a slash at the end */
};

/* Rows that `ab` and `noise` share, each under a heading of its own. */
#define AB_ROW_ROUNDS(heading)                                                                    \
    {                                                                                             \
        .name = "rounds", .type = OPTION_NUMBER, .offset = offsetof(struct ab_options, rounds),   \
        .arg = "N", .min = 1, .max = PAIR_ROUNDS_MAX, .group = (heading),                         \
        .help = "exactly N rounds of four blocks in each start, instead of as many as precision " \
                "needs; "                                                                         \
                "without --max-time"                                                              \
    }

#define AB_ROW_MAX_TIME(heading)                                                                 \
    {                                                                                            \
        .name = "max-time", .type = OPTION_DURATION,                                             \
        .offset = offsetof(struct ab_options, max_time_ns), .arg = "TIME", .def = "60s",         \
        .group = (heading),                                                                      \
        .help = "the rounds of a comparison take no longer; nor does preparing its later starts" \
    }

#define AB_ROW_DRY_RUN(heading)                                                    \
    {                                                                              \
        .name = "dry-run", .type = OPTION_FLAG,                                    \
        .offset = offsetof(struct ab_options, run.is_dry_run), .group = (heading), \
        .help = "print what would be compared; start and write nothing"            \
    }

#define AB_ROW_OUT(heading)                                                                 \
    {                                                                                       \
        .name = "out", .type = OPTION_TEXT, .offset = offsetof(struct ab_options, run.out), \
        .arg = "DIR", .def = "_bench", .max = 3800, .group = (heading),                     \
        .help = "folder of ab_results.jsonl, samples/ and logs/; appended to"               \
    }

/* Fresh workers so often, at most. */
static inline uint64_t ab_starts(const struct ab_options *options)
{
    return options->starts > 0 ? options->starts : 1;
}

/* How long a comparison is, as far as it is known before it starts: "at most 10 starts, ..." */
void ab_setup_describe_time(const struct ab_options *options, struct buf *out);

/* Names of run's flags that both commands take, for `struct command`. */
extern const char *const ab_common_names[];
/* The flags within --a and --b, for their tests and help. */
extern const struct command ab_side_command;

/* What a command does with its set-up. */
typedef enum exit_code ab_action(const struct invocation *call, struct ab_setup *setup);
/* Makes the set-up, hands it to `dry_run` or `measure` as the flags say, and releases it. A wrong
 * command line is told. */
enum exit_code ab_setup_run(const struct invocation *call, const struct ab_options *options,
                            const struct options_seen *seen, ab_action *dry_run,
                            ab_action *measure);

/* Is it the same work: the same model, mode and shape? */
bool ab_is_same_work(const struct cell *a, const struct cell *b);

#endif
