/* telemetry/datasheet.h - what makers say that a card can do: dense rates, no sparsity. */
#ifndef TELEMETRY_DATASHEET_H
#define TELEMETRY_DATASHEET_H

#include <stdbool.h>

/* By a card's name, as frameworks and drivers give it. Per second; 0 where the sheet has none.
 * False: the card is not in the table (telemetry/datasheet.def). */
bool datasheet_find(const char *card, const char *precision, double *ret_flops, double *ret_bytes);

#endif
