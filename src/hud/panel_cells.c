#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hud/panels.h"

#define NAME_BYTES     1024
#define ENTRY_WIDTH    12 /* columns of a matrix's entry */
#define LEFT_MIN       16
#define COLUMNS_NARROW 60
#define ELLIPSIS       0x2026U

/* --- how a place stands --- */

static bool is_at_work(const struct view *view, const struct board_place *place)
{
    return place->state == BOARD_RUNNING && !view->is_cut_off;
}

/* Begun, and neither finished nor at work any more. */
static bool is_cut_off(const struct view *view, const struct board_place *place)
{
    return place->state == BOARD_RUNNING && view->is_cut_off;
}

static enum canvas_style panel_style(const struct view *view, const struct board_place *place)
{
    if (is_at_work(view, place))
        return CANVAS_WORK;
    if (is_cut_off(view, place))
        return CANVAS_WARN;
    if (!place->has_result)
        return CANVAS_DIM;
    if (!place->is_valid)
        return CANVAS_BAD;
    return place->verdict == VERDICT_UNSTEADY || place->warnings_count > 0 ? CANVAS_WARN
                                                                           : CANVAS_PLAIN;
}

static const char *panel_sign(const struct view *view, const struct board_place *place)
{
    if (is_at_work(view, place))
        return "\xE2\x96\xB6";
    if (is_cut_off(view, place))
        return "?";
    if (!place->has_result)
        return "\xC2\xB7";
    if (!place->is_valid)
        return "!";
    return place->verdict == VERDICT_UNSTEADY ? "\xE2\x89\x88"
           : place->warnings_count > 0        ? "~"
           : place->verdict == VERDICT_OK     ? "\xE2\x9C\x93"
                                              : " ";
}

static const char *panel_word(const struct view *view, const struct board_place *place)
{
    if (place->state == BOARD_RUNNING)
        return view->is_cut_off ? "cut off" : "running";
    if (!place->has_result)
        return "planned";
    return place->verdict < VERDICT_COUNT ? verdict_name(place->verdict) : "no verdict";
}

/* What is said of it in an entry: a value, a change, or why there is none. */
static enum canvas_style format_entry(const struct view *view, const struct board *board,
                                      uint32_t number, char text[NUM_TEXT_BYTES])
{
    const struct board_place *place = &board->places[number];
    bool is_change = false;
    double value = view_value(view, board, number, &is_change);
    enum canvas_style style = panel_style(view, place);
    if (!place->has_result && !is_at_work(view, place))
        (void)snprintf(text, NUM_TEXT_BYTES, "%s", "");
    else if (place->has_result && !place->is_valid && !isfinite(value))
        (void)snprintf(text, NUM_TEXT_BYTES, "%.9s", panel_word(view, place));
    else if (!is_change)
        screen_format_value(value, text);
    else if (number == view->base)
        (void)snprintf(text, NUM_TEXT_BYTES, "base");
    else if (!isfinite(value))
        (void)snprintf(text, NUM_TEXT_BYTES, "-");
    else {
        int better = board_metric_better(view->metric);
        bool is_worse = value * better < 0 && fabs(value) >= 0.05;
        bool is_better = value * better > 0 && fabs(value) >= 0.05;
        (void)snprintf(text, NUM_TEXT_BYTES, "%+.*f%%%s", fabs(value) < 100 ? 1 : 0, value,
                       is_worse    ? "\xE2\x96\xB2"
                       : is_better ? "\xE2\x96\xBC"
                                   : "");
        style = is_worse ? CANVAS_BAD : is_better ? CANVAS_GOOD : style;
    }
    return style;
}

/* --- the selected place --- */

void panel_detail(struct screen *screen, const struct board *board, const struct view *view,
                  const struct screen_facts *facts, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    size_t end = canvas->columns - 1;
    char text[NUM_TEXT_BYTES];
    struct buf name;
    (void)facts;
    if (view->selected == LOOKUP_NONE || view->selected >= board->places_count)
        return;
    const struct board_place *place = &board->places[view->selected];
    buf_init(&name, NAME_BYTES);
    view_describe_place(view, board, view->selected, false, &name);
    size_t at = canvas_putf(canvas, row, 1, end, panel_style(view, place), "%s %s",
                            panel_sign(view, place), panel_word(view, place));
    at = canvas_putf(canvas, row, at + 1, end, CANVAS_BOLD, "%s", name.data);
    buf_release(&name);
    if (place->has_result && place->trials_count > 1)
        at = canvas_putf(canvas, row, at, end, CANVAS_DIM, "  x%" PRIu32, place->trials_count);
    double low = 100 * (1 - place->median_low / place->values[BOARD_MEDIAN]);
    double high = 100 * (place->median_high / place->values[BOARD_MEDIAN] - 1);
    if (isfinite(place->values[BOARD_MEDIAN])) {
        screen_format_value(place->values[BOARD_MEDIAN], text);
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  %s ms", text);
        if (isfinite(low) && isfinite(high))
            at =
                canvas_putf(canvas, row, at, end, CANVAS_PLAIN, " \xC2\xB1%.2g%%", fmax(low, high));
    }
    if (isfinite(place->values[BOARD_TOKENS])) {
        screen_format_value(place->values[BOARD_TOKENS], text);
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  %s tok/s", text);
    }
    if (lexicon_text(&board->words, place->reason)[0] != '\0')
        at = canvas_putf(canvas, row, at, end, CANVAS_WARN, "  %s",
                         lexicon_text(&board->words, place->reason));
    if (place->is_synthetic)
        at = canvas_put(canvas, row, at, end, CANVAS_WARN, "  made up");
    if (place->is_mixed)
        (void)canvas_put(canvas, row, at, end, CANVAS_DIM, "  of several cells the newest");
}

/* --- rows' names --- */

/* Of a row of the matrix: without its batch. */
static void append_row_name(const struct view *view, const struct board *board, size_t row,
                            struct buf *out)
{
    uint32_t place = view->shown[view->rows[row].begin];
    const struct board_axes *axes = &board->places[place].axes;
    const uint32_t words[] = {axes->engine, axes->model, axes->device, axes->mode, axes->precision};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (i >= 3 || view->has_several[i])
            buf_appendf(out, "%s ", lexicon_text(&board->words, words[i]));
    buf_appendf(out, "%" PRIu32, axes->seq_len);
}

static size_t widest_name(const struct view *view, const struct board *board, size_t top,
                          size_t bottom)
{
    size_t widest = LEFT_MIN;
    for (size_t row = top; row < bottom && row < view->rows_count; row++) {
        struct buf name;
        buf_init(&name, NAME_BYTES);
        append_row_name(view, board, row, &name);
        size_t width = canvas_width(name.data);
        widest = width > widest ? width : widest;
        buf_release(&name);
    }
    return widest;
}

/* Of one that is too long the end tells more. */
static void put_name(struct canvas *canvas, size_t row, size_t left, const char *name)
{
    size_t width = canvas_width(name);
    canvas_put_right(canvas, row, 1, width < left - 2 ? width + 1 : left - 1, CANVAS_PLAIN, name);
    if (width > left - 2)
        canvas_put_code(canvas, row, 1, CANVAS_DIM, ELLIPSIS);
}

/* The row of the selection, and its column. */
static void find_selection(const struct view *view, const struct board *board, size_t *ret_row,
                           size_t *ret_column)
{
    *ret_row = *ret_column = 0;
    if (view->selected == LOOKUP_NONE)
        return;
    for (size_t row = 0; row < view->rows_count; row++)
        for (size_t i = view->rows[row].begin; i < view->rows[row].end; i++)
            if (view->shown[i] == view->selected)
                *ret_row = row;
    while (*ret_column + 1 < view->batches_count &&
           view->batches[*ret_column] < board->places[view->selected].axes.batch_size)
        ++*ret_column;
}

static void scroll(struct view *view, size_t selected, size_t room, size_t count)
{
    view->rows_on_screen = room;
    if (selected < view->top)
        view->top = selected;
    if (room > 0 && selected >= view->top + room)
        view->top = selected + 1 - room;
    if (view->top + room > count)
        view->top = count > room ? count - room : 0;
}

/* --- the matrix --- */

static void draw_header(struct screen *screen, const struct view *view, size_t row, size_t left,
                        size_t first, size_t columns)
{
    struct canvas *canvas = &screen->canvas;
    char text[NUM_TEXT_BYTES + 16];
    (void)canvas_putf(canvas, row, 1, left, CANVAS_KEY, "%s%s", board_metric_label(view->metric),
                      view->base != LOOKUP_NONE ? " vs base" : "");
    screen_add_key(screen, row, 1, left, 'm');
    /* There are more. */
    if (first > 0)
        canvas_put_code(canvas, row, left, CANVAS_KEY, '<');
    if (first + columns < view->batches_count)
        canvas_put_code(canvas, row, canvas->columns - 1, CANVAS_KEY, '>');
    for (size_t i = 0; i < columns; i++) {
        (void)snprintf(text, sizeof(text), i == 0 ? "batch %" PRIu32 : "%" PRIu32,
                       view->batches[first + i]);
        canvas_put_right(canvas, row, left + i * ENTRY_WIDTH, left + (i + 1) * ENTRY_WIDTH,
                         CANVAS_DIM, text);
    }
}

static void draw_entry(struct screen *screen, const struct view *view, const struct board *board,
                       uint32_t place, size_t row, size_t begin)
{
    struct canvas *canvas = &screen->canvas;
    char text[NUM_TEXT_BYTES];
    size_t end = begin + ENTRY_WIDTH;
    enum canvas_style style = format_entry(view, board, place, text);
    if (place == view->selected)
        canvas_fill(canvas, row, begin + 1, end, style);
    (void)canvas_put(canvas, row, begin + 2, end, style, panel_sign(view, &board->places[place]));
    canvas_put_right(canvas, row, begin + 3, end, style, text);
    if (place == view->selected)
        canvas_restyle(canvas, row, begin + 1, end, CANVAS_SELECTED);
    screen_add_place(screen, row, begin + 1, end, place);
}

static void draw_matrix(struct screen *screen, const struct board *board, struct view *view,
                        size_t top, size_t bottom)
{
    struct canvas *canvas = &screen->canvas;
    size_t selected_row = 0;
    size_t selected_column = 0;
    find_selection(view, board, &selected_row, &selected_column);
    scroll(view, selected_row, bottom - top - 1, view->rows_count);
    size_t left = 2 + widest_name(view, board, view->top, view->top + view->rows_on_screen);
    /* Values are worth more than long names. */
    size_t most = canvas->columns > ENTRY_WIDTH + 3 ? canvas->columns - ENTRY_WIDTH - 1 : 2;
    size_t half = canvas->columns / 2 > LEFT_MIN + 2 ? canvas->columns / 2 : LEFT_MIN + 2;
    most = most < half ? most : half;
    left = left < most ? left : most;
    size_t fit = (canvas->columns - left) / ENTRY_WIDTH;
    size_t first = selected_column >= fit ? selected_column + 1 - fit : 0;
    size_t columns = view->batches_count - first < fit ? view->batches_count - first : fit;
    draw_header(screen, view, top, left, first, columns);
    for (size_t i = 0; i < view->rows_on_screen && view->top + i < view->rows_count; i++) {
        struct buf name;
        size_t row = view->top + i;
        buf_init(&name, NAME_BYTES);
        append_row_name(view, board, row, &name);
        put_name(canvas, top + 1 + i, left, name.data);
        buf_release(&name);
        for (size_t column = 0; column < columns; column++) {
            uint32_t place = view_entry(view, board, row, first + column);
            if (place != LOOKUP_NONE)
                draw_entry(screen, view, board, place, top + 1 + i, left + column * ENTRY_WIDTH);
        }
    }
}

/* --- bars --- */

static double largest_value(const struct view *view, const struct board *board)
{
    double largest = 0;
    bool is_change = false;
    for (size_t i = 0; i < view->shown_count; i++) {
        double value = fabs(view_value(view, board, view->shown[i], &is_change));
        if (isfinite(value) && value > largest)
            largest = value;
    }
    return largest > 0 ? largest : 1;
}

static size_t selected_entry(const struct view *view)
{
    for (size_t i = 0; i < view->shown_count; i++)
        if (view->shown[i] == view->selected)
            return i;
    return 0;
}

static size_t widest_place(const struct view *view, const struct board *board, size_t count)
{
    size_t widest = LEFT_MIN;
    for (size_t i = 0; i < count && view->top + i < view->shown_count; i++) {
        struct buf name;
        buf_init(&name, NAME_BYTES);
        view_describe_place(view, board, view->shown[view->top + i], false, &name);
        size_t width = canvas_width(name.data);
        widest = width > widest ? width : widest;
        buf_release(&name);
    }
    return widest;
}

static void draw_bar(struct screen *screen, const struct view *view, const struct board *board,
                     uint32_t place, size_t row, size_t left, double largest)
{
    struct canvas *canvas = &screen->canvas;
    size_t end = canvas->columns - 1;
    bool is_change = false;
    char text[NUM_TEXT_BYTES];
    double value = view_value(view, board, place, &is_change);
    enum canvas_style style = format_entry(view, board, place, text);
    struct buf name;
    buf_init(&name, NAME_BYTES);
    view_describe_place(view, board, place, false, &name);
    put_name(canvas, row, left, name.data);
    buf_release(&name);
    (void)canvas_put(canvas, row, left, end, style, panel_sign(view, &board->places[place]));
    canvas_put_right(canvas, row, left + 1, left + ENTRY_WIDTH, style, text);
    if (isfinite(value) && left + ENTRY_WIDTH + 2 < end)
        canvas_put_bar(canvas, row, left + ENTRY_WIDTH + 1, end,
                       style == CANVAS_PLAIN ? CANVAS_GRAPH : style, fabs(value) / largest);
    if (place == view->selected)
        canvas_restyle(canvas, row, 1, left - 1, CANVAS_SELECTED);
    screen_add_place(screen, row, 0, canvas->columns, place);
}

static void draw_bars(struct screen *screen, const struct board *board, struct view *view,
                      size_t top, size_t bottom)
{
    struct canvas *canvas = &screen->canvas;
    scroll(view, selected_entry(view), bottom - top - 1, view->shown_count);
    size_t left = 2 + widest_place(view, board, view->rows_on_screen);
    /* On a narrow screen names and values are worth more than bars. */
    size_t beside = canvas->columns < COLUMNS_NARROW ? ENTRY_WIDTH + 2 : 2 * ENTRY_WIDTH;
    size_t most = canvas->columns > beside + 2 ? canvas->columns - beside : 2;
    left = left < most ? left : most;
    double largest = largest_value(view, board);
    (void)canvas_putf(canvas, top, 1, canvas->columns, CANVAS_KEY, "%s%s",
                      board_metric_label(view->metric),
                      view->base != LOOKUP_NONE ? " vs base" : "");
    screen_add_key(screen, top, 1, left, 'm');
    for (size_t i = 0; i < view->rows_on_screen && view->top + i < view->shown_count; i++)
        draw_bar(screen, view, board, view->shown[view->top + i], top + 1 + i, left, largest);
}

void panel_cells(struct screen *screen, const struct board *board, struct view *view,
                 const struct screen_facts *facts, size_t top, size_t bottom)
{
    (void)facts;
    if (top + 2 > bottom)
        return;
    if (view->shown_count == 0)
        (void)canvas_put(&screen->canvas, top + 1, 1, screen->canvas.columns, CANVAS_DIM,
                         board->places_count > 0 ? "no cell passes the filters; 0 clears them"
                                                 : "no records yet");
    else if (view->is_plot)
        draw_bars(screen, board, view, top, bottom);
    else
        draw_matrix(screen, board, view, top, bottom);
}
