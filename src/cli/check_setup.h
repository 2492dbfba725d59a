/* cli/check_setup.h - from the flags of `tokmark check` to what is compared. Nothing is written or
 * started here. */
#ifndef CLI_CHECK_SETUP_H
#define CLI_CHECK_SETUP_H

#include "base/file.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/run_options.h"
#include "spec/cell.h"

#define CHECK_SIDES_MAX      8
#define CHECK_PRECISIONS_MAX OPTION_PICKS_MAX

/* Texts are borrowed: from the command line. */
struct check_options {
    struct run_options run;      /* first: the flags that are those of `run` */
    struct option_texts engines; /* each one engine, or several between commas */
    const char *model;
    struct option_texts weights; /* FILE, or ENGINE=FILE */
    struct option_texts devices; /* DEVICE, or ENGINE=DEVICE */
    struct option_picks precisions;
    uint64_t mode;        /* enum cell_mode */
    const char *parallel; /* a layout, of a side whose device is several; NULL = none */
    uint64_t seq_len, batch_size;
    uint64_t train_steps;
    const char *out;
    bool is_kept; /* the files that were compared */
    /* Of `stability`: tokens of its own, and where nothing has to be equal any engine alone, with
     * any model. */
    const char *data; /* NULL = synthetic */
    bool is_stability;
};

/* One engine. */
struct check_side {
    char engine[CELL_PATH_BYTES]; /* as given */
    struct cell cell;             /* in fp32, without dropout; no weights file = the one made */
};

struct check_setup {
    struct check_options options;
    struct check_side sides[CHECK_SIDES_MAX]; /* the others are compared with the first */
    size_t sides_count;
    char out[FILE_PATH_BYTES]; /* without a slash at the end */
};

/* STATUS_NOMEM, or a wrong command line. */
MUST_CHECK enum status check_setup_make(const struct check_options *options,
                                        struct check_setup *ret_setup, struct err *err);
/* Is its model one whose tensors are known? */
bool check_setup_is_preset(const struct cell *cell);
/* Is that precision among those asked for? */
bool check_setup_wants(const struct check_setup *setup, enum cell_precision precision);

#endif
