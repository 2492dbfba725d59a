/* export/identity.h - what names a result in another program: the same for the same thing in every
 * run, and another for every other thing.
 */
#ifndef EXPORT_IDENTITY_H
#define EXPORT_IDENTITY_H

#include "base/buf.h"
#include "result/record.h"

/* Fields that say which cell, and which of its trials. */
extern const enum fact_id export_identity[];
extern const size_t export_identity_count;

/* A field as text, without quotes; nothing where it is null. */
void identity_append_value(const struct record *record, enum fact_id field, struct buf *out);
/* "native/superintelligence-tiny/cpu/fp32/train/s128/b4/h6f1c0a94be2d7715"; "/trial=1" behind it
 * for every trial but the first. Line breaks and other control characters become spaces. */
void identity_append_name(const struct record *record, struct buf *out);
/* "native superintelligence-tiny cpu fp32 train s128 b4": for people; not of one thing alone. */
void identity_append_title(const struct record *record, struct buf *out);

/* The fields that hold the 95 % interval of a field; false: there are none. */
bool identity_find_interval(enum fact_id field, enum fact_id *ret_low, enum fact_id *ret_high);

#endif
