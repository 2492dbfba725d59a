/* export/unit.h - units of the table of facts in other programs' words. */
#ifndef EXPORT_UNIT_H
#define EXPORT_UNIT_H

#include "base/buf.h"
#include "spec/facts.h"

/* All borrowed: static. */
struct export_unit {
    const char *text;       /* in the table */
    const char *base;       /* the base unit, as names of Prometheus end with; "" = it counts */
    double factor, divisor; /* to it */
    const char *word;       /* the part of a field's name that says the unit; "" = none */
    const char *ucum;       /* in the Unified Code for Units of Measure, without the factor */
};

/* Never NULL: a unit that is not listed counts things. */
const struct export_unit *unit_of(enum fact_id field);
/* A number of the field in the base unit. */
double unit_to_base(enum fact_id field, double value);
/* "tokmark_step_p50_seconds" of ms_p50: the words of the field's name, its unit as a base unit
 * last. */
void unit_append_metric_name(enum fact_id field, struct buf *out);

#endif
