#include "result/admit.h"

#include <string.h>

#include "result/parser.h"
#include "spec/verdict.h"

#define SANDBOX_SUFFIX "-sandbox"

#define PUBLISHED_FIELDS                                                                   \
    FACT_FRAMEWORK, FACT_DEVICE, FACT_PRECISION, FACT_MODE, FACT_SEQ_LEN, FACT_BATCH_SIZE, \
        FACT_STEPS, FACT_TOKENS_PER_STEP, FACT_MS_PER_STEP, FACT_TOKENS_PER_SEC,           \
        FACT_MEM_ALLOC_MB, FACT_MEM_RESERVED_MB, FACT_PEAK_MEM_MB, FACT_PARAMS_MILLIONS,   \
        FACT_NOTES

const enum fact_id admit_fields[] = {PUBLISHED_FIELDS, FACT_RUN_ID,   FACT_CELL_ID,
                                     FACT_POLICY_ID,   FACT_TRIAL,    FACT_STARTED_AT,
                                     FACT_VERDICT,     FACT_SYNTHETIC};
const size_t admit_fields_count = ARRAY_COUNT(admit_fields);

static const enum fact_id identity[] = {FACT_RUN_ID, FACT_CELL_ID, FACT_POLICY_ID, FACT_TRIAL,
                                        FACT_STARTED_AT};

const char *admit_word(enum admit_kind kind)
{
    static const char *const words[] = {
#define X(name, word) [ADMIT_##name] = (word),
        ADMIT_MAP(X)
#undef X
    };
    ASSERT(kind < ADMIT_KINDS_COUNT);
    return words[kind];
}

bool admit_find_kind(const struct reader_item *item, enum admit_kind *ret_kind)
{
    const char *framework = record_string(item->record, FACT_FRAMEWORK);
    const char *verdict = record_string(item->record, FACT_VERDICT);
    size_t bytes = strlen(framework);
    size_t suffix_bytes = strlen(SANDBOX_SUFFIX);
    if (record_bool(item->record, FACT_SYNTHETIC) ||
        (bytes > suffix_bytes && strcmp(framework + bytes - suffix_bytes, SANDBOX_SUFFIX) == 0))
        *ret_kind = ADMIT_SANDBOX;
    else if (strcmp(verdict, verdict_name(VERDICT_INVALID)) == 0)
        *ret_kind = ADMIT_INVALID;
    else if (strcmp(verdict, verdict_name(VERDICT_UNSTEADY)) == 0)
        *ret_kind = ADMIT_UNSTEADY;
    else
        return false;
    return true;
}

static bool has_identity(const struct reader_item *item)
{
    for (size_t i = 0; i < ARRAY_COUNT(identity); i++)
        if (record_is_null(item->record, identity[i]))
            return false;
    return !item->is_published;
}

/* Each value with its kind before and its end behind, so that no two lists of values are alike. */
static void append_value(const struct record *record, enum fact_id field, struct buf *out)
{
    const struct fact *fact = fact_of(field);
    /* CSV does not tell an empty text from null. */
    if (record_is_null(record, field) ||
        (fact->type == FACT_TYPE_STRING && record_string(record, field)[0] == '\0')) {
        buf_append_char(out, '0');
        return;
    }
    if (fact->type == FACT_TYPE_STRING) {
        const char *text = record_string(record, field);
        text = field == FACT_RUN_ID || field == FACT_CELL_ID || field == FACT_POLICY_ID
                   ? hash_id_digits(text)
                   : text;
        buf_append_char(out, 's');
        buf_append(out, text, strlen(text) + 1);
    } else if (fact->type == FACT_TYPE_INTEGER) {
        uint64_t number = record_u64(record, field);
        buf_append_char(out, 'i');
        buf_append(out, &number, sizeof(number));
    } else {
        double number = record_double(record, field) + 0.0; /* -0.0 is 0 */
        buf_append_char(out, 'd');
        buf_append(out, &number, sizeof(number));
    }
}

struct hash_wide admit_key(const struct reader_item *item, struct buf *scratch)
{
    _Static_assert(PARSER_PUBLISHED_COUNT == FACT_NOTES + 1, "the published fields come first");
    buf_reset(scratch);
    if (has_identity(item)) {
        for (size_t i = 0; i < ARRAY_COUNT(identity); i++)
            append_value(item->record, identity[i], scratch);
    } else {
        buf_append_char(scratch, 'p');
        for (enum fact_id id = 0; id < PARSER_PUBLISHED_COUNT; id++)
            append_value(item->record, id, scratch);
        for (size_t i = 0; i < ARRAY_COUNT(identity); i++)
            append_value(item->record, identity[i], scratch);
    }
    return hash_wide(scratch->data, scratch->length_bytes);
}
