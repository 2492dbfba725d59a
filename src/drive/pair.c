#include "drive/pair.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "client/fork_pool.h"
#include "drive/pair_state.h"

#define BLOCKS_PER_ROUND     4
#define ROUND_LINE_BYTES_MAX (1U << 21)
/* Steps whose single durations are kept on the disk, of one comparison. */
#define RAW_STEPS_MAX 1000000
/* Of an exact number of rounds, so many times as many are run where some are set aside. */
#define ROUNDS_TRIED_MAX 2

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

enum pair_name pair_first(size_t start)
{
    return start % 2 == 0 ? PAIR_A : PAIR_B;
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

/* Who is opened first may find the machine otherwise: that alternates. */
static enum status open_sides(struct pair *pair, struct err *err)
{
    enum pair_name first = pair_first(pair->sequence.starts_count);
    enum pair_name second = first == PAIR_A ? PAIR_B : PAIR_A;
    tell(pair, EVENT_OPENING);
    enum status status = pair_side_start(&pair->sides[first], err);
    if (status == STATUS_OK && pair_side_can_go_on(&pair->sides[first]))
        status = pair_side_start(&pair->sides[second], err);
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
    return status;
}

/* Both are ready for rounds: how long those are, and how many starts there is time for. */
static void plan_rounds(struct pair *pair, uint64_t prepare_ns)
{
    const struct pair_listener *listener = &pair->plan->listener;
    double a_ns = pair_side_step_ns(&pair->sides[PAIR_A]);
    double b_ns = pair_side_step_ns(&pair->sides[PAIR_B]);
    bool is_first = pair->steps_per_block == 0;
    /* Every start has blocks like the first one's. */
    if (is_first)
        pair->steps_per_block = pair_block_steps(fmax(a_ns, b_ns));
    double steps = BLOCKS_PER_SIDE * (1.0 + pair->steps_per_block);
    sequence_prepared(&pair->sequence, prepare_ns, steps * (a_ns + b_ns));
    if (is_first && listener->planned != NULL)
        listener->planned(listener->context, &pair->sequence);
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
        if (!(block->time_ns > 0)) {
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
        !grow(&pair->times[PAIR_A], BLOCKS_PER_SIDE * capacity) ||
        !grow(&pair->times[PAIR_B], BLOCKS_PER_SIDE * capacity))
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

/* Two blocks of one side: their times, and every step while there is room for them. */
static void put_side(struct json_writer *writer, enum pair_name name,
                     const struct pair_block blocks[BLOCKS_PER_SIDE], bool has_steps)
{
    json_put_key(writer, pair_key(name));
    json_begin_object(writer);
    json_put_key(writer, "block_ns");
    json_begin_array(writer);
    for (int i = 0; i < BLOCKS_PER_SIDE; i++)
        json_put_double(writer, blocks[i].time_ns);
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

/* One line: {"run_id","round","order","steps","set_aside","log_ratio","a":{..},"b":{..}}. */
static enum status write_round(struct pair *pair, const struct round *round, double log_ratio,
                               enum interference_cause cause, struct err *err)
{
    if (pair->plan->rounds_file == NULL)
        return STATUS_OK;
    const char *run_id = pair->plan->run_id;
    uint64_t steps_count = (uint64_t)BLOCKS_PER_ROUND * pair->steps_per_block;
    bool has_steps = round->blocks[PAIR_A][0].step_ns != NULL &&
                     pair->raw_steps_count + steps_count <= RAW_STEPS_MAX;
    struct buf line;
    struct json_writer writer;
    buf_init(&line, ROUND_LINE_BYTES_MAX);
    json_writer_init(&writer, &line);
    json_begin_object(&writer);
    json_field_string(&writer, "run_id", run_id != NULL ? run_id : "");
    json_field_u64(&writer, "start", pair->sequence.starts_count);
    json_field_u64(&writer, "round", pair->rounds_count);
    json_field_string(&writer, "order",
                      pair_order(pair->rounds_count, 0) == PAIR_A ? "ABBA" : "BAAB");
    json_field_u64(&writer, "steps", pair->steps_per_block);
    json_put_key(&writer, "set_aside");
    if (cause == INTERFERENCE_NONE)
        json_put_null(&writer);
    else
        json_put_string(&writer, interference_code(cause));
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

/* One that was disturbed is kept raw, and counted by its cause; what it says of the sides decides
 * nothing of that. */
static enum status take_round(struct pair *pair, const struct round *round,
                              enum interference_cause cause, struct err *err)
{
    const struct pair_block *a = round->blocks[PAIR_A];
    const struct pair_block *b = round->blocks[PAIR_B];
    double log_ratio = compare_round(a[0].time_ns, a[1].time_ns, b[0].time_ns, b[1].time_ns);
    enum status status = reserve_round(pair, err);
    if (status == STATUS_OK)
        status = write_round(pair, round, log_ratio, cause, err);
    if (status != STATUS_OK)
        return status;
    interference_count(&pair->interference, cause,
                       (uint64_t)BLOCKS_PER_ROUND * pair->steps_per_block);
    if (cause != INTERFERENCE_NONE) {
        pair->set_aside_count++;
        return STATUS_OK;
    }
    size_t first = BLOCKS_PER_SIDE * pair->rounds_count;
    for (int side = 0; side < PAIR_SIDES; side++)
        for (size_t i = 0; i < BLOCKS_PER_SIDE; i++)
            pair->times[side][first + i] = round->blocks[side][i].time_ns;
    pair->log_ratios[pair->rounds_count++] = log_ratio;
    return STATUS_OK;
}

/* --- the end --- */

static size_t rounds_of_start(const struct pair *pair)
{
    return pair->rounds_count - pair->first_round;
}

/* Is the start precise? That ends it. Is the difference so large that it can be told from a part of
 * the first start? That ends all. */
static enum status look(struct pair *pair, struct err *err)
{
    const double *log_ratios = pair->log_ratios + pair->first_round;
    size_t count = rounds_of_start(pair);
    if (sequence_is_early_look(&pair->sequence, count)) {
        enum status status = sequence_look_early(&pair->sequence, log_ratios, count, err);
        if (status != STATUS_OK)
            return status;
    }
    if (count != pair->next_look)
        return STATUS_OK;
    enum status status = compare_rounds(log_ratios, count, &pair->plan->rule.limits,
                                        PAIR_CONFIDENCE, &pair->last_look, err);
    if (status != STATUS_OK)
        return status;
    pair->has_look = true;
    pair->precise_looks = pair->last_look.is_precise ? pair->precise_looks + 1 : 0;
    pair->next_look = compare_look_after(rounds_of_start(pair));
    return STATUS_OK;
}

static void add_precision_reason(struct pair *pair)
{
    char limit[NUM_TEXT_BYTES];
    num_format_duration(pair->measured_ns, limit);
    reasons_add(&pair->reasons, "precision_not_met",
                "not decided after %zu round%s, %s: the interval is still wider than the threshold",
                pair->rounds_count, num_plural(pair->rounds_count), limit);
}

/* Is this start's part done? For a single start time is a cap, that is a reason; for one of many
 * its share of the time is as good an end as any. */
static bool is_start_over(struct pair *pair)
{
    const struct pair_plan *plan = pair->plan;
    size_t run_count = rounds_of_start(pair) + pair->set_aside_count;
    /* Rounds that were set aside are made up for, but not without end. */
    if (plan->rule.rounds_exact > 0)
        return rounds_of_start(pair) >= plan->rule.rounds_exact ||
               run_count >= ROUNDS_TRIED_MAX * plan->rule.rounds_exact;
    if (pair->precise_looks >= 2)
        return true;
    uint64_t taken_ns = pair->measured_ns - pair->measured_before_ns;
    uint64_t limit_ns = sequence_start_time_ns(&pair->sequence);
    bool is_late = limit_ns > 0 && taken_ns >= limit_ns;
    if (!is_late && run_count < PAIR_ROUNDS_MAX)
        return false;
    if (plan->rule.starts_max == 1)
        add_precision_reason(pair);
    return true;
}

/* Both workers are measured: what either does disturbs neither. The counts are of all starts. */
static void open_interference(struct pair *pair)
{
    const struct client *const clients[PAIR_SIDES] = {&pair->sides[PAIR_A].client,
                                                      &pair->sides[PAIR_B].client};
    struct interference before = pair->interference;
    interference_open(&pair->interference, clients, PAIR_SIDES, pair->plan->foreign_limit_percent);
    interference_carry(&pair->interference, &before);
    pair->set_aside_count = 0;
}

static enum status run_rounds(struct pair *pair, bool *ret_is_over, struct err *err)
{
    enum status status = STATUS_OK;
    pair->precise_looks = 0;
    pair->next_look = compare_look_after(0);
    pair->measured_before_ns = pair->measured_ns;
    open_interference(pair);
    pair->begin_ns = clock_now_ns();
    while (status == STATUS_OK && can_go_on(pair) && !*ret_is_over) {
        struct round round = {0};
        tell(pair, EVENT_MEASURING);
        size_t before_count = rounds_of_start(pair);
        interference_begin(&pair->interference);
        bool is_run = run_round(pair, &round);
        enum interference_cause cause = interference_end(&pair->interference);
        if (is_run)
            status = take_round(pair, &round, cause, err);
        round_release(&round);
        if (!is_run)
            break;
        pair->measured_ns = pair->measured_before_ns + (clock_now_ns() - pair->begin_ns);
        if (status == STATUS_OK && rounds_of_start(pair) > before_count)
            status = look(pair, err);
        if (pair->sequence.end == SEQUENCE_DECIDED)
            break;
        if (status == STATUS_OK)
            *ret_is_over = is_start_over(pair);
    }
    interference_close(&pair->interference);
    return status;
}

/* --- starts --- */

static void begin_start(struct pair *pair, bool is_first)
{
    const struct pair_plan *plan = pair->plan;
    for (int i = 0; i < PAIR_SIDES; i++) {
        if (!is_first)
            pair_side_release(&pair->sides[i]);
        fork_pool_renew(plan->clients[i]->fork_pool);
        pair_side_init(&pair->sides[i], plan->cells[i], plan->clients[i], &plan->policies[i],
                       plan->run_id, plan->log_paths[i]);
    }
}

/* What a start leaves behind besides its rounds. */
static enum status end_start(struct pair *pair, bool is_first, bool is_whole, struct err *err)
{
    tell(pair, EVENT_CLOSING);
    for (int i = 0; i < PAIR_SIDES; i++) {
        const struct measure_state *warmup = &pair->sides[i].warmup;
        client_close(&pair->sides[i].client);
        if (is_first)
            pair->warmup_steps_count[i] = warmup->warmup_steps_done;
        if (pair->unsteady[i].count == 0)
            pair->unsteady[i] = warmup->reasons;
    }
    size_t rounds_count = rounds_of_start(pair);
    if (!is_whole || rounds_count == 0)
        return STATUS_OK;
    return sequence_add_start(&pair->sequence, pair->log_ratios + pair->first_round, rounds_count,
                              pair->measured_ns - pair->measured_before_ns, err);
}

/* Cut, it is judged by the same rule on what there is. */
static enum status end_cut(struct pair *pair, struct err *err)
{
    size_t rounds_count = rounds_of_start(pair);
    sequence_cut(&pair->sequence);
    if (pair->sequence.starts_count > 0 || rounds_count == 0 || pair->plan->rule.is_estimate)
        return STATUS_OK;
    return sequence_look_early(&pair->sequence, pair->log_ratios + pair->first_round, rounds_count,
                               err);
}

static enum status run_starts(struct pair *pair, struct err *err)
{
    enum status status = STATUS_OK;
    for (bool is_first = true; status == STATUS_OK && !pair->is_complete; is_first = false) {
        bool is_start_whole = false;
        uint64_t before_ns = clock_now_ns();
        begin_start(pair, is_first);
        pair->first_round = pair->rounds_count;
        status = open_sides(pair, err);
        if (status == STATUS_OK)
            status = warm_up(pair, err);
        if (status == STATUS_OK && can_go_on(pair)) {
            plan_rounds(pair, clock_now_ns() - before_ns);
            status = run_rounds(pair, &is_start_whole, err);
        }
        struct err why = {0};
        enum status ended = end_start(pair, is_first, is_start_whole, &why);
        if (status == STATUS_OK && ended != STATUS_OK)
            status = ERR(err, ended, "%s", why.text);
        pair->is_complete = pair->sequence.end != SEQUENCE_GOES_ON;
        bool is_lost = rounds_of_start(pair) == 0 && pair->set_aside_count > 0;
        if (is_lost)
            reasons_add(&pair->reasons, "foreign_load", "0 of %zu round%s of a start undisturbed",
                        pair->set_aside_count, num_plural(pair->set_aside_count));
        if (!is_start_whole || is_lost ||
            session_is_interrupted(&pair->sides[PAIR_A].client.session))
            break;
    }
    if (status == STATUS_OK && !pair->is_complete)
        status = end_cut(pair, err);
    return status;
}

/* --- the call --- */

static void pair_free(struct pair *pair)
{
    for (int i = 0; i < PAIR_SIDES; i++) {
        pair_side_release(&pair->sides[i]);
        free(pair->times[i]);
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
    sequence_init(&pair->sequence, &plan->rule);
    enum status status = run_starts(pair, err);
    result.is_interrupted =
        !pair->is_complete && session_is_interrupted(&pair->sides[PAIR_A].client.session);
    result.total_ns = clock_now_ns() - before_ns;
    if (status == STATUS_OK)
        status = pair_outcome(pair, &result, err);
    pair_free(pair);
    if (status == STATUS_OK)
        *ret_result = result;
    return status;
}
