/* cli/render/help.h - the text of --help, at most 80 columns, made from the tables. */
#ifndef CLI_RENDER_HELP_H
#define CLI_RENDER_HELP_H

#include "base/buf.h"
#include "cli/command.h"

#define HELP_BYTES_MAX (256 * 1024)
#define HELP_COLUMNS   80

/* All commands, with examples and exit codes. */
void help_overview(struct buf *out);
/* One command under one of its names. */
void help_command(const struct command *command, const struct program *program, struct buf *out);

/* What a row takes, as sentences: range, words, default, "repeatable". Shared with the man page. */
void help_row_facts(const struct options_table *table, const struct option *row, struct buf *out);

#endif
