#include "cli/run_hud.h"

#include "base/clock.h"
#include "cli/signals.h"
#include "hud/term.h"

/* As often as the progress line is drawn. */
#define TICK_NS (200 * NS_PER_MS)

enum status run_hud_open(struct run_hud *run_hud, const char *dir, bool has_color,
                         struct progress *progress, struct err *err)
{
    const struct hud_options options = {
        .path = dir, .has_color = has_color, .has_mouse = true, .is_own_run = true, .wake_fd = -1};
    *run_hud = (struct run_hud){.progress = progress};
    if (!term_is_there())
        return ERR(err, STATUS_UNSUPPORTED, "--hud needs a terminal; this is none");
    TRY(hud_open(&options, &run_hud->hud, err));
    progress->style = PROGRESS_NONE;
    return STATUS_OK;
}

void run_hud_close(struct run_hud *run_hud)
{
    hud_close(run_hud->hud);
    run_hud->hud = NULL;
}

static void look(struct run_hud *run_hud)
{
    if (run_hud->hud == NULL)
        return;
    /* The screen says it all the time. */
    if (signals_take_status())
        hud_forget_screen(run_hud->hud);
    if (hud_look(run_hud->hud, run_hud->is_timed))
        return;
    run_hud_close(run_hud);
    run_hud->progress->style = PROGRESS_REWRITE;
}

static void on_cell(void *context, const struct event_cell *cell)
{
    (void)cell;
    look(context);
}

static void on_phase_changed(void *context, enum event_phase phase)
{
    struct run_hud *run_hud = context;
    run_hud->is_timed = false;
    look(run_hud);
    run_hud->is_timed = phase == EVENT_WARMUP || phase == EVENT_MEASURING;
}

/* The next block has not begun. */
static void on_block_done(void *context, const struct event_block *block)
{
    struct run_hud *run_hud = context;
    bool is_timed = run_hud->is_timed;
    (void)block;
    run_hud->is_timed = false;
    look(run_hud);
    run_hud->is_timed = is_timed;
}

static void on_tick(void *context)
{
    look(context);
}

static void on_record_stored(void *context, const struct record *record, const char *file_name,
                             uint64_t offset)
{
    struct run_hud *run_hud = context;
    (void)record;
    (void)file_name;
    (void)offset;
    run_hud->is_timed = false;
    look(run_hud);
}

struct event_listener run_hud_listener(struct run_hud *run_hud)
{
    return (struct event_listener){
        .context = run_hud,
        .cell_started = on_cell,
        .phase_changed = on_phase_changed,
        .block_done = on_block_done,
        .tick = on_tick,
        .tick_ns = TICK_NS,
        .cell_skipped = on_cell,
        .record_stored = on_record_stored,
    };
}
