#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/render/terminal.h"
#include "cli/signals.h"
#include "hud/hud.h"
#include "hud/term.h"

#define OUTPUT_BYTES_MAX ((size_t)1 << 30)
#define KEYS_BYTES_MAX   256

enum hud_format { HUD_FORMAT_TEXT, HUD_FORMAT_JSON };

struct hud_command_options {
    const char *keys; /* borrowed: from the command line */
    uint64_t format;
    uint64_t color;
    bool is_once;
    bool has_no_mouse;
};

static const struct option_choice format_choices[] = {
    {"text", HUD_FORMAT_TEXT}, {"json", HUD_FORMAT_JSON}, {NULL, 0}};

static const struct option hud_rows[] = {
    {.name = "once",
     .type = OPTION_FLAG,
     .offset = offsetof(struct hud_command_options, is_once),
     .group = "Output",
     .help = "print what is there now, and end"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct hud_command_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "of --once"},
    {.name = "keys",
     .type = OPTION_TEXT,
     .offset = offsetof(struct hud_command_options, keys),
     .arg = "KEYS",
     .max = KEYS_BYTES_MAX,
     .group = "Output",
     .help = "begin as if these keys had been pressed: bt is the first batch size as a plot"},
    COLOR_ROW(offsetof(struct hud_command_options, color), "Output",
              "colours; auto: unless NO_COLOR is set"),
    {.name = "no-mouse",
     .type = OPTION_FLAG,
     .offset = offsetof(struct hud_command_options, has_no_mouse),
     .group = "Output",
     .help = "leave the mouse to the terminal, for copying text"},
    COMMAND_HELP_ROW,
};

static enum exit_code print_once(const struct invocation *call,
                                 const struct hud_command_options *options,
                                 const struct hud_options *hud)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, OUTPUT_BYTES_MAX);
    enum status status = options->format == HUD_FORMAT_JSON
                             ? hud_append_json(hud, &out, &err)
                             : hud_append_text(hud, terminal_columns(STDOUT_FILENO), &out, &err);
    if (status == STATUS_OK)
        return command_print(call, &out);
    buf_release(&out);
    command_complain(call, "%s", err.text);
    return EXIT_CODE_IO;
}

static bool print_line(void *context, const char *line)
{
    (void)context;
    return fputs(line, stdout) >= 0 && fflush(stdout) == 0;
}

static enum status show(const struct hud_options *options, struct err *err)
{
    struct hud *hud = NULL;
    if (!term_is_there())
        return hud_follow_lines(options, print_line, NULL, err);
    enum status status = hud_open(options, &hud, err);
    if (status == STATUS_UNSUPPORTED) {
        *err = (struct err){0};
        return hud_follow_lines(options, print_line, NULL, err);
    }
    if (status == STATUS_OK)
        status = hud_run(hud, err);
    hud_close(hud);
    return status;
}

static enum exit_code run_hud(const struct invocation *call)
{
    struct hud_command_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    struct err err = {0};
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct hud_options hud = {
        .path = seen.operands_count > 0 ? seen.operands[0] : "_bench",
        .keys = options.keys,
        .has_color = terminal_may_color(options.color),
        .has_mouse = !options.has_no_mouse,
        .interrupt = signals_interrupt(),
        .wake_fd = -1,
    };
    if (options.is_once)
        return print_once(call, &options, &hud);
    enum status status = signals_open(&hud.wake_fd, &err);
    if (status == STATUS_OK)
        status = show(&hud, &err);
    signals_close();
    if (status == STATUS_OK)
        return EXIT_CODE_OK;
    command_complain(call, "%s", err.text);
    return EXIT_CODE_IO;
}

const struct command command_hud = {
    .name = "hud",
    .operands = "[DIR|FILE]",
    .operands_max = 1,
    .summary = "Watches a sweep, live.",
    .description =
        "Shows a results folder (_bench) on the terminal, while it is written or afterwards: the "
        "cells of the sweep with their verdicts, the cell that is measured now with its step "
        "times, its median and how far that is known, and how long all of it will take. "
        "bench_results.jsonl alone is enough, also that of another program (docs/hud.md).\n\n"
        "Keys: b, s, p, e go through batch sizes, lengths, precisions and engines (with Shift "
        "backwards), m through metrics; / filters, 0 clears, c compares with the selected cell, t "
        "is table or plot, space pauses, ? lists all keys, q ends.\n\n"
        "Without a terminal to draw on it prints a line for each change, until the run ends.",
    .examples = "_bench\n"
                "_bench --once --format json",
    .options = hud_rows,
    .options_count = ARRAY_COUNT(hud_rows),
    .run = run_hud,
};
