#include "supervise/pair.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/num.h"

#define BLOCKS_PER_ROUND     4
#define BLOCKS_PER_SIDE      2
#define ROUND_LINE_BYTES_MAX (1U << 21)
/* Steps whose single durations are kept on the disk, of one comparison. */
#define RAW_STEPS_MAX 1000000

struct pair {
    const struct pair_plan *plan;
    struct pair_side sides[PAIR_SIDES];
    uint32_t steps_per_block;
    double *log_ratios;          /* owned, like the next two: `capacity` rounds */
    double *figures[PAIR_SIDES]; /* two a round */
    size_t rounds_count, capacity;
    uint64_t lead_in_steps_count;
    uint64_t raw_steps_count;
    uint64_t begin_ns; /* of measuring */
    uint64_t measured_ns;
    size_t precise_looks; /* in a row */
    size_t next_look;
    bool has_look;
    struct compare_result last_look;
    bool is_whole; /* it came to its own end */
    struct reasons reasons;
};

const char *pair_key(enum pair_name name)
{
    return name == PAIR_A ? "a" : "b";
}

const char *pair_title(enum pair_name name)
{
    return name == PAIR_A ? "A" : "B";
}

enum pair_name pair_order(size_t round, size_t index)
{
    bool is_inner = index == 1 || index == 2;
    return is_inner == (round % 2 == 0) ? PAIR_B : PAIR_A;
}

uint32_t pair_block_steps(double step_ns)
{
    double steps = round((double)PAIR_BLOCK_TARGET_NS / step_ns);
    /* One more is asked for, the lead-in. */
    return (uint32_t)fmin(fmax(steps, 1), PROTO_BLOCK_STEPS_MAX - 1);
}

static void tell(const struct pair *pair, enum event_phase phase)
{
    const struct pair_listener *listener = &pair->plan->listener;
    if (listener->changed != NULL)
        listener->changed(listener->context, phase, pair->rounds_count,
                          pair->has_look ? &pair->last_look : NULL);
}

static bool can_go_on(const struct pair *pair)
{
    return pair_side_can_go_on(&pair->sides[PAIR_A]) && pair_side_can_go_on(&pair->sides[PAIR_B]);
}

/* --- before the rounds --- */

static enum status open_sides(struct pair *pair, struct err *err)
{
    tell(pair, EVENT_OPENING);
    enum status status = pair_side_open(&pair->sides[PAIR_A], err);
    if (status == STATUS_OK && pair_side_can_go_on(&pair->sides[PAIR_A]))
        status = pair_side_open(&pair->sides[PAIR_B], err);
    return status;
}

/* The smaller of what the sides that still warm up would run next. */
static uint32_t next_warmup_steps(const struct pair *pair)
{
    uint32_t steps = PROTO_BLOCK_STEPS_MAX;
    for (int i = 0; i < PAIR_SIDES; i++) {
        const struct pair_side *side = &pair->sides[i];
        uint32_t own = measure_next(&side->warmup).steps_count;
        if (pair_side_is_warming(side) && own < steps)
            steps = own;
    }
    return steps;
}

static bool is_warming(const struct pair *pair)
{
    return pair_side_is_warming(&pair->sides[PAIR_A]) || pair_side_is_warming(&pair->sides[PAIR_B]);
}

/* Both do the same steps: a side that has settled goes on until the other has, too. */
static enum status warm_up(struct pair *pair, struct err *err)
{
    enum status status = STATUS_OK;
    tell(pair, EVENT_WARMUP);
    while (status == STATUS_OK && can_go_on(pair) && is_warming(pair)) {
        uint32_t steps_count = next_warmup_steps(pair);
        status = pair_side_warm(&pair->sides[PAIR_A], steps_count, err);
        if (status == STATUS_OK && can_go_on(pair))
            status = pair_side_warm(&pair->sides[PAIR_B], steps_count, err);
    }
    double slower_ns =
        fmax(pair_side_step_ns(&pair->sides[PAIR_A]), pair_side_step_ns(&pair->sides[PAIR_B]));
    if (can_go_on(pair))
        pair->steps_per_block = pair_block_steps(slower_ns);
    return status;
}

/* --- rounds --- */

struct round {
    struct pair_block blocks[PAIR_SIDES][BLOCKS_PER_SIDE];
    size_t counts[PAIR_SIDES];
};

static void round_release(struct round *round)
{
    for (int side = 0; side < PAIR_SIDES; side++)
        for (size_t i = 0; i < round->counts[side]; i++)
            pair_block_release(&round->blocks[side][i]);
}

static bool run_round(struct pair *pair, struct round *round)
{
    for (size_t i = 0; i < BLOCKS_PER_ROUND; i++) {
        enum pair_name name = pair_order(pair->rounds_count, i);
        struct pair_block *block = &round->blocks[name][round->counts[name]];
        if (!can_go_on(pair) || !pair_side_run(&pair->sides[name], pair->steps_per_block, block))
            return false;
        round->counts[name]++;
        pair->lead_in_steps_count++;
        if (!(block->figure_ns > 0)) {
            reasons_add(&pair->reasons, "zero_duration",
                        "a block of %s took no time by its worker's clock", pair_title(name));
            return false;
        }
    }
    return true;
}

static bool grow(double **values, size_t count)
{
    double *grown = reallocarray(*values, count, sizeof(*grown));
    if (grown == NULL)
        return false;
    *values = grown;
    return true;
}

static enum status reserve_round(struct pair *pair, struct err *err)
{
    if (pair->rounds_count < pair->capacity)
        return STATUS_OK;
    size_t capacity = pair->capacity == 0 ? 64 : 2 * pair->capacity;
    if (!grow(&pair->log_ratios, capacity) ||
        !grow(&pair->figures[PAIR_A], BLOCKS_PER_SIDE * capacity) ||
        !grow(&pair->figures[PAIR_B], BLOCKS_PER_SIDE * capacity))
        return ERR(err, STATUS_NOMEM, "no memory for %zu rounds", capacity);
    pair->capacity = capacity;
    return STATUS_OK;
}

static void put_steps(struct json_writer *writer, const struct pair_block *block)
{
    json_begin_array(writer);
    for (uint32_t i = 0; block->step_ns != NULL && i < block->steps_count; i++)
        json_put_u64(writer, block->step_ns[i]);
    json_end_array(writer);
}

/* Two blocks of one side: their figures, and every step while there is room for them. */
static void put_side(struct json_writer *writer, enum pair_name name,
                     const struct pair_block blocks[BLOCKS_PER_SIDE], bool has_steps)
{
    json_put_key(writer, pair_key(name));
    json_begin_object(writer);
    json_put_key(writer, "block_ns");
    json_begin_array(writer);
    for (int i = 0; i < BLOCKS_PER_SIDE; i++)
        json_put_double(writer, blocks[i].figure_ns);
    json_end_array(writer);
    json_put_key(writer, "window_ns");
    json_begin_array(writer);
    for (int i = 0; i < BLOCKS_PER_SIDE; i++)
        json_put_u64(writer, blocks[i].window_ns);
    json_end_array(writer);
    json_put_key(writer, "ns");
    if (has_steps) {
        json_begin_array(writer);
        for (int i = 0; i < BLOCKS_PER_SIDE; i++)
            put_steps(writer, &blocks[i]);
        json_end_array(writer);
    } else {
        json_put_null(writer);
    }
    json_end_object(writer);
}

/* One line: {"run_id","round","order","steps","log_ratio","a":{..},"b":{..}}. */
static enum status write_round(struct pair *pair, const struct round *round, double log_ratio,
                               struct err *err)
{
    if (pair->plan->rounds_file == NULL)
        return STATUS_OK;
    const char *run_id = pair->plan->options[PAIR_A]->run_id;
    uint64_t steps_count = (uint64_t)BLOCKS_PER_ROUND * pair->steps_per_block;
    bool has_steps = round->blocks[PAIR_A][0].step_ns != NULL &&
                     pair->raw_steps_count + steps_count <= RAW_STEPS_MAX;
    struct buf line;
    struct json_writer writer;
    buf_init(&line, ROUND_LINE_BYTES_MAX);
    json_writer_init(&writer, &line);
    json_begin_object(&writer);
    json_field_string(&writer, "run_id", run_id != NULL ? run_id : "");
    json_field_u64(&writer, "round", pair->rounds_count);
    json_field_string(&writer, "order",
                      pair_order(pair->rounds_count, 0) == PAIR_A ? "ABBA" : "BAAB");
    json_field_u64(&writer, "steps", pair->steps_per_block);
    json_field_double(&writer, "log_ratio", log_ratio);
    for (int i = 0; i < PAIR_SIDES; i++)
        put_side(&writer, (enum pair_name)i, round->blocks[i], has_steps);
    json_end_object(&writer);
    buf_append_char(&line, '\n');
    enum status status =
        line.failed ? ERR(err, STATUS_NOMEM, "no memory for a round's samples")
                    : lines_append(pair->plan->rounds_file, line.data, line.length_bytes, err);
    buf_release(&line);
    pair->raw_steps_count += has_steps ? steps_count : 0;
    return status;
}

static enum status take_round(struct pair *pair, const struct round *round, struct err *err)
{
    const struct pair_block *a = round->blocks[PAIR_A];
    const struct pair_block *b = round->blocks[PAIR_B];
    double log_ratio =
        compare_round(a[0].figure_ns, a[1].figure_ns, b[0].figure_ns, b[1].figure_ns);
    enum status status = reserve_round(pair, err);
    if (status == STATUS_OK)
        status = write_round(pair, round, log_ratio, err);
    if (status != STATUS_OK)
        return status;
    size_t first = BLOCKS_PER_SIDE * pair->rounds_count;
    for (int side = 0; side < PAIR_SIDES; side++)
        for (size_t i = 0; i < BLOCKS_PER_SIDE; i++)
            pair->figures[side][first + i] = round->blocks[side][i].figure_ns;
    pair->log_ratios[pair->rounds_count++] = log_ratio;
    return STATUS_OK;
}

/* --- the end --- */

static enum status look(struct pair *pair, struct err *err)
{
    enum status status = compare_rounds(pair->log_ratios, pair->rounds_count, pair->plan->threshold,
                                        PAIR_CONFIDENCE, &pair->last_look, err);
    if (status != STATUS_OK)
        return status;
    pair->has_look = true;
    pair->precise_looks = pair->last_look.is_precise ? pair->precise_looks + 1 : 0;
    pair->next_look = compare_look_after(pair->rounds_count);
    return STATUS_OK;
}

/* Is the number of rounds or the time the end? Time is a cap, that is a reason. */
static bool is_at_end(struct pair *pair)
{
    const struct pair_plan *plan = pair->plan;
    if (plan->rounds_exact > 0 && pair->rounds_count >= plan->rounds_exact)
        return true;
    bool is_late = plan->time_max_ns > 0 && pair->measured_ns >= plan->time_max_ns;
    if (plan->rounds_exact == 0 && pair->precise_looks >= 2)
        return true;
    if (!is_late && pair->rounds_count < PAIR_ROUNDS_MAX)
        return false;
    char limit[NUM_TEXT_BYTES];
    num_format_duration(pair->measured_ns, limit);
    reasons_add(&pair->reasons, "precision_not_met",
                "ended after %zu rounds, %s, before the interval was as narrow as the threshold at "
                "two looks in a row",
                pair->rounds_count, limit);
    return true;
}

static enum status run_rounds(struct pair *pair, struct err *err)
{
    enum status status = STATUS_OK;
    pair->next_look = compare_look_after(0);
    pair->begin_ns = clock_now_ns();
    while (status == STATUS_OK && can_go_on(pair) && !pair->is_whole) {
        struct round round = {0};
        tell(pair, EVENT_MEASURING);
        bool is_run = run_round(pair, &round);
        if (is_run)
            status = take_round(pair, &round, err);
        round_release(&round);
        if (!is_run)
            break;
        pair->measured_ns = clock_now_ns() - pair->begin_ns;
        if (status == STATUS_OK && pair->rounds_count == pair->next_look)
            status = look(pair, err);
        if (status == STATUS_OK)
            pair->is_whole = is_at_end(pair);
    }
    return status;
}

/* --- the result --- */

static enum status take_side(const struct pair *pair, enum pair_name name, bool is_interrupted,
                             struct pair_side_result *ret, struct err *err)
{
    const struct pair_side *side = &pair->sides[name];
    *ret = (struct pair_side_result){
        .was_started = side->session.log_fd >= 0,
        .verdict = side->session.has_ended ? side->session.verdict : VERDICT_OK,
        .reasons = side->session.reasons,
        .has_hello = side->has_hello,
        .has_ready = side->has_ready,
        .hello = side->hello,
        .ready = side->ready,
        .warmup_steps_count = side->warmup.warmup_steps_done,
        .blocks_count = BLOCKS_PER_SIDE * pair->rounds_count,
        .steps_count = (uint64_t)BLOCKS_PER_SIDE * pair->rounds_count * pair->steps_per_block,
    };
    if (ret->verdict == VERDICT_OK && is_interrupted)
        ret->verdict = VERDICT_INTERRUPTED;
    const struct reasons *unsteady = &side->warmup.reasons;
    if (ret->verdict == VERDICT_OK && unsteady->count > 0)
        ret->verdict = VERDICT_UNSTEADY;
    for (size_t i = 0; i < unsteady->count; i++)
        reasons_add(&ret->reasons, unsteady->items[i].code, "%s", unsteady->items[i].text);
    if (side->session.has_ended)
        session_log_tail(&side->session, ret->log_tail);
    if (ret->blocks_count == 0)
        return STATUS_OK;
    return interval_of_median(pair->figures[name], ret->blocks_count, PAIR_CONFIDENCE, &ret->median,
                              err);
}

static void explain_undecided(const struct pair *pair, struct pair_result *result)
{
    const struct compare_result *seen = &result->comparison;
    double threshold_percent = 100 * expm1(pair->plan->threshold);
    if (pair->rounds_count > 0 && !seen->log_ratio_ci.is_known)
        reasons_add(&result->reasons, "too_few_rounds",
                    "%zu rounds, worth %.3g independent ones, are too few for a 95 %% interval",
                    pair->rounds_count, seen->effective_count);
    else if (pair->rounds_count > 0)
        reasons_add(&result->reasons, "straddles_threshold",
                    "the 95 %% interval of the ratio, %+.3g %% to %+.3g %%, is neither within "
                    "+-%.3g %% nor beyond it",
                    100 * expm1(seen->log_ratio_ci.low), 100 * expm1(seen->log_ratio_ci.high),
                    threshold_percent);
}

static void judge(const struct pair *pair, struct pair_result *result)
{
    result->outcome = COMPARE_UNDECIDED;
    bool is_spoiled = !pair->is_whole;
    for (int i = 0; i < PAIR_SIDES; i++) {
        const struct pair_side_result *side = &result->sides[i];
        if (!pair->sides[i].session.has_ended)
            continue;
        is_spoiled = true;
        reasons_add(&result->reasons, i == PAIR_A ? "a_failed" : "b_failed", "%s is %s: %.380s",
                    pair_title((enum pair_name)i), verdict_name(side->verdict),
                    side->reasons.count > 0 ? side->reasons.items[0].text : "no reason given");
    }
    if (result->is_interrupted)
        reasons_add(&result->reasons, "interrupted", "stopped by a signal after %zu rounds",
                    pair->rounds_count);
    for (size_t i = 0; i < pair->reasons.count; i++)
        reasons_add(&result->reasons, pair->reasons.items[i].code, "%s",
                    pair->reasons.items[i].text);
    if (is_spoiled)
        return;
    result->outcome = result->comparison.outcome;
    if (result->outcome == COMPARE_UNDECIDED)
        explain_undecided(pair, result);
}

static enum status take_result(const struct pair *pair, struct pair_result *result, struct err *err)
{
    enum status status = STATUS_OK;
    result->steps_per_block = pair->steps_per_block;
    result->lead_in_steps_count = pair->lead_in_steps_count;
    result->measured_ns = pair->measured_ns;
    for (int i = 0; status == STATUS_OK && i < PAIR_SIDES; i++)
        status = take_side(pair, (enum pair_name)i, result->is_interrupted, &result->sides[i], err);
    if (status == STATUS_OK && pair->rounds_count > 0)
        status = compare_rounds(pair->log_ratios, pair->rounds_count, pair->plan->threshold,
                                PAIR_CONFIDENCE, &result->comparison, err);
    if (status == STATUS_OK)
        judge(pair, result);
    return status;
}

static void pair_free(struct pair *pair)
{
    for (int i = 0; i < PAIR_SIDES; i++) {
        pair_side_release(&pair->sides[i]);
        free(pair->figures[i]);
    }
    free(pair->log_ratios);
    free(pair);
}

enum status pair_compare(const struct pair_plan *plan, struct pair_result *ret_result,
                         struct err *err)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a comparison");
    struct pair_result result = {0};
    uint64_t before_ns = clock_now_ns();
    clock_stamp(result.started_at);
    pair->plan = plan;
    for (int i = 0; i < PAIR_SIDES; i++)
        pair_side_init(&pair->sides[i], plan->cells[i], plan->options[i], plan->log_paths[i]);
    enum status status = open_sides(pair, err);
    if (status == STATUS_OK)
        status = warm_up(pair, err);
    if (status == STATUS_OK && can_go_on(pair))
        status = run_rounds(pair, err);
    tell(pair, EVENT_CLOSING);
    for (int i = 0; i < PAIR_SIDES; i++)
        session_finish(&pair->sides[i].session);
    result.is_interrupted = !pair->is_whole && session_is_interrupted(&pair->sides[PAIR_A].session);
    result.total_ns = clock_now_ns() - before_ns;
    if (status == STATUS_OK)
        status = take_result(pair, &result, err);
    pair_free(pair);
    if (status == STATUS_OK)
        *ret_result = result;
    return status;
}
