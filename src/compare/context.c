#include "compare/context.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/chunks.h"
#include "base/hash.h"

#define TEXT_BYTES_MAX (4 * (size_t)RECORD_LINE_BYTES_MAX)
#define PATH_BYTES_MAX 1024

const enum fact_id context_name_fields[] = {FACT_FRAMEWORK, FACT_MODEL, FACT_DEVICE, FACT_MODE,
                                            FACT_PRECISION};
_Static_assert(ARRAY_COUNT(context_name_fields) == CONTEXT_NAME_FIELDS_COUNT, "fields of a name");

/* Texts of some fields, one behind the other, each with its NUL; kept once. */
struct texts {
    struct chunks items; /* char *, owned */
    uint64_t *hashes;    /* owned; by slot */
    uint32_t *slots;     /* owned; number, 0 = free */
    size_t slots_count;  /* a power of two, twice the largest count or more */
    uint32_t count, count_max;
};

struct contexts {
    struct visit_fields fields; /* of a context */
    struct texts contexts, names;
    struct buf scratch;
};

static enum status texts_init(struct texts *texts, uint32_t count_max, struct err *err)
{
    chunks_init(&texts->items, sizeof(char *));
    texts->count_max = count_max;
    texts->slots_count = 2 * (size_t)count_max;
    texts->slots = calloc(texts->slots_count, sizeof(*texts->slots));
    texts->hashes = calloc(texts->slots_count, sizeof(*texts->hashes));
    return texts->slots != NULL && texts->hashes != NULL
               ? STATUS_OK
               : ERR(err, STATUS_NOMEM, "no memory for what records have in common");
}

static const char *texts_at(const struct texts *texts, uint32_t number)
{
    char *const *item = number > 0 ? chunks_find(&texts->items, number - 1) : NULL;
    return item != NULL ? *item : NULL;
}

static void texts_release(struct texts *texts)
{
    for (uint32_t i = 0; i < texts->count; i++) {
        char **item = chunks_find(&texts->items, i);
        free(*item);
    }
    chunks_release(&texts->items);
    free(texts->slots);
    free(texts->hashes);
}

/* Where a text of that hash is, or belongs. */
static size_t texts_find(const struct texts *texts, uint64_t hash)
{
    size_t at = (size_t)hash & (texts->slots_count - 1);
    while (texts->slots[at] != 0 && texts->hashes[at] != hash)
        at = (at + 1) & (texts->slots_count - 1);
    return at;
}

static enum status texts_add(struct texts *texts, size_t at, uint64_t hash, const struct buf *text,
                             struct err *err)
{
    char **item = chunks_at(&texts->items, texts->count);
    char *copy = item != NULL ? malloc(text->length_bytes + 1) : NULL;
    if (copy == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for what records have in common");
    memcpy(copy, text->data, text->length_bytes + 1);
    *item = copy;
    texts->hashes[at] = hash;
    texts->slots[at] = ++texts->count;
    return STATUS_OK;
}

enum status contexts_new(struct contexts **ret_contexts, struct err *err)
{
    struct contexts *contexts = calloc(1, sizeof(*contexts));
    if (contexts == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for what records have in common");
    buf_init(&contexts->scratch, TEXT_BYTES_MAX);
    contexts_add_fields(&contexts->fields);
    enum status status = texts_init(&contexts->contexts, CONTEXTS_MAX, err);
    if (status == STATUS_OK)
        status = texts_init(&contexts->names, CONTEXT_NAMES_MAX, err);
    if (status == STATUS_OK)
        *ret_contexts = contexts;
    else
        contexts_free(contexts);
    return status;
}

void contexts_free(struct contexts *contexts)
{
    if (contexts == NULL)
        return;
    texts_release(&contexts->contexts);
    texts_release(&contexts->names);
    buf_release(&contexts->scratch);
    free(contexts);
}

/* The shape differs from cell to cell, and belongs to the cell's name. */
void contexts_add_fields(struct visit_fields *fields)
{
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        if ((fact_compare(id) == FACT_COMPARE_WORK && id != FACT_SEQ_LEN &&
             id != FACT_BATCH_SIZE) ||
            fact_compare(id) == FACT_COMPARE_SETTING)
            visit_fields_add_one(fields, id);
    visit_fields_add_one(fields, FACT_ENVIRONMENT);
    visit_fields_add(fields, context_name_fields, CONTEXT_NAME_FIELDS_COUNT);
}

/* A field's text; nothing where it is null. */
static void append_field(const struct record *record, enum fact_id field, struct buf *out)
{
    bool is_text =
        fact_of(field)->type == FACT_TYPE_STRING || fact_of(field)->type == FACT_TYPE_JSON;
    if (!record_is_null(record, field) && is_text)
        buf_append_text(out, record_string(record, field));
    else if (!record_is_null(record, field))
        record_format_csv_value(record, field, out);
    buf_append_char(out, '\0');
}

/* Of the fields that have a text, each with its place: most records are like one before, and need
 * no text made for them. */
static uint64_t hash_fields(struct buf *scratch, const enum fact_id *fields, size_t fields_count,
                            const struct record *record)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < fields_count; i++) {
        if (record_is_null(record, fields[i]))
            continue;
        enum fact_type type = fact_of(fields[i])->type;
        const char *text = record_string(record, fields[i]);
        if (type != FACT_TYPE_STRING && type != FACT_TYPE_JSON) {
            buf_reset(scratch);
            record_format_csv_value(record, fields[i], scratch);
            text = scratch->data;
        }
        if (text[0] != '\0')
            sum += hash_u64(text, strlen(text)) * (2 * (uint64_t)i + 1);
    }
    return sum;
}

static enum status take(struct contexts *contexts, struct texts *texts, const enum fact_id *fields,
                        size_t fields_count, const struct record *record, uint32_t *ret_number,
                        struct err *err)
{
    struct buf *scratch = &contexts->scratch;
    uint64_t hash = hash_fields(scratch, fields, fields_count, record);
    size_t at = texts_find(texts, hash);
    if (texts->slots[at] == 0 && texts->count < texts->count_max) {
        buf_reset(scratch);
        for (size_t i = 0; i < fields_count; i++)
            append_field(record, fields[i], scratch);
        if (scratch->failed)
            return ERR(err, STATUS_NOMEM, "no memory for what records have in common");
        TRY(texts_add(texts, at, hash, scratch, err));
    }
    *ret_number = texts->slots[at];
    return STATUS_OK;
}

enum status contexts_take(struct contexts *contexts, const struct record *record,
                          uint16_t *ret_number, struct err *err)
{
    uint32_t number = 0;
    enum status status = take(contexts, &contexts->contexts, contexts->fields.items,
                              contexts->fields.count, record, &number, err);
    if (status == STATUS_OK)
        *ret_number = (uint16_t)number;
    return status;
}

enum status contexts_take_name(struct contexts *contexts, const struct record *record,
                               uint32_t *ret_number, struct err *err)
{
    return take(contexts, &contexts->names, context_name_fields, CONTEXT_NAME_FIELDS_COUNT, record,
                ret_number, err);
}

const char *contexts_name(const struct contexts *contexts, uint32_t number, enum fact_id field)
{
    const char *text = texts_at(&contexts->names, number);
    for (size_t i = 0; text != NULL && i < CONTEXT_NAME_FIELDS_COUNT; i++) {
        if (context_name_fields[i] == field)
            return text;
        text += strlen(text) + 1;
    }
    return "";
}

/* --- what differs --- */

static void compare_json(json_t *base, json_t *now, const char *path, context_visit *visit,
                         void *context)
{
    if (json_is_object(base) && json_is_object(now)) {
        const char *key;
        json_t *value;
        json_object_foreach(base, key, value)
        {
            char inner[PATH_BYTES_MAX];
            (void)snprintf(inner, sizeof(inner), "%.900s%s%.100s", path, path[0] ? "." : "", key);
            json_t *other = json_object_get(now, key);
            if (other != NULL)
                compare_json(value, other, inner, visit, context);
        }
        return;
    }
    if (json_equal(base, now) || json_is_null(base) || json_is_null(now))
        return;
    char *before = json_dumps(base, JSON_ENCODE_ANY | JSON_COMPACT);
    char *after = json_dumps(now, JSON_ENCODE_ANY | JSON_COMPACT);
    if (before != NULL && after != NULL)
        visit(context, path, before, after);
    free(before);
    free(after);
}

static void compare_environments(const char *base, const char *now, context_visit *visit,
                                 void *context)
{
    json_t *before = json_loads(base, JSON_DECODE_ANY, NULL);
    json_t *after = json_loads(now, JSON_DECODE_ANY, NULL);
    if (before != NULL && after != NULL)
        compare_json(before, after, "", visit, context);
    json_decref(before);
    json_decref(after);
}

static void compare_fields(const struct contexts *contexts, uint16_t base, uint16_t now,
                           enum fact_compare how, context_visit *visit, void *context)
{
    const char *before = texts_at(&contexts->contexts, base);
    const char *after = texts_at(&contexts->contexts, now);
    if (base == now || before == NULL || after == NULL)
        return;
    for (size_t i = 0; i < contexts->fields.count; i++) {
        enum fact_id field = contexts->fields.items[i];
        bool is_known = before[0] != '\0' && after[0] != '\0' && strcmp(before, after) != 0;
        if (is_known && field == FACT_ENVIRONMENT && how == FACT_COMPARE_SETTING)
            compare_environments(before, after, visit, context);
        else if (is_known && field != FACT_ENVIRONMENT && fact_compare(field) == how)
            visit(context, fact_of(field)->name, before, after);
        before += strlen(before) + 1;
        after += strlen(after) + 1;
    }
}

void contexts_compare_work(const struct contexts *contexts, uint16_t base, uint16_t now,
                           context_visit *visit, void *context)
{
    compare_fields(contexts, base, now, FACT_COMPARE_WORK, visit, context);
}

void contexts_compare_settings(const struct contexts *contexts, uint16_t base, uint16_t now,
                               context_visit *visit, void *context)
{
    compare_fields(contexts, base, now, FACT_COMPARE_SETTING, visit, context);
}
