#include "hud/scene.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"

#define SLICE_NS (100 * NS_PER_MS)
/* So long a run may say nothing, and a file of records stay as it is. A process that is gone says
 * nothing any more. */
#define QUIET_NS      (60 * NS_PER_S)
#define QUIET_GONE_NS (2 * NS_PER_S)
#define QUIET_GAPS    3
#define QUIET_NS_MAX  (3600 * NS_PER_S)

enum status scene_open(struct scene *scene, const struct hud_options *options, bool follows,
                       struct err *err)
{
    *scene = (struct scene){.options = options};
    board_init(&scene->board);
    view_init(&scene->view);
    scene->screen.canvas.is_ascii = !term_use_locale();
    return tail_open(options->path, follows, &scene->tail, err);
}

void scene_close(struct scene *scene)
{
    tail_close(scene->tail);
    view_release(&scene->view);
    board_release(&scene->board);
    canvas_release(&scene->screen.canvas);
}

/* Told by its process id: not of another machine, where the limit is the time alone. */
static bool is_gone(const struct board_run *run)
{
    return run->pid > 1 && run->pid < INT32_MAX && kill((pid_t)run->pid, 0) != 0 && errno == ESRCH;
}

static enum screen_state state_of(const struct scene *scene, uint64_t now_ns, uint64_t newest_ns)
{
    const struct board_run *run = &scene->board.run;
    if (!run->is_told)
        return newest_ns > 0 && now_ns > newest_ns + QUIET_NS ? SCREEN_STALE : SCREEN_NO_RUN;
    if (run->has_ended)
        return SCREEN_ENDED;
    uint64_t quiet_ns = now_ns > run->newest_ns ? now_ns - run->newest_ns : 0;
    uint64_t gaps_ns = QUIET_GAPS * run->gap_ns;
    uint64_t limit_ns = gaps_ns > QUIET_NS ? gaps_ns : QUIET_NS;
    if (limit_ns > QUIET_NS_MAX)
        limit_ns = QUIET_NS_MAX;
    if (scene->options->is_own_run)
        return SCREEN_RUNNING;
    if (quiet_ns > QUIET_GONE_NS && is_gone(run))
        return SCREEN_STALE;
    return quiet_ns > limit_ns ? SCREEN_STALE : SCREEN_RUNNING;
}

struct screen_facts scene_facts(const struct scene *scene)
{
    uint64_t now_ns = clock_wall_ns();
    uint64_t newest_ns = tail_newest_ns(scene->tail);
    return (struct screen_facts){
        .name = scene->options->path,
        .state = state_of(scene, now_ns, newest_ns),
        .now_ns = now_ns,
        .newest_ns = newest_ns,
        .read_share = scene->is_read ? 1 : tail_share(scene->tail),
        .note = tail_is_waiting(scene->tail) ? "waiting for the folder" : "",
        .is_own_run = scene->options->is_own_run,
    };
}

enum status scene_read_all(struct scene *scene, struct err *err)
{
    bool is_more = true;
    while (is_more)
        TRY(tail_read(scene->tail, &scene->board, SLICE_NS, &is_more, err));
    scene->is_read = true;
    return STATUS_OK;
}

enum status scene_press_keys(struct scene *scene, struct err *err)
{
    const char *keys = scene->options->keys != NULL ? scene->options->keys : "";
    for (; *keys != '\0'; keys++) {
        scene->view.is_stale = true;
        TRY(view_update(&scene->view, &scene->board, clock_now_ns(), err));
        (void)view_key(&scene->view, &scene->board, (unsigned char)*keys);
    }
    scene->view.is_stale = true;
    return view_update(&scene->view, &scene->board, clock_now_ns(), err);
}
