#include "hud/hud.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "hud/scene.h"

#define SLICE_NS      (40 * NS_PER_MS)
#define LOOK_SLICE_NS (5 * NS_PER_MS)
/* Between two pictures, where no key asks for one: of something new, and of step times that move,
 * since the processors may be those that are measured. */
#define FRAME_NS (60 * NS_PER_MS)
#define MOVE_NS  (250 * NS_PER_MS)
/* Ages grow. */
#define CLOCK_MS 1000
/* Where the kernel does not tell of changes. */
#define LOOK_MS 200

struct hud {
    struct hud_options options;
    struct scene scene;
    struct term *term; /* owned */
    uint64_t drawn_ns;
    uint64_t seen_ns; /* when the files were read last */
    bool is_dirty;    /* the picture is old */
    bool is_moving;   /* its step times are, at least */
    bool is_more;     /* the file is not read to its end yet */
    bool has_keys;    /* options.keys are to be pressed */
    bool has_left;
};

enum status hud_open(const struct hud_options *options, struct hud **ret_hud, struct err *err)
{
    const struct term_options term = {options->has_color, options->has_mouse};
    struct hud *hud = calloc(1, sizeof(*hud));
    if (hud == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the HUD");
    hud->options = *options;
    hud->has_keys = options->keys != NULL;
    hud->is_dirty = hud->is_more = true;
    enum status status = scene_open(&hud->scene, &hud->options, true, err);
    if (status == STATUS_OK)
        status = term_open(&term, &hud->term, err);
    if (status == STATUS_OK)
        *ret_hud = hud;
    else
        hud_close(hud);
    return status;
}

void hud_close(struct hud *hud)
{
    if (hud == NULL)
        return;
    term_close(hud->term);
    scene_close(&hud->scene);
    free(hud);
}

void hud_forget_screen(struct hud *hud)
{
    term_forget(hud->term);
    hud->is_dirty = true;
}

static enum status draw(struct hud *hud, struct err *err)
{
    struct scene *scene = &hud->scene;
    size_t rows = 0;
    size_t columns = 0;
    term_size(hud->term, &rows, &columns);
    TRY(canvas_resize(&scene->screen.canvas, rows, columns, err));
    TRY(view_update(&scene->view, &scene->board, clock_now_ns(), err));
    const struct screen_facts facts = scene_facts(scene);
    screen_draw(&scene->screen, &scene->board, &scene->view, &facts);
    term_draw(hud->term, &scene->screen.canvas);
    hud->drawn_ns = clock_now_ns();
    hud->is_dirty = hud->is_moving = false;
    return STATUS_OK;
}

/* How long the picture may stay as it is. */
static uint64_t rest_ns(const struct hud *hud)
{
    return hud->is_dirty ? FRAME_NS : hud->is_moving ? MOVE_NS : CLOCK_MS * NS_PER_MS;
}

/* --- keys --- */

static void click(struct hud *hud, const struct term_key *key)
{
    const struct screen_spot *spot = screen_find(&hud->scene.screen, key->row, key->column);
    if (spot == NULL)
        return;
    if (spot->key == 0)
        view_select(&hud->scene.view, spot->place);
    else if (view_key(&hud->scene.view, &hud->scene.board, spot->key) == VIEW_QUIT)
        hud->has_left = true;
}

/* True: there were some. */
static bool take_keys(struct hud *hud)
{
    bool has_keys = false;
    for (;;) {
        struct term_key key = term_read_key(hud->term);
        if (key.key == HUD_KEY_NONE)
            return has_keys;
        has_keys = true;
        if (key.key == HUD_KEY_RESIZE)
            term_forget(hud->term);
        else if (key.key == HUD_KEY_CLICK)
            click(hud, &key);
        else if (view_key(&hud->scene.view, &hud->scene.board, key.key) == VIEW_QUIT)
            hud->has_left = true;
    }
}

/* --- files --- */

static enum status read_files(struct hud *hud, uint64_t slice_ns, struct err *err)
{
    struct scene *scene = &hud->scene;
    uint64_t records_count = scene->board.records_count;
    uint64_t version = scene->board.version;
    uint64_t bad_count = scene->board.bad_count;
    uint64_t event_ns = scene->board.run.newest_ns;
    hud->seen_ns = clock_now_ns();
    if (scene->view.is_paused)
        return STATUS_OK;
    TRY(tail_read(scene->tail, &scene->board, slice_ns, &hud->is_more, err));
    scene->is_read |= !hud->is_more;
    hud->is_dirty |= hud->is_more || records_count != scene->board.records_count ||
                     version != scene->board.version || bad_count != scene->board.bad_count;
    hud->is_moving |= event_ns != scene->board.run.newest_ns;
    if (hud->has_keys && !hud->is_more) {
        hud->has_keys = false;
        TRY(scene_press_keys(scene, err));
        hud->is_dirty = true;
    }
    return STATUS_OK;
}

/* --- the loop --- */

static int wait_ms(const struct hud *hud)
{
    uint64_t passed_ns = clock_now_ns() - hud->drawn_ns;
    bool is_paused = hud->scene.view.is_paused;
    if (hud->is_more && !is_paused)
        return 0;
    if (hud->is_dirty || hud->is_moving)
        return passed_ns < rest_ns(hud) ? clock_poll_ms(rest_ns(hud) - passed_ns, CLOCK_MS) : 0;
    return tail_fd(hud->scene.tail) < 0 && !is_paused ? LOOK_MS : CLOCK_MS;
}

static void wait_for_more(struct hud *hud)
{
    bool is_paused = hud->scene.view.is_paused;
    struct pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = is_paused ? -1 : tail_fd(hud->scene.tail), .events = POLLIN},
                              {.fd = hud->options.wake_fd, .events = POLLIN}};
    if (poll(polled, ARRAY_COUNT(polled), wait_ms(hud)) < 0 && errno != EINTR)
        hud->has_left = true;
    /* The terminal is gone. */
    if ((polled[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
        hud->has_left = true;
}

static bool is_over(const struct hud *hud)
{
    return hud->has_left || (hud->options.interrupt != NULL && *hud->options.interrupt != 0);
}

enum status hud_run(struct hud *hud, struct err *err)
{
    while (!is_over(hud)) {
        TRY(read_files(hud, SLICE_NS, err));
        bool is_key = take_keys(hud);
        uint64_t passed_ns = clock_now_ns() - hud->drawn_ns;
        if (is_key || passed_ns >= rest_ns(hud))
            TRY(draw(hud, err));
        if (!is_over(hud))
            wait_for_more(hud);
    }
    return STATUS_OK;
}

bool hud_look(struct hud *hud, bool is_timed)
{
    struct err err = {0};
    enum status status = STATUS_OK;
    bool is_key = take_keys(hud);
    uint64_t now_ns = clock_now_ns();
    bool is_due = !is_timed && now_ns - hud->drawn_ns >= FRAME_NS;
    if (is_due)
        status = read_files(hud, LOOK_SLICE_NS, &err);
    if (status == STATUS_OK && (is_key || is_due))
        status = draw(hud, &err);
    return status == STATUS_OK && !hud->has_left;
}
