/* registry/template.h - texts of entries with placeholders, as {metric}; {{ and }} are braces.
 *
 *   {metric}   the metric's short name: tps for tokens_per_sec, the field's own for others
 *   {field}    the field's name       {title}    its name for people      {unit}   its unit
 *   {engine}   pytorch, jax ...       {_engine}  '_' and the engine; nothing for pytorch
 *   {script}   the published script of the engine, or the command that runs it
 *   {FIELD}    that field of the record, whatever `tokmark fields` lists
 */
#ifndef REGISTRY_TEMPLATE_H
#define REGISTRY_TEMPLATE_H

#include "base/buf.h"
#include "base/status.h"
#include "result/visit.h"
#include "spec/cell.h"

#define TEMPLATE_ENGINE_BYTES CELL_FRAMEWORK_BYTES /* whole: ids are made from it */

/* Borrowed for a call of template_fill(). */
struct template_subject {
    enum fact_id metric;
    char engine[TEMPLATE_ENGINE_BYTES];
    const char *mode;
    const struct record *record; /* NULL: there are no results, only an engine and a mode */
};

/* STATUS_INVALID names a placeholder that is unknown, or a brace that is not closed. Adds the
 * fields of records that it needs. */
MUST_CHECK enum status template_check(const char *text, struct visit_fields *fields,
                                      struct err *err);
/* Appends the text of a template that was checked. STATUS_INVALID: it needs results. */
MUST_CHECK enum status template_expand(const char *text, const struct template_subject *subject,
                                       struct buf *out, struct err *err);

#endif
