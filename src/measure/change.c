#include "measure/change.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

#define ASSUMED_SD        0.03
#define PRIOR_FREEDOM_MAX 20.0
#define FREEDOM_MAX       1e6 /* as good as normal */
/* A change of exactly the least one counts, whatever rounding made of it. */
#define ROUNDING 1e-9

struct change_noise change_noise_assumed(void)
{
    return (struct change_noise){ASSUMED_SD, FREEDOM_MAX, true};
}

/* A variance and how well it is known. */
struct estimate {
    double variance;
    double freedom; /* 0: not known at all */
};

static struct estimate combine(struct estimate prior, struct estimate data)
{
    double freedom = prior.freedom + data.freedom;
    if (freedom <= 0)
        return (struct estimate){0, 0};
    return (struct estimate){
        (prior.freedom * prior.variance + data.freedom * data.variance) / freedom, freedom};
}

/* What was known before, of the difference: by Satterthwaite, as the samples' part is taken as
 * known. */
static struct estimate prior_of(const struct change_noise *noise, double per_run, double within)
{
    double between = noise->log_sd * noise->log_sd * per_run;
    double variance = between + within;
    double freedom = between > 0 ? noise->freedom * pow(variance / between, 2) : FREEDOM_MAX;
    return (struct estimate){variance, fmin(freedom, FREEDOM_MAX)};
}

static struct estimate estimate_error(const struct change_side *base,
                                      const struct change_side *new_side,
                                      const struct change_noise *noise)
{
    double base_count = (double)base->runs_count;
    double new_count = (double)new_side->runs_count;
    double per_run = 1 / base_count + 1 / new_count;
    double within = base->within / base_count + new_side->within / new_count;
    double freedom = base_count + new_count - 2;
    struct estimate data = {0, freedom};
    struct estimate prior = {0, 0};
    if (freedom > 0)
        data.variance = (base->squares + new_side->squares) / freedom * per_run;
    if (isfinite(within) && !(noise->is_assumed && freedom >= 2)) {
        prior = prior_of(noise, per_run, within);
        if (freedom > 0)
            prior.freedom = fmin(prior.freedom, PRIOR_FREEDOM_MAX);
    }
    struct estimate both = combine(prior, data);
    if (both.freedom > 0 && isfinite(within))
        both.variance = fmax(both.variance, within);
    return both;
}

struct change change_of(const struct change_side *base, const struct change_side *new_side,
                        const struct change_noise *noise)
{
    ASSERT(base->runs_count >= 1 && new_side->runs_count >= 1);
    struct change change = {.log_ratio = new_side->mean - base->mean};
    struct estimate error = estimate_error(base, new_side, noise);
    if (error.freedom <= 0 || !isfinite(error.variance) || !isfinite(change.log_ratio))
        return change;
    change.is_known = true;
    change.error = sqrt(error.variance);
    change.freedom = error.freedom;
    return change;
}

struct measure_interval change_interval(const struct change *change, double confidence)
{
    if (!change->is_known)
        return (struct measure_interval){0};
    double half =
        change->error * special_student_quantile(1 - (1 - confidence) / 2, change->freedom);
    return (struct measure_interval){true, change->log_ratio - half, change->log_ratio + half};
}

double change_p(const struct change *change)
{
    if (!change->is_known)
        return 1;
    if (change->error == 0)
        return change->log_ratio == 0 ? 1 : 0;
    return fmin(1,
                2 * special_student_cdf(-fabs(change->log_ratio) / change->error, change->freedom));
}

/* Is `distance` more than the p quantile of Student's t times the error? The normal's quantile is
 * less and that of one degree of freedom more than any, so most answers need no t. */
static bool is_beyond(const struct change *change, double distance, double p, double normal,
                      double widest)
{
    if (distance <= normal * change->error)
        return false;
    return distance > widest * change->error ||
           special_student_cdf(distance / change->error, change->freedom) > p;
}

#define NORMAL_950 1.6448536269514722
#define NORMAL_975 1.959963984540054
#define WIDEST_950 6.314
#define WIDEST_975 12.707

bool change_is_significant(const struct change *change, double limit)
{
    if (!change->is_known || limit < 0)
        return false;
    bool can_be = fabs(change->log_ratio) >= NORMAL_975 * change->error || limit > CHANGE_ALPHA;
    return can_be && change_p(change) <= limit;
}

size_t change_holm(const double *smallest, size_t count, size_t tests_count, double alpha)
{
    size_t rejected = 0;
    while (rejected < count && smallest[rejected] <= alpha / (double)(tests_count - rejected))
        rejected++;
    return rejected;
}

static bool is_worse(const struct change *change, const struct change_rule *rule)
{
    return (change->log_ratio > 0) != rule->is_higher_better;
}

static enum change_outcome name_change(const struct change *change, const struct change_rule *rule)
{
    return is_worse(change, rule) ? CHANGE_WORSE : CHANGE_BETTER;
}

enum change_outcome change_decide(const struct change *change, const struct change_rule *rule)
{
    if (!change->is_known)
        return CHANGE_UNDECIDED;
    double size = fabs(change->log_ratio);
    if (rule->is_significant && size >= rule->least * (1 - ROUNDING) &&
        is_beyond(change, size - rule->least / 2, 1 - CHANGE_ALPHA / 2, NORMAL_975, WIDEST_975))
        return name_change(change, rule);
    return is_beyond(change, rule->least - size, 1 - CHANGE_ALPHA, NORMAL_950, WIDEST_950)
               ? CHANGE_SAME
               : CHANGE_UNDECIDED;
}

enum change_outcome change_decide_reading(const struct change *change,
                                          const struct change_rule *rule)
{
    if (fabs(change->log_ratio) < rule->least * (1 - ROUNDING))
        return CHANGE_SAME;
    bool is_certain = !change->is_known || change->error == 0 || rule->is_significant;
    return is_certain ? name_change(change, rule) : CHANGE_UNDECIDED;
}
