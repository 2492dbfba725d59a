#include "spec/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "spec/hint.h"

static const char *const names[] = {
#define X(name, text) text,
    VERDICT_MAP(X)
#undef X
};

const char *verdict_name(enum verdict verdict)
{
    ASSERT((size_t)verdict < ARRAY_COUNT(names));
    return names[verdict];
}

bool verdict_parse(const char *text, enum verdict *ret_verdict)
{
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_verdict = (enum verdict)i;
            return true;
        }
    }
    return false;
}

bool verdict_is_finished(enum verdict verdict)
{
    return verdict == VERDICT_OK || verdict == VERDICT_UNSTEADY || verdict == VERDICT_INVALID ||
           verdict == VERDICT_UNSUPPORTED || verdict == VERDICT_OOM;
}

bool verdict_may_pass(const char *deciding_code)
{
    static const char *const codes[] = {"foreign_load", "host_memory_low"};
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        if (strcmp(codes[i], deciding_code) == 0)
            return true;
    return false;
}

size_t reason_short_bytes(const char *text)
{
    const char *end = strstr(text, "; ");
    size_t bytes = end != NULL ? (size_t)(end - text) : strlen(text);
    if (bytes <= REASON_SHORT_BYTES_MAX)
        return bytes;
    for (bytes = REASON_SHORT_BYTES_MAX; bytes > 0 && text[bytes] != ' ';)
        bytes--;
    return bytes > 0 ? bytes : REASON_SHORT_BYTES_MAX;
}

static PRINTF_LIKE(3, 0) void add(struct reasons *reasons, const char *code, const char *format,
                                  va_list args)
{
    if (reasons_have(reasons, code) || reasons->count == REASONS_MAX)
        return;
    struct reason *reason = &reasons->items[reasons->count++];
    (void)snprintf(reason->code, sizeof(reason->code), "%s", code);
    (void)vsnprintf(reason->text, sizeof(reason->text), format, args);
}

void reasons_add(struct reasons *reasons, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(reasons, code, format, args);
    va_end(args);
}

static void add_all(struct reasons *reasons, const struct reasons *more)
{
    for (size_t i = 0; i < more->count; i++)
        reasons_add(reasons, more->items[i].code, "%s", more->items[i].text);
}

void judgement_add(struct judgement *judgement, enum verdict verdict, const char *code,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(&judgement->reasons, code, format, args);
    va_end(args);
    if (judgement->verdict == VERDICT_OK)
        judgement->verdict = verdict;
}

void judgement_add_all(struct judgement *judgement, enum verdict verdict,
                       const struct reasons *reasons)
{
    add_all(&judgement->reasons, reasons);
    if (judgement->verdict == VERDICT_OK && reasons->count > 0)
        judgement->verdict = verdict;
}

void judgement_warn(struct judgement *judgement, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(&judgement->warnings, code, format, args);
    va_end(args);
}

void judgement_warn_all(struct judgement *judgement, const struct reasons *warnings)
{
    add_all(&judgement->warnings, warnings);
}

bool reasons_prove_unfit(enum verdict verdict, const struct reasons *reasons)
{
    return verdict == VERDICT_OOM && !reasons_have(reasons, "host_memory_low");
}

bool reasons_have(const struct reasons *reasons, const char *code)
{
    for (size_t i = 0; i < reasons->count; i++)
        if (strcmp(reasons->items[i].code, code) == 0)
            return true;
    return false;
}

const char *reasons_deciding(const struct reasons *reasons)
{
    return reasons->count > 0 ? reasons->items[0].code : "";
}

void reasons_read(const json_t *array, struct reasons *ret_reasons)
{
    *ret_reasons = (struct reasons){0};
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        const char *code = json_string_value(json_object_get(item, "code"));
        const char *text = json_string_value(json_object_get(item, "text"));
        if (code != NULL)
            reasons_add(ret_reasons, code, "%s", text != NULL ? text : "");
    }
}

void reasons_write(const struct reasons *reasons, struct json_writer *writer)
{
    json_begin_array(writer);
    for (size_t i = 0; i < reasons->count; i++) {
        json_begin_object(writer);
        json_field_string(writer, "code", reasons->items[i].code);
        json_field_string(writer, "text", reasons->items[i].text);
        const char *hint = hint_of(reasons->items[i].code);
        if (hint != NULL)
            json_field_string(writer, "cure", hint);
        json_end_object(writer);
    }
    json_end_array(writer);
}
