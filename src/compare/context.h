/* compare/context.h - what records say of the work that they measured and of what did it: settings
 * and the environment. Thousands of records share a few of these, so each is kept once. */
#ifndef COMPARE_CONTEXT_H
#define COMPARE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/visit.h"

/* More are not told apart: they are number 0. */
#define CONTEXTS_MAX 4096
/* Of engine, device, precision, mode and model together. */
#define CONTEXT_NAMES_MAX 65536

struct contexts; /* opaque */

MUST_CHECK enum status contexts_new(struct contexts **ret_contexts, struct err *err);
void contexts_free(struct contexts *contexts);

/* Adds the fields that are looked at. */
void contexts_add_fields(struct visit_fields *fields);

/* The record's context: from 1; 0 past CONTEXTS_MAX. STATUS_NOMEM. */
MUST_CHECK enum status contexts_take(struct contexts *contexts, const struct record *record,
                                     uint16_t *ret_number, struct err *err);
/* Its engine, device, precision, mode and model: a number from 1; 0 past CONTEXT_NAMES_MAX. */
MUST_CHECK enum status contexts_take_name(struct contexts *contexts, const struct record *record,
                                          uint32_t *ret_number, struct err *err);
/* One of those five fields of a name; "" where it is not known. Borrowed. */
const char *contexts_name(const struct contexts *contexts, uint32_t number, enum fact_id field);
/* The five, for telling whether names share one. */
extern const enum fact_id context_name_fields[];
#define CONTEXT_NAME_FIELDS_COUNT 5

/* Where two contexts differ. `name`: of a field, or of a part of the environment ("cpu.model").
 * Values are text as in the record's JSON. Borrowed: for the call. */
typedef void context_visit(void *context, const char *name, const char *base, const char *now);

/* Fields that say what was measured; a field that one of the two does not know is no difference. 0
 * differs in nothing. */
void contexts_compare_work(const struct contexts *contexts, uint16_t base, uint16_t now,
                           context_visit *visit, void *context);
/* Settings, and the parts of the environment. */
void contexts_compare_settings(const struct contexts *contexts, uint16_t base, uint16_t now,
                               context_visit *visit, void *context);

#endif
