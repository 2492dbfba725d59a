#include "export/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define NAME_BYTES 96

const enum fact_id export_identity[] = {FACT_FRAMEWORK,  FACT_MODEL,   FACT_DEVICE,
                                        FACT_PRECISION,  FACT_MODE,    FACT_SEQ_LEN,
                                        FACT_BATCH_SIZE, FACT_CELL_ID, FACT_TRIAL};
const size_t export_identity_count = ARRAY_COUNT(export_identity);

void identity_append_value(const struct record *record, enum fact_id field, struct buf *out)
{
    char number[NUM_TEXT_BYTES];
    if (record_is_null(record, field))
        return;
    switch (fact_of(field)->type) {
    case FACT_TYPE_INTEGER: buf_appendf(out, "%" PRIu64, record_u64(record, field)); break;
    case FACT_TYPE_BOOLEAN:
        buf_append_text(out, record_bool(record, field) ? "true" : "false");
        break;
    case FACT_TYPE_DOUBLE:
        num_format_double(record_double(record, field), number);
        buf_append_text(out, number);
        break;
    case FACT_TYPE_STRING:
    case FACT_TYPE_JSON: buf_append_text(out, record_string(record, field)); break;
    }
}

/* "-" where it is not known: a part that is missing would move the others. */
static void append_part(const struct record *record, enum fact_id field, struct buf *out)
{
    size_t start = out->length_bytes;
    identity_append_value(record, field, out);
    if (out->length_bytes == start)
        buf_append_char(out, '-');
    for (size_t i = start; i < out->length_bytes; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 0x7F)
            out->data[i] = ' ';
}

static void append_shape(const struct record *record, char separator, struct buf *out)
{
    static const enum fact_id words[] = {FACT_FRAMEWORK, FACT_MODEL, FACT_DEVICE, FACT_PRECISION,
                                         FACT_MODE};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        append_part(record, words[i], out);
        buf_append_char(out, separator);
    }
    buf_append_char(out, 's');
    append_part(record, FACT_SEQ_LEN, out);
    buf_append_char(out, separator);
    buf_append_char(out, 'b');
    append_part(record, FACT_BATCH_SIZE, out);
}

void identity_append_name(const struct record *record, struct buf *out)
{
    append_shape(record, '/', out);
    if (!record_is_null(record, FACT_CELL_ID)) {
        buf_append_char(out, '/');
        append_part(record, FACT_CELL_ID, out);
    }
    if (record_u64(record, FACT_TRIAL) > 0)
        buf_appendf(out, "/trial=%" PRIu64, record_u64(record, FACT_TRIAL));
}

void identity_append_title(const struct record *record, struct buf *out)
{
    append_shape(record, ' ', out);
}

bool identity_find_interval(enum fact_id field, enum fact_id *ret_low, enum fact_id *ret_high)
{
    char low[NAME_BYTES];
    char high[NAME_BYTES];
    /* That of the mean has the mean's name. */
    const char *name = field == FACT_MS_PER_STEP ? "ms_mean" : fact_of(field)->name;
    (void)snprintf(low, sizeof(low), "%s_low", name);
    (void)snprintf(high, sizeof(high), "%s_high", name);
    return fact_find(low, ret_low) && fact_find(high, ret_high);
}
