/* observe/parity.c - what does the newest `tokmark check` here say of the engine that was measured?
 */
#include <string.h>

#include "base/version.h"
#include "client/provenance.h"
#include "observe/list.h"
#include "store/checks.h"
#include "store/journal.h"

struct parity {
    enum checks_finding finding;
    char run_id[CHECKS_RUN_BYTES];
};

static bool is_on(const struct observe_options *options)
{
    return options->results_dir != NULL;
}

/* `check` computes with the default of every option that says how; others say whose model it is. */
static bool is_as_checked(const struct cell *cell)
{
    struct cell how = *cell;
    how.options.source = CELL_SOURCE_AUTO;
    how.options.keeps_defaults = false;
    how.options.trusts_code = false;
    how.options.settings_json[0] = '\0';
    how.options.learning_rate[0] = '\0'; /* what it compares comes before any step */
    return !cell_has_options(&how);
}

static enum status after_trial(void *state, const struct observed *seen, struct err *err)
{
    struct parity *parity = state;
    const struct client *client = seen->client;
    const struct cell *cell = client->cell;
    char device[2 * CELL_WORD_BYTES];
    cell_device_text(cell, device);
    if (!client->has_ready || client->hello.is_synthetic || !is_as_checked(cell))
        return STATUS_OK;
    struct checks_wanted wanted = {.engine = cell->engine,
                                   .engine_version = client->hello.engine_version,
                                   .harness = version_harness(),
                                   .device = device,
                                   .precision = cell_precision_name(cell->precision),
                                   .mode = cell_mode_name(cell->mode),
                                   .model = cell->model.name,
                                   .weights_hash = cell->weights_hash,
                                   .is_package = provenance_is_package(&client->ready)};
    return checks_find(seen->options->results_dir, &wanted, &parity->finding, parity->run_id, err);
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct parity *parity = state;
    (void)seen;
    if (parity->finding == CHECKS_FAILED)
        judgement_add(judgement, VERDICT_INVALID, "check_failed",
                      "the newest `tokmark check` of this engine, precision and model failed (run "
                      "%s in " JOURNAL_CHECKS ")",
                      parity->run_id);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    static const char *const words[] = {[CHECKS_NONE] = "",
                                        [CHECKS_PASSED] = "passed",
                                        [CHECKS_REFERENCE] = "reference",
                                        [CHECKS_FAILED] = "failed"};
    const struct parity *parity = state;
    (void)seen;
    if (parity->finding != CHECKS_NONE)
        record_set_string(record, FACT_CHECK, words[parity->finding]);
    else
        record_set_null(record, FACT_CHECK, "not_checked");
}

static const enum fact_id fields[] = {FACT_CHECK};

const struct probe parity_probe = {
    .name = "parity",
    .state_bytes = sizeof(struct parity),
    .is_on = is_on,
    .off_reason = "not_checked",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .after_trial = after_trial,
    .judge = judge,
    .put = put,
};
