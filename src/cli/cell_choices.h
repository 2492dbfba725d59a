/* cli/cell_choices.h - the words of a cell's fields (spec/cell.def) as choices of flags:
 * cell_mode_choices, cell_precision_choices, ... */
#ifndef CLI_CELL_CHOICES_H
#define CLI_CELL_CHOICES_H

#include "cli/options.h"

#define CELL_CHOICES_TEXT(member)
#define CELL_CHOICES_HASH(member)
#define CELL_CHOICES_WORD(member) extern const struct option_choice cell_##member##_choices[];
#define CELL_CHOICES_FLAG(member)
#define CELL_CHOICES_COUNT(member)
#define CELL_CHOICES_SEED(member)
#define CELL_CHOICES_MODEL(member)
#define CELL_CHOICES_SETTINGS(member)
#define CELL_CHOICES_OPTIONS(member)
#define CELL(member, key, kind, ...)   CELL_CHOICES_##kind(member)
#define OPTION(member, key, kind, ...) CELL_CHOICES_##kind(member)
#include "spec/cell.def"

/* Other words for the same values: taken, not listed. */
extern const struct option_choice cell_mode_aliases[];
extern const struct option_choice cell_precision_aliases[];

#endif
