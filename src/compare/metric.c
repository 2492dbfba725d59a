#include "compare/metric.h"

#include "base/nearest.h"

/* Whose interval says how well a sampled metric is known. The mean's holds for the rate, too, which
 * is its reciprocal. */
static const struct {
    enum fact_id fact, middle, low, high;
} intervals[] = {
    {FACT_MS_P50, FACT_MS_P50, FACT_MS_P50_LOW, FACT_MS_P50_HIGH},
    {FACT_MEDIAN_TOKENS_PER_SEC, FACT_MS_P50, FACT_MS_P50_LOW, FACT_MS_P50_HIGH},
    {FACT_MS_PER_STEP, FACT_MS_PER_STEP, FACT_MS_MEAN_LOW, FACT_MS_MEAN_HIGH},
    {FACT_TOKENS_PER_SEC, FACT_MS_PER_STEP, FACT_MS_MEAN_LOW, FACT_MS_MEAN_HIGH},
};

static const struct {
    enum fact_id fact;
    double quantile;
} quantiles[] = {
    {FACT_MS_P90, 0.9}, {FACT_MS_P95, 0.95}, {FACT_MS_P99, 0.99}, {FACT_MS_P999, 0.999}};

static bool is_metric(enum fact_id id)
{
    enum fact_compare how = fact_compare(id);
    return how == FACT_COMPARE_SAMPLED || how == FACT_COMPARE_READING ||
           how == FACT_COMPARE_COUNTED;
}

static void add(struct metrics *metrics, enum fact_id fact, double least_percent, bool is_stand_in)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (metrics->items[i].fact == fact)
            return;
    struct metric *metric = &metrics->items[metrics->count++];
    *metric = (struct metric){
        .fact = fact,
        .how = fact_compare(fact),
        .least_percent = fact_least_percent(fact),
        .middle = FACTS_COUNT,
        .low = FACTS_COUNT,
        .high = FACTS_COUNT,
        .is_stand_in = is_stand_in,
    };
    if (least_percent > 0 && metric->how != FACT_COMPARE_COUNTED)
        metric->least_percent = least_percent;
    for (size_t i = 0; i < ARRAY_COUNT(intervals); i++)
        if (intervals[i].fact == fact) {
            metric->middle = intervals[i].middle;
            metric->low = intervals[i].low;
            metric->high = intervals[i].high;
        }
    for (size_t i = 0; i < ARRAY_COUNT(quantiles); i++)
        if (quantiles[i].fact == fact)
            metric->quantile = quantiles[i].quantile;
}

static enum status add_named(struct metrics *metrics, const char *name, double least_percent,
                             struct err *err)
{
    const char *names[FACTS_COUNT];
    struct nearest_hint hint;
    size_t count = 0;
    enum fact_id id;
    for (id = 0; id < FACTS_COUNT; id++)
        if (is_metric(id))
            names[count++] = fact_of(id)->name;
    if (!fact_find(name, &id))
        return ERR(err, STATUS_INVALID, "no field is named '%.100s'; %s", name,
                   nearest_hint(&hint, "", name, names, count));
    if (!is_metric(id))
        return ERR(err, STATUS_INVALID, "'%s' is no metric that results are compared by", name);
    if (metrics->count == METRICS_MAX)
        return ERR(err, STATUS_INVALID, "at most %d metrics", METRICS_MAX);
    add(metrics, id, least_percent, false);
    return STATUS_OK;
}

enum status metrics_choose(const char *const *names, size_t names_count, double least_percent,
                           struct metrics *ret_metrics, struct err *err)
{
    struct metrics metrics = {0};
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < names_count; i++)
        status = add_named(&metrics, names[i], least_percent, err);
    if (names_count == 0) {
        add(&metrics, FACT_MS_P50, least_percent, false);
        add(&metrics, FACT_TOKENS_PER_SEC, least_percent, true);
        add(&metrics, FACT_PEAK_MEM_MB, least_percent, false);
        add(&metrics, FACT_MEM_PREDICTED_MB, least_percent, false);
        add(&metrics, FACT_PARAMS_MILLIONS, least_percent, false);
    }
    if (status == STATUS_OK)
        *ret_metrics = metrics;
    return status;
}
