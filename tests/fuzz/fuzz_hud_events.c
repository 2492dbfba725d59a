/* Any lines of events onto a screen: first the keys, up to the first line end, then the events. No
 * character of the picture may be one that a terminal acts on. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hud/screen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void draw(const struct board *board, struct view *view, size_t rows, size_t columns)
{
    struct screen *screen = calloc(1, sizeof(*screen));
    const struct screen_facts facts = {
        .name = "_bench", .state = SCREEN_RUNNING, .now_ns = NS_PER_S, .read_share = 1, .note = ""};
    if (screen == NULL || canvas_resize(&screen->canvas, rows, columns, NULL) != STATUS_OK)
        abort();
    screen_draw(screen, board, view, &facts);
    for (size_t i = 0; i < screen->canvas.rows * screen->canvas.columns; i++) {
        uint32_t code = screen->canvas.chars[i].code;
        if (code < ' ' || (code >= 0x7F && code < 0xA0))
            abort();
    }
    canvas_release(&screen->canvas);
    free(screen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    const uint8_t *keys_end = memchr(data, '\n', size);
    const uint8_t *at = keys_end != NULL ? keys_end + 1 : end;
    struct board board;
    struct view view;
    board_init(&board);
    view_init(&view);
    while (at < end) {
        const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        if (board_take_event(&board, (const char *)at, (size_t)(line_end - at), NULL) != STATUS_OK)
            abort();
        at = line_end < end ? line_end + 1 : end;
    }
    for (const uint8_t *key = data; keys_end != NULL && key < keys_end; key++) {
        if (view_update(&view, &board, 0, NULL) != STATUS_OK)
            abort();
        (void)view_key(&view, &board, *key);
        view.is_stale = true;
    }
    if (view_update(&view, &board, 0, NULL) != STATUS_OK)
        abort();
    draw(&board, &view, 24, 80);
    draw(&board, &view, 10, 40);
    draw(&board, &view, 4, 20);
    view_release(&view);
    board_release(&board);
    return 0;
}
