#include "measure/history.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

#define UPPER_PROBABILITY 0.975
#define SIGNIFICANCE      0.05

static double allowed_sd(double limit_percent)
{
    return log1p(limit_percent / 100) / special_normal_quantile(UPPER_PROBABILITY);
}

struct history history_of(const struct measure_reading *runs, size_t count, double limit_percent)
{
    ASSERT(count >= 1 && limit_percent > 0);
    struct history history = {.runs = trials_of(runs, count),
                              .least = runs[0].median,
                              .most = runs[0].median,
                              .limit_percent = limit_percent,
                              .probability = 1};
    for (size_t i = 1; i < count; i++) {
        history.least = fmin(history.least, runs[i].median);
        history.most = fmax(history.most, runs[i].median);
    }
    if (count < 2)
        return history;
    double freedom = (double)count - 1;
    double ratio = history.runs.log_sd / allowed_sd(limit_percent);
    history.probability = special_chi_squared_tail(freedom * ratio * ratio, freedom);
    history.has_disagreed = history.probability < SIGNIFICANCE;
    return history;
}

void history_add_reason(const struct history *history, struct reasons *reasons)
{
    if (!history->has_disagreed)
        return;
    reasons_add(
        reasons, "runs_disagree",
        "this run and the last %zu runs of the same cell and program on this machine have medians "
        "from %.6g to %.6g ms, a standard deviation of %.3g %%; runs precise to +-%g %% allow "
        "%.2g %%: this run's interval holds only for the state that the machine was in",
        history->runs.count - 1, history->least, history->most, history->runs.spread_percent.value,
        history->limit_percent, 100 * allowed_sd(history->limit_percent));
}
