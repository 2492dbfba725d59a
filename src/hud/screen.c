#include "hud/screen.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hud/panels.h"

#define TEXT_BYTES_MAX ((size_t)4096)
/* Rows from which on there is room for more. */
#define ROWS_MEDIUM    15
#define ROWS_FULL      22
#define COLUMNS_NARROW 60
#define HELP_COLUMNS   ((size_t)40)

const char *screen_state_word(enum screen_state state)
{
    switch (state) {
    case SCREEN_NO_RUN: return "";
    case SCREEN_RUNNING: return "RUNNING";
    case SCREEN_STALE: return "STALE";
    case SCREEN_ENDED: return "ENDED";
    }
    return "";
}

/* --- numbers --- */

static void put_thousands(uint64_t number, char text[NUM_TEXT_BYTES])
{
    if (number >= 1000000)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 ",%03" PRIu64 ",%03" PRIu64,
                       number / 1000000, number / 1000 % 1000, number % 1000);
    else if (number >= 1000)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 ",%03" PRIu64, number / 1000,
                       number % 1000);
    else
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64, number);
}

void screen_format_value(double value, char text[NUM_TEXT_BYTES])
{
    double size = fabs(value);
    if (!isfinite(value))
        (void)snprintf(text, NUM_TEXT_BYTES, "-");
    else if (size >= 1e6)
        num_format_count(value, text);
    else if (value >= 999.95)
        put_thousands((uint64_t)(value + 0.5), text);
    else
        (void)snprintf(text, NUM_TEXT_BYTES, size >= 1e-4 ? "%#.4g" : "%.4g", value);
}

void screen_format_age(uint64_t age_ns, char text[NUM_TEXT_BYTES])
{
    uint64_t s = age_ns / NS_PER_S;
    if (s < 60)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "s", s);
    else if (s < 3600)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 48 * 3600)
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        (void)snprintf(text, NUM_TEXT_BYTES, "%" PRIu64 "d", s / 86400);
}

/* --- the first two rows --- */

static void draw_title(struct screen *screen, const struct board *board, const struct view *view,
                       const struct screen_facts *facts)
{
    struct canvas *canvas = &screen->canvas;
    const struct board_run *run = &board->run;
    char text[TEXT_BYTES_MAX];
    char age[NUM_TEXT_BYTES];
    uint64_t quiet_ns = facts->now_ns > run->newest_ns ? facts->now_ns - run->newest_ns : 0;
    text[0] = '\0';
    screen_format_age(quiet_ns, age);
    if (facts->state == SCREEN_ENDED)
        (void)snprintf(text, sizeof(text), "ENDED  exit %" PRIu64 "  %s ago ", run->exit_code, age);
    else if (facts->state == SCREEN_STALE)
        (void)snprintf(text, sizeof(text), run->is_told ? "STALE  quiet for %s " : "STALE ", age);
    else if (facts->state == SCREEN_RUNNING)
        (void)snprintf(text, sizeof(text), "RUNNING ");
    canvas_fill(canvas, 0, 0, canvas->columns, CANVAS_BAR);
    size_t at = canvas_put(canvas, 0, 0, canvas->columns, CANVAS_BAR, " hud  ");
    size_t end = canvas->columns - canvas_width(text);
    if (view->is_paused)
        at = canvas_put(canvas, 0, at, end, CANVAS_BAR, "PAUSED  ");
    at = canvas_put(canvas, 0, at, end > at ? end - 1 : at, CANVAS_BAR, facts->name);
    struct buf common;
    buf_init(&common, TEXT_BYTES_MAX);
    view_describe_common(view, board, &common);
    (void)canvas_put(canvas, 0, at, end > at ? end - 1 : at, CANVAS_BAR, common.data);
    buf_release(&common);
    canvas_put_right(canvas, 0, at, canvas->columns, CANVAS_BAR, text);
}

static void draw_progress(struct screen *screen, const struct board *board,
                          const struct screen_facts *facts)
{
    struct canvas *canvas = &screen->canvas;
    const struct board_run *run = &board->run;
    char text[TEXT_BYTES_MAX];
    char eta[NUM_TEXT_BYTES];
    char spent[NUM_TEXT_BYTES];
    size_t end = canvas->columns - 1;
    double share = facts->read_share;
    if (share < 1) {
        (void)snprintf(text, sizeof(text), " reading %.0f %%, %" PRIu64 " records", 100 * share,
                       board->records_count);
    } else if (run->is_told) {
        uint64_t total = run->cells_count * run->trials_count;
        uint64_t left_ns =
            facts->state == SCREEN_RUNNING ? board_remaining_ns(run, facts->now_ns) : 0;
        uint64_t to_ns = facts->state == SCREEN_RUNNING ? facts->now_ns : run->newest_ns;
        screen_format_age(left_ns, eta);
        screen_format_age(to_ns > run->begin_ns ? to_ns - run->begin_ns : 0, spent);
        share = total > 0 ? (double)run->done_count / (double)total : 0;
        (void)snprintf(text, sizeof(text), " %" PRIu64 "/%" PRIu64 "  %s%s%sin %s", run->done_count,
                       total, left_ns > 0 ? "eta " : "", left_ns > 0 ? eta : "",
                       left_ns > 0 ? "  " : "", spent);
    } else {
        if (board->records_count == 0)
            (void)canvas_put(canvas, 1, 1, end, CANVAS_DIM, "waiting for the first record");
        else
            (void)canvas_putf(canvas, 1, 1, end, CANVAS_DIM,
                              "no events: %zu cells from %" PRIu64 " records", board->places_count,
                              board->records_count);
        return;
    }
    size_t width = canvas_width(text);
    size_t bar_end = end > width + 8 ? end - width : 8;
    (void)canvas_put(canvas, 1, 1, end, CANVAS_BOLD, share < 1 || run->is_told ? "sweep" : "");
    canvas_put_bar(canvas, 1, 7, bar_end, CANVAS_GRAPH, share);
    (void)canvas_put(canvas, 1, bar_end, end, CANVAS_PLAIN, text);
}

/* --- the last rows --- */

static void draw_status(struct screen *screen, const struct board *board, const struct view *view,
                        const struct screen_facts *facts, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    bool is_narrow = canvas->columns < COLUMNS_NARROW;
    char age[NUM_TEXT_BYTES] = "none";
    char right[TEXT_BYTES_MAX];
    struct buf left;
    buf_init(&left, TEXT_BYTES_MAX);
    view_describe_filters(view, board, &left);
    if (view->base != LOOKUP_NONE && view->base < board->places_count) {
        buf_append_text(&left, left.length_bytes > 0 ? "  vs " : "vs ");
        view_describe_place(view, board, view->base, false, &left);
    }
    uint64_t age_ns = facts->now_ns > facts->newest_ns ? facts->now_ns - facts->newest_ns : 0;
    if (facts->newest_ns > 0)
        screen_format_age(age_ns, age);
    (void)snprintf(right, sizeof(right),
                   is_narrow ? "%" PRIu64 " rec %s%s%s %" PRIu64 " bad"
                             : "%" PRIu64 " records  newest %s%s%s  %" PRIu64 " bad lines",
                   board->records_count, age, is_narrow || facts->newest_ns == 0 ? "" : " ago",
                   facts->state == SCREEN_STALE ? " STALE" : "", board->bad_count);
    bool is_wrong = board->bad_count > 0 || facts->state == SCREEN_STALE;
    size_t end = canvas->columns - 1;
    size_t width = canvas_width(right);
    size_t begin = width + 1 < end ? end - width - 1 : 0;
    bool has_filter = left.length_bytes > 0;
    const char *note = facts->note[0] != '\0' ? facts->note : NULL;
    (void)canvas_put(canvas, row, 1, begin,
                     note != NULL ? CANVAS_BAD
                     : has_filter ? CANVAS_WORK
                                  : CANVAS_DIM,
                     note != NULL ? note
                     : has_filter ? left.data
                     : is_narrow  ? "all"
                                  : "all cells");
    canvas_put_right(canvas, row, begin, end, is_wrong ? CANVAS_WARN : CANVAS_DIM, right);
    buf_release(&left);
}

static void add_spot(struct screen *screen, struct screen_spot spot)
{
    if (screen->spots_count < SCREEN_SPOTS_MAX)
        screen->spots[screen->spots_count++] = spot;
}

void screen_add_key(struct screen *screen, size_t row, size_t begin, size_t end, uint32_t key)
{
    add_spot(screen, (struct screen_spot){row, begin, end, key, LOOKUP_NONE});
}

void screen_add_place(struct screen *screen, size_t row, size_t begin, size_t end, uint32_t place)
{
    add_spot(screen, (struct screen_spot){row, begin, end, 0, place});
}

static void draw_keys(struct screen *screen, size_t row)
{
    static const struct {
        const char *key, *label;
    } keys[] = {{"b", "batch"},  {"s", "seq"},  {"p", "prec"}, {"e", "engine"},
                {"m", "metric"}, {"c", "pin"},  {"/", "find"}, {"0", "all"},
                {"t", "plot"},   {"?", "help"}, {"q", "quit"}};
    struct canvas *canvas = &screen->canvas;
    size_t at = 1;
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (at + 2 + strlen(keys[i].label) > canvas->columns)
            return;
        size_t begin = at;
        at = canvas_put(canvas, row, at, canvas->columns, CANVAS_KEY, keys[i].key);
        at = canvas_put(canvas, row, at + 1, canvas->columns, CANVAS_DIM, keys[i].label);
        screen_add_key(screen, row, begin, at, (unsigned char)keys[i].key[0]);
        at++;
    }
}

/* Fits 40 x 10. */
static void draw_help(struct screen *screen, const struct screen_facts *facts)
{
    const char *const lines[] = {
        "b s p e  next batch, seq, prec, engine",
        "B S P E  the one before",
        "m M      next metric, the one before",
        "/        filter: words, Enter, Esc off",
        "0        all filters off",
        "arrows   select, as Home End PgUp PgDn",
        "c        compare with it; again: stop",
        "t space  table or plot; pause",
        "mouse    click a cell, or a key below",
        facts->is_own_run ? "q ?      leave, run goes on; this help" : "q ?      quit; this help",
    };
    struct canvas *canvas = &screen->canvas;
    size_t count = ARRAY_COUNT(lines);
    size_t width = HELP_COLUMNS;
    size_t left = canvas->columns > width ? (canvas->columns - width) / 2 : 0;
    size_t end = left + width < canvas->columns ? left + width : canvas->columns;
    size_t border = canvas->rows >= count + 3 ? 2 : 0; /* rows above, with a title */
    size_t rows = count + (border > 0 ? border + 1 : 0);
    size_t top = canvas->rows > rows ? (canvas->rows - rows) / 2 : 0;
    for (size_t i = 0; i < rows; i++)
        canvas_fill(canvas, top + i, left, end, CANVAS_BAR);
    if (border > 0)
        (void)canvas_put(canvas, top, left + 1, end, CANVAS_BAR, "Keys: any key closes it");
    for (size_t i = 0; i < count; i++)
        (void)canvas_put(canvas, top + border + i, left + 1, end, CANVAS_BAR, lines[i]);
}

/* --- all of it --- */

void screen_draw(struct screen *screen, const struct board *board, struct view *view,
                 const struct screen_facts *facts)
{
    struct canvas *canvas = &screen->canvas;
    size_t rows = canvas->rows;
    view->is_cut_off = facts->state == SCREEN_STALE;
    canvas_clear(canvas);
    screen->spots_count = 0;
    if (rows < 4 || canvas->columns < 20) {
        (void)canvas_put(canvas, 0, 0, canvas->columns, CANVAS_PLAIN, "too small");
        return;
    }
    bool is_full = rows >= ROWS_FULL;
    bool is_medium = rows >= ROWS_MEDIUM;
    size_t top = 2;
    size_t bottom = rows - 1; /* the status row */
    draw_title(screen, board, view, facts);
    draw_progress(screen, board, facts);
    if (is_medium)
        draw_keys(screen, --bottom + 1);
    draw_status(screen, board, view, facts, bottom);
    if (board->run.is_told && facts->state == SCREEN_RUNNING)
        top = panel_now(screen, board, facts, top, is_full ? 6 : is_medium ? 3 : 1);
    if (is_medium)
        panel_detail(screen, board, view, facts, --bottom);
    panel_cells(screen, board, view, facts, top, bottom);
    if (view->is_help)
        draw_help(screen, facts);
}

const struct screen_spot *screen_find(const struct screen *screen, size_t row, size_t column)
{
    for (size_t i = 0; i < screen->spots_count; i++) {
        const struct screen_spot *spot = &screen->spots[i];
        if (spot->row == row && column >= spot->begin && column < spot->end)
            return spot;
    }
    return NULL;
}
