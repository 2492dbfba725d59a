/* cli/stability_twin.h - how far rounding alone takes a training from itself: it is done again,
 * from weights that are moved by their last place (docs/stability.md). */
#ifndef CLI_STABILITY_TWIN_H
#define CLI_STABILITY_TWIN_H

#include "cli/sides.h"
#include "drive/training.h"
#include "measure/curve.h"

/* Of one training, the reference. Zeroed before the first use. */
struct stability_twin {
    const struct training *of; /* borrowed: for the twin's life; NULL = not tried yet */
    double *growth;            /* owned: steps_done of it (curve_growth()); NULL = none */
    size_t growth_count;
    /* OK: all twins came to the end; else of the one that did not: how far rounding grows is not
     * known then. */
    enum verdict verdict;
};

/* Trains it again, by `job`, that of the training itself. With a twin that does not come to the
 * end, no more are trained. Other than OK: the harness could not go on. */
MUST_CHECK enum status stability_twin_train(struct stability_twin *twin, const struct sides *sides,
                                            const struct training_job *job,
                                            const struct client_options *client,
                                            const struct training *of, struct err *err);
void stability_twin_release(struct stability_twin *twin);

#endif
