#include "hud/view.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NAME_BYTES_MAX 4096
/* A board is sorted again when so many times the time that it took has passed. */
#define SORT_REST 10

void view_init(struct view *view)
{
    *view = (struct view){.batch = LOOKUP_NONE,
                          .seq = LOOKUP_NONE,
                          .precision = LOOKUP_NONE,
                          .engine = LOOKUP_NONE,
                          .base = LOOKUP_NONE,
                          .selected = LOOKUP_NONE,
                          .is_following = true,
                          .is_stale = true};
}

void view_release(struct view *view)
{
    free(view->shown);
    free(view->rows);
    free(view->batches);
    *view = (struct view){0};
}

/* --- what is shown --- */

void view_describe_place(const struct view *view, const struct board *board, uint32_t place,
                         bool is_whole, struct buf *out)
{
    const struct board_axes *axes = &board->places[place].axes;
    const uint32_t words[] = {axes->engine, axes->model, axes->device, axes->mode, axes->precision};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        const char *text = lexicon_text(&board->words, words[i]);
        if (text[0] != '\0' && (is_whole || i >= 3 || view->has_several[i]))
            buf_appendf(out, "%s ", text);
    }
    buf_appendf(out, "seq %" PRIu32 " batch %" PRIu32, axes->seq_len, axes->batch_size);
}

void view_describe_common(const struct view *view, const struct board *board, struct buf *out)
{
    if (view->shown_count == 0)
        return;
    const struct board_axes *axes = &board->places[view->shown[0]].axes;
    const uint32_t words[] = {axes->engine, axes->model, axes->device};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (!view->has_several[i])
            buf_appendf(out, "%s%s", i == 0 ? "  " : " ", lexicon_text(&board->words, words[i]));
}

static const char *verdict_word(const struct board_place *place)
{
    return place->verdict < VERDICT_COUNT ? verdict_name(place->verdict) : "";
}

/* Every word of the text must be in the place's name or verdict, in either case. */
static bool is_found(const struct view *view, const struct board *board, uint32_t place)
{
    struct buf name;
    char words[VIEW_FIND_BYTES];
    bool is_there = true;
    if (view->find[0] == '\0')
        return true;
    buf_init(&name, NAME_BYTES_MAX);
    view_describe_place(view, board, place, true, &name);
    buf_appendf(&name, " %s", verdict_word(&board->places[place]));
    (void)snprintf(words, sizeof(words), "%s", view->find);
    char *rest = words;
    for (char *word; is_there && (word = strsep(&rest, " ")) != NULL;)
        is_there = strcasestr(name.data, word) != NULL;
    buf_release(&name);
    return is_there;
}

static bool passes(uint32_t wanted, uint32_t value)
{
    return wanted == LOOKUP_NONE || wanted == value;
}

static bool is_shown(const struct view *view, const struct board *board, uint32_t place)
{
    const struct board_axes *axes = &board->places[place].axes;
    const struct board_place *at = &board->places[place];
    return (at->has_result || at->is_planned || at->state == BOARD_RUNNING) &&
           passes(view->batch, axes->batch_size) && passes(view->seq, axes->seq_len) &&
           passes(view->precision, axes->precision) && passes(view->engine, axes->engine) &&
           is_found(view, board, place);
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_rows(const struct board_axes *a, const struct board_axes *b)
{
    const uint32_t left[] = {a->engine, a->model, a->device, a->mode, a->precision, a->seq_len};
    const uint32_t right[] = {b->engine, b->model, b->device, b->mode, b->precision, b->seq_len};
    int order = 0;
    for (size_t i = 0; order == 0 && i < ARRAY_COUNT(left); i++)
        order = compare_numbers(left[i], right[i]);
    return order;
}

static int compare_places(const void *a, const void *b, void *context)
{
    const struct board *board = context;
    const struct board_axes *left = &board->places[*(const uint32_t *)a].axes;
    const struct board_axes *right = &board->places[*(const uint32_t *)b].axes;
    int order = compare_rows(left, right);
    return order != 0 ? order : compare_numbers(left->batch_size, right->batch_size);
}

static int compare_plain(const void *a, const void *b)
{
    return compare_numbers(*(const uint32_t *)a, *(const uint32_t *)b);
}

static enum status reserve(struct view *view, size_t count, struct err *err)
{
    size_t room = count > 0 ? count : 1;
    uint32_t *shown = reallocarray(view->shown, room, sizeof(*shown));
    view->shown = shown != NULL ? shown : view->shown;
    struct view_row *rows = reallocarray(view->rows, room, sizeof(*rows));
    view->rows = rows != NULL ? rows : view->rows;
    uint32_t *batches = reallocarray(view->batches, room, sizeof(*batches));
    view->batches = batches != NULL ? batches : view->batches;
    return shown != NULL && rows != NULL && batches != NULL
               ? STATUS_OK
               : ERR(err, STATUS_NOMEM, "no memory for %zu cells", count);
}

static void find_differences(struct view *view, const struct board *board)
{
    memset(view->has_several, 0, sizeof(view->has_several));
    for (size_t i = 1; i < view->shown_count; i++) {
        const struct board_axes *first = &board->places[view->shown[0]].axes;
        const struct board_axes *axes = &board->places[view->shown[i]].axes;
        view->has_several[0] |= axes->engine != first->engine;
        view->has_several[1] |= axes->model != first->model;
        view->has_several[2] |= axes->device != first->device;
        view->has_several[3] |= axes->mode != first->mode;
        view->has_several[4] |= axes->precision != first->precision;
    }
}

static void find_rows(struct view *view, const struct board *board)
{
    view->rows_count = 0;
    for (size_t i = 0; i < view->shown_count; i++) {
        const struct board_axes *axes = &board->places[view->shown[i]].axes;
        if (i == 0 || compare_rows(&board->places[view->shown[i - 1]].axes, axes) != 0)
            view->rows[view->rows_count++] = (struct view_row){i, i};
        view->rows[view->rows_count - 1].end = i + 1;
        view->batches[i] = axes->batch_size;
    }
    qsort(view->batches, view->shown_count, sizeof(*view->batches), compare_plain);
    view->batches_count = 0;
    for (size_t i = 0; i < view->shown_count; i++)
        if (i == 0 || view->batches[i] != view->batches[view->batches_count - 1])
            view->batches[view->batches_count++] = view->batches[i];
}

static void keep_selection(struct view *view, const struct board *board)
{
    const struct board_run *run = &board->run;
    if (view->is_following && run->is_at_work && run->place != LOOKUP_NONE)
        view->selected = run->place;
    else if (view->is_following && board->newest != LOOKUP_NONE)
        view->selected = board->newest;
    for (size_t i = 0; i < view->shown_count; i++)
        if (view->shown[i] == view->selected)
            return;
    view->selected = view->shown_count > 0 ? view->shown[0] : LOOKUP_NONE;
}

enum status view_update(struct view *view, const struct board *board, uint64_t now_ns,
                        struct err *err)
{
    bool is_due = view->version != board->version && now_ns >= view->due_ns;
    if (!view->is_stale && !is_due)
        return STATUS_OK;
    TRY(reserve(view, board->places_count, err));
    view->shown_count = 0;
    for (uint32_t i = 0; i < board->places_count; i++)
        if (is_shown(view, board, i))
            view->shown[view->shown_count++] = i;
    qsort_r(view->shown, view->shown_count, sizeof(*view->shown), compare_places,
            (void *)(uintptr_t)board);
    find_rows(view, board);
    find_differences(view, board);
    keep_selection(view, board);
    view->is_stale = false;
    view->version = board->version;
    uint64_t after_ns = clock_now_ns();
    view->due_ns = after_ns > now_ns ? after_ns + SORT_REST * (after_ns - now_ns) : now_ns;
    return STATUS_OK;
}

uint32_t view_entry(const struct view *view, const struct board *board, size_t row, size_t column)
{
    for (size_t i = view->rows[row].begin; i < view->rows[row].end; i++)
        if (board->places[view->shown[i]].axes.batch_size == view->batches[column])
            return view->shown[i];
    return LOOKUP_NONE;
}

/* Of the cell at work what is known so far; NaN = not known. */
static double live_value(const struct view *view, const struct board *board, uint32_t place,
                         enum board_metric metric)
{
    const struct board_run *run = &board->run;
    if (view->is_cut_off || board->places[place].state != BOARD_RUNNING || place != run->place ||
        run->is_canary)
        return NAN;
    double tokens = (double)board->places[place].tokens_per_step;
    switch (metric) {
    case BOARD_TOKENS: return tokens > 0 ? tokens * 1000 / run->step_ms : NAN;
    case BOARD_MEDIAN: return run->median_ms;
    case BOARD_MEAN: return run->step_ms;
    case BOARD_LOSS: return run->loss;
    case BOARD_P99:
    case BOARD_MEMORY:
    case BOARD_FIRST:
    case BOARD_METRICS_COUNT: break;
    }
    return NAN;
}

double view_value(const struct view *view, const struct board *board, uint32_t place,
                  bool *ret_is_change)
{
    double live = live_value(view, board, place, view->metric);
    double value = isfinite(live) ? live : board->places[place].values[view->metric];
    *ret_is_change = view->base != LOOKUP_NONE && view->base < board->places_count;
    if (!*ret_is_change)
        return value;
    return 100 * (value / board->places[view->base].values[view->metric] - 1);
}

void view_describe_filters(const struct view *view, const struct board *board, struct buf *out)
{
    if (view->batch != LOOKUP_NONE)
        buf_appendf(out, "batch %" PRIu32 "  ", view->batch);
    if (view->seq != LOOKUP_NONE)
        buf_appendf(out, "seq %" PRIu32 "  ", view->seq);
    if (view->precision != LOOKUP_NONE)
        buf_appendf(out, "%s  ", lexicon_text(&board->words, view->precision));
    if (view->engine != LOOKUP_NONE)
        buf_appendf(out, "%s  ", lexicon_text(&board->words, view->engine));
    if (view->find[0] != '\0' || view->is_finding)
        buf_appendf(out, "/%s%s  ", view->find, view->is_finding ? "_" : "");
    while (out->length_bytes > 0 && out->data[out->length_bytes - 1] == ' ')
        out->data[--out->length_bytes] = '\0';
}

/* --- keys --- */

enum axis { AXIS_BATCH, AXIS_SEQ, AXIS_PRECISION, AXIS_ENGINE };

static uint32_t axis_value(const struct board_place *place, enum axis axis)
{
    switch (axis) {
    case AXIS_BATCH: return place->axes.batch_size;
    case AXIS_SEQ: return place->axes.seq_len;
    case AXIS_PRECISION: return place->axes.precision;
    case AXIS_ENGINE: return place->axes.engine;
    }
    return 0;
}

/* The next value of those that are there, in order, behind the last one all; `is_back`: the one
 * before. */
static void cycle(const struct board *board, enum axis axis, bool is_back, uint32_t *value)
{
    uint32_t next = LOOKUP_NONE;
    for (size_t i = 0; i < board->places_count; i++) {
        uint32_t there = axis_value(&board->places[i], axis);
        if (is_back) {
            bool is_before = *value == LOOKUP_NONE || there < *value;
            if (is_before && (next == LOOKUP_NONE || there > next))
                next = there;
        } else {
            bool is_behind = *value == LOOKUP_NONE || there > *value;
            if (is_behind && there < next)
                next = there;
        }
    }
    *value = next;
}

static enum view_answer type_key(struct view *view, uint32_t key)
{
    size_t length = strlen(view->find);
    if (key == HUD_KEY_ESCAPE)
        view->find[0] = '\0';
    if (key == HUD_KEY_ESCAPE || key == HUD_KEY_ENTER || key == '\r')
        view->is_finding = false;
    else if ((key == HUD_KEY_BACKSPACE || key == 8) && length > 0)
        view->find[length - 1] = '\0';
    else if (key >= ' ' && key < 127 && length + 1 < sizeof(view->find))
        (void)snprintf(view->find + length, sizeof(view->find) - length, "%c", (char)key);
    else
        return VIEW_IGNORED;
    view->is_stale = true;
    return VIEW_CHANGED;
}

/* Where the selection is; false = it is nowhere. */
static bool find_selected(const struct view *view, size_t *ret_at, size_t *ret_row)
{
    for (size_t row = 0; row < view->rows_count; row++)
        for (size_t i = view->rows[row].begin; i < view->rows[row].end; i++)
            if (view->shown[i] == view->selected) {
                *ret_at = i;
                *ret_row = row;
                return true;
            }
    return false;
}

/* The entry of another row that is nearest to the selected batch. */
static void select_row(struct view *view, const struct board *board, size_t row)
{
    uint32_t batch = board->places[view->selected].axes.batch_size;
    const struct view_row *to = &view->rows[row];
    size_t best = to->begin;
    for (size_t i = to->begin; i < to->end; i++)
        if (board->places[view->shown[i]].axes.batch_size <= batch)
            best = i;
    view->selected = view->shown[best];
}

static enum view_answer move(struct view *view, const struct board *board, uint32_t key)
{
    size_t at = 0;
    size_t row = 0;
    size_t page = view->rows_on_screen > 0 ? view->rows_on_screen : 1;
    if (!find_selected(view, &at, &row))
        return VIEW_IGNORED;
    view->is_following = false;
    size_t last = view->rows_count - 1;
    switch (key) {
    case HUD_KEY_LEFT: view->selected = view->shown[at > 0 ? at - 1 : 0]; return VIEW_CHANGED;
    case HUD_KEY_RIGHT:
        view->selected = view->shown[at + 1 < view->shown_count ? at + 1 : at];
        return VIEW_CHANGED;
    case HUD_KEY_HOME: view->selected = view->shown[0]; return VIEW_CHANGED;
    case HUD_KEY_END: view->selected = view->shown[view->shown_count - 1]; return VIEW_CHANGED;
    case HUD_KEY_UP:
    case HUD_KEY_WHEEL_UP: row = row > 0 ? row - 1 : 0; break;
    case HUD_KEY_DOWN:
    case HUD_KEY_WHEEL_DOWN: row = row < last ? row + 1 : last; break;
    case HUD_KEY_PAGE_UP: row = row > page ? row - page : 0; break;
    case HUD_KEY_PAGE_DOWN: row = row + page < last ? row + page : last; break;
    default: return VIEW_IGNORED;
    }
    select_row(view, board, row);
    return VIEW_CHANGED;
}

static void clear(struct view *view)
{
    view->batch = view->seq = view->precision = view->engine = LOOKUP_NONE;
    view->find[0] = '\0';
    view->is_following = true;
}

static enum view_answer filter_key(struct view *view, const struct board *board, uint32_t key)
{
    switch (key) {
    case 'b': cycle(board, AXIS_BATCH, false, &view->batch); break;
    case 'B': cycle(board, AXIS_BATCH, true, &view->batch); break;
    case 's': cycle(board, AXIS_SEQ, false, &view->seq); break;
    case 'S': cycle(board, AXIS_SEQ, true, &view->seq); break;
    case 'p': cycle(board, AXIS_PRECISION, false, &view->precision); break;
    case 'P': cycle(board, AXIS_PRECISION, true, &view->precision); break;
    case 'e': cycle(board, AXIS_ENGINE, false, &view->engine); break;
    case 'E': cycle(board, AXIS_ENGINE, true, &view->engine); break;
    case '0': clear(view); break;
    case '/': view->is_finding = true; break;
    default: return VIEW_IGNORED;
    }
    view->is_stale = true;
    view->top = 0;
    return VIEW_CHANGED;
}

static enum view_answer other_key(struct view *view, const struct board *board, uint32_t key)
{
    const unsigned count = BOARD_METRICS_COUNT;
    switch (key) {
    case 'm': view->metric = (view->metric + 1) % count; break;
    case 'M': view->metric = (view->metric + count - 1) % count; break;
    case 'c':
        if (view->selected == LOOKUP_NONE || !board->places[view->selected].has_result)
            return VIEW_IGNORED; /* nothing to compare with */
        view->base = view->base == view->selected ? LOOKUP_NONE : view->selected;
        break;
    case ' ': view->is_paused = !view->is_paused; break;
    case 't': view->is_plot = !view->is_plot; break;
    case '?': view->is_help = true; break;
    case 'q':
    case 'Q': return VIEW_QUIT;
    default: return VIEW_IGNORED;
    }
    return VIEW_CHANGED;
}

enum view_answer view_key(struct view *view, const struct board *board, uint32_t key)
{
    if (view->is_finding)
        return type_key(view, key);
    if (view->is_help) {
        view->is_help = false;
        return VIEW_CHANGED;
    }
    enum view_answer answer = move(view, board, key);
    if (answer == VIEW_IGNORED)
        answer = filter_key(view, board, key);
    return answer == VIEW_IGNORED ? other_key(view, board, key) : answer;
}

void view_select(struct view *view, uint32_t place)
{
    view->selected = place;
    view->is_following = false;
}
