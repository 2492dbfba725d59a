#include "registry/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"

#define WORD_BYTES 64

enum placeholder {
    PLACEHOLDER_METRIC,
    PLACEHOLDER_FIELD,
    PLACEHOLDER_TITLE,
    PLACEHOLDER_UNIT,
    PLACEHOLDER_ENGINE,
    PLACEHOLDER_ENGINE_ADDED,
    PLACEHOLDER_SCRIPT,
    PLACEHOLDERS_COUNT /* behind them: the fields of records */
};

static const char *const placeholder_names[] = {"metric", "field",   "title", "unit",
                                                "engine", "_engine", "script"};

/* Names that people use for metrics. */
static const struct {
    enum fact_id metric;
    const char *short_name; /* NULL = the field's */
    const char *title;
} metric_names[] = {
    {FACT_TOKENS_PER_SEC, "tps", "Tokens/sec"},
    {FACT_MS_PER_STEP, NULL, "Milliseconds/step"},
    {FACT_MS_P50, NULL, "Median milliseconds/step"},
    {FACT_PEAK_MEM_MB, NULL, "Peak memory, MiB"},
};

static bool find_placeholder(const char *word, unsigned *ret_placeholder)
{
    enum fact_id field;
    for (unsigned i = 0; i < PLACEHOLDERS_COUNT; i++)
        if (strcmp(placeholder_names[i], word) == 0) {
            *ret_placeholder = i;
            return true;
        }
    if (!fact_find(word, &field))
        return false;
    *ret_placeholder = PLACEHOLDERS_COUNT + (unsigned)field;
    return true;
}

static enum status say_unknown(const char *word, struct err *err)
{
    const char *names[PLACEHOLDERS_COUNT + FACTS_COUNT];
    struct nearest_hint hint;
    for (unsigned i = 0; i < PLACEHOLDERS_COUNT; i++)
        names[i] = placeholder_names[i];
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        names[PLACEHOLDERS_COUNT + (unsigned)id] = fact_of(id)->name;
    return ERR(err, STATUS_INVALID, "no placeholder is named {%s}; %s", word,
               nearest_hint(&hint, "", word, names, ARRAY_COUNT(names)));
}

/* Takes the next part: text up to a brace, or a placeholder. *ret_placeholder = PLACEHOLDERS_COUNT
 * + FACTS_COUNT: it is text. */
static enum status take_part(const char **at, struct buf *out, unsigned *ret_placeholder,
                             struct err *err)
{
    const char *text = *at;
    *ret_placeholder = PLACEHOLDERS_COUNT + FACTS_COUNT;
    if ((text[0] == '{' || text[0] == '}') && text[1] == text[0]) {
        buf_append_char(out, text[0]);
        *at += 2;
        return STATUS_OK;
    }
    size_t bytes = strcspn(text, "{}");
    if (bytes > 0) {
        buf_append(out, text, bytes);
        *at += bytes;
        return STATUS_OK;
    }
    char word[WORD_BYTES];
    size_t word_bytes = text[0] == '{' ? strcspn(text + 1, "{}") : 0;
    if (text[0] == '}' || text[1 + word_bytes] != '}')
        return ERR(err, STATUS_INVALID,
                   "'%.100s': a brace without its other one; {{ and }} stand for braces", text);
    (void)snprintf(word, sizeof(word), "%.*s", (int)(word_bytes < WORD_BYTES ? word_bytes : 60),
                   text + 1);
    *at += word_bytes + 2;
    return find_placeholder(word, ret_placeholder) ? STATUS_OK : say_unknown(word, err);
}

enum status template_check(const char *text, struct visit_fields *fields, struct err *err)
{
    struct buf ignored;
    enum status status = STATUS_OK;
    buf_init(&ignored, strlen(text) + 1);
    for (const char *at = text; status == STATUS_OK && *at != '\0';) {
        unsigned placeholder;
        status = take_part(&at, &ignored, &placeholder, err);
        if (status == STATUS_OK && placeholder >= PLACEHOLDERS_COUNT &&
            placeholder < PLACEHOLDERS_COUNT + FACTS_COUNT)
            visit_fields_add_one(fields, (enum fact_id)(placeholder - PLACEHOLDERS_COUNT));
    }
    buf_release(&ignored);
    return status;
}

/* --- values --- */

static void append_title(enum fact_id metric, struct buf *out)
{
    const char *name = fact_of(metric)->name;
    for (size_t i = 0; i < ARRAY_COUNT(metric_names); i++)
        if (metric_names[i].metric == metric) {
            buf_append_text(out, metric_names[i].title);
            return;
        }
    for (const char *c = name; *c != '\0'; c++) {
        bool is_first_letter = c == name && *c >= 'a' && *c <= 'z';
        buf_append_char(out, *c == '_' ? ' ' : is_first_letter ? (char)(*c - 'a' + 'A') : *c);
    }
}

static const char *short_name(enum fact_id metric)
{
    for (size_t i = 0; i < ARRAY_COUNT(metric_names); i++)
        if (metric_names[i].metric == metric && metric_names[i].short_name != NULL)
            return metric_names[i].short_name;
    return fact_of(metric)->name;
}

static void append_script(const char *engine, struct buf *out)
{
    if (strcmp(engine, "pytorch") == 0 || strcmp(engine, "jax") == 0)
        buf_appendf(out, "benchmarks/bench_%s.py", engine);
    else
        buf_appendf(out, "tokmark run --engine %s", engine);
}

static enum status append_field(enum fact_id field, const struct template_subject *subject,
                                struct buf *out, struct err *err)
{
    char number[NUM_TEXT_BYTES];
    const struct fact *fact = fact_of(field);
    if (field == FACT_MODE)
        buf_append_text(out, subject->mode);
    else if (subject->record == NULL)
        return ERR(err, STATUS_INVALID, "{%s} is known of results only; name some", fact->name);
    else if (record_is_null(subject->record, field))
        buf_append_text(out, "none");
    else if (fact->type == FACT_TYPE_INTEGER)
        buf_appendf(out, "%" PRIu64, record_u64(subject->record, field));
    else if (fact->type == FACT_TYPE_BOOLEAN)
        buf_append_text(out, record_bool(subject->record, field) ? "true" : "false");
    else if (fact->type == FACT_TYPE_DOUBLE) {
        num_format_double(record_double(subject->record, field), number);
        buf_append_text(out, number);
    } else
        buf_append_text(out, record_string(subject->record, field));
    return STATUS_OK;
}

static enum status append_placeholder(unsigned placeholder, const struct template_subject *subject,
                                      struct buf *out, struct err *err)
{
    switch (placeholder) {
    case PLACEHOLDER_METRIC: buf_append_text(out, short_name(subject->metric)); break;
    case PLACEHOLDER_FIELD: buf_append_text(out, fact_of(subject->metric)->name); break;
    case PLACEHOLDER_TITLE: append_title(subject->metric, out); break;
    case PLACEHOLDER_UNIT: buf_append_text(out, fact_of(subject->metric)->unit); break;
    case PLACEHOLDER_ENGINE: buf_append_text(out, subject->engine); break;
    case PLACEHOLDER_ENGINE_ADDED:
        if (strcmp(subject->engine, "pytorch") != 0)
            buf_appendf(out, "_%s", subject->engine);
        break;
    case PLACEHOLDER_SCRIPT: append_script(subject->engine, out); break;
    default:
        return append_field((enum fact_id)(placeholder - PLACEHOLDERS_COUNT), subject, out, err);
    }
    return STATUS_OK;
}

enum status template_expand(const char *text, const struct template_subject *subject,
                            struct buf *out, struct err *err)
{
    for (const char *at = text; *at != '\0';) {
        unsigned placeholder;
        TRY(take_part(&at, out, &placeholder, err));
        if (placeholder < PLACEHOLDERS_COUNT + FACTS_COUNT)
            TRY(append_placeholder(placeholder, subject, out, err));
    }
    return out->failed ? ERR(err, STATUS_LIMIT, "'%.100s' becomes too long", text) : STATUS_OK;
}
