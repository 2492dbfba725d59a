#include "compare/raw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/interval.h"
#include "measure/quantile.h"

#define CONFIDENCE 0.95
#define NS_TO_MS   1e-6

static bool needs_raw(const struct metric *metric)
{
    return metric->quantile > 0;
}

bool raw_is_needed(const struct metrics *metrics)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (needs_raw(&metrics->items[i]))
            return true;
    return false;
}

static enum status summarize(const struct metric *metric, const struct samples *samples,
                             const double *sorted, struct tally_sample *ret_sample, struct err *err)
{
    struct interval_quantile found;
    if (samples->count < quantile_samples_min(metric->quantile, CONFIDENCE))
        return STATUS_OK;
    enum status status = interval_of_quantile(samples->values, sorted, samples->count,
                                              metric->quantile, CONFIDENCE, &found, err);
    if (status != STATUS_OK)
        return status;
    ret_sample->value = found.value * NS_TO_MS;
    if (found.two_sided.is_known) {
        ret_sample->low = found.two_sided.low * NS_TO_MS;
        ret_sample->high = found.two_sided.high * NS_TO_MS;
    }
    return STATUS_OK;
}

enum status raw_summarize(const struct metrics *metrics, const char *source,
                          const struct record *record, struct samples *samples,
                          struct tally_sample ret_samples[METRICS_MAX], struct err *err)
{
    bool is_found = false;
    for (size_t i = 0; i < metrics->count; i++)
        ret_samples[i] = (struct tally_sample){NAN, NAN, NAN};
    enum status status = samples_read(source, record, samples, &is_found, err);
    if (status != STATUS_OK || !is_found)
        return status;
    double *sorted = malloc(samples->count * sizeof(*sorted));
    if (sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for raw samples");
    memcpy(sorted, samples->values, samples->count * sizeof(*sorted));
    quantile_sort(sorted, samples->count);
    for (size_t i = 0; status == STATUS_OK && i < metrics->count; i++)
        if (needs_raw(&metrics->items[i]))
            status = summarize(&metrics->items[i], samples, sorted, &ret_samples[i], err);
    free(sorted);
    return status;
}
