/* cli/compare_call.h - a comparison of a base with new results, for `compare` and `run --compare`.
 */
#ifndef CLI_COMPARE_CALL_H
#define CLI_COMPARE_CALL_H

#include <stdbool.h>

#include "cli/command.h"

/* Texts are borrowed: for the call. */
struct compare_call {
    const char *base, *now; /* paths, "-", or baseline:NAME */
    bool has_gate, is_lenient;
    double gate_percent;
    struct option_texts metrics, by, formats; /* fields; forms, each with :FILE behind it or not */
    bool takes_newest_run, includes_sandbox;
    const char *comment_id;
};

/* Is all of it understood? STATUS_INVALID: no, and nothing was read. */
MUST_CHECK enum status compare_call_check(const struct compare_call *call, struct err *err);
/* Reads, decides and writes. Without a gate: OK, or SOME_NOT_OK where nothing was compared. */
enum exit_code compare_call_run(const struct invocation *invocation,
                                const struct compare_call *call);

#endif
