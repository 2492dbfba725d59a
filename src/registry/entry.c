#include "registry/entry.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define SAFE    LETTERS "0123456789_-./() :+%"

const char *entry_key(enum entry_field field)
{
    static const char *const keys[] = {
#define X(name, key) [ENTRY_##name] = (key),
        ENTRY_FIELD_MAP(X)
#undef X
    };
    ASSERT(field < ENTRY_FIELDS_COUNT);
    return keys[field];
}

bool entry_has(const struct entry *entry, enum entry_field field)
{
    return field == ENTRY_TAGS ? entry->tags_count > 0 : entry->texts[field] != NULL;
}

void entry_release(struct entry *entry)
{
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++)
        free(entry->texts[field]);
    for (size_t i = 0; i < entry->tags_count; i++)
        free(entry->tags[i]);
    *entry = (struct entry){0};
}

/* --- scalars --- */

/* Begins with a letter, holds nothing that means something in YAML, and is no word that some
 * version takes for true, false or null. */
static bool is_safe_plain(const char *text)
{
    static const char *const words[] = {"y",  "n",   "yes",  "no",   "true",
                                        "on", "off", "null", "false"};
    size_t bytes = strlen(text);
    if (bytes == 0 || strchr(LETTERS, text[0]) == NULL || text[strspn(text, SAFE)] != '\0')
        return false;
    if (strstr(text, ": ") != NULL || text[bytes - 1] == ':' || text[bytes - 1] == ' ')
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strcasecmp(words[i], text) == 0)
            return false;
    return true;
}

/* Printable ASCII or UTF-8 without control characters and line breaks of any kind. */
static bool is_one_line(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0';) {
        size_t bytes = utf8_sequence_bytes(c);
        bool is_control = *c < 0x20 || *c == 0x7F || (*c == 0xC2 && c[1] < 0xA0) ||
                          (*c == 0xE2 && c[1] == 0x80 && (c[2] == 0xA8 || c[2] == 0xA9)) ||
                          (*c == 0xEF && c[1] == 0xBB && c[2] == 0xBF);
        if (bytes == 0 || is_control)
            return false;
        c += bytes;
    }
    return true;
}

static void append_single(const char *text, struct buf *out)
{
    buf_append_char(out, '\'');
    for (const char *c = text; *c != '\0'; c++) {
        buf_append_char(out, *c);
        if (*c == '\'')
            buf_append_char(out, *c);
    }
    buf_append_char(out, '\'');
}

static void append_double(const char *text, struct buf *out)
{
    buf_append_char(out, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            buf_appendf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7F)
            buf_appendf(out, "\\u%04X", *c);
        else
            buf_append_char(out, (char)*c);
    }
    buf_append_char(out, '"');
}

void entry_append_text(const char *text, struct entry_style style, struct buf *out)
{
    if (style.quote == '\'' && is_one_line(text))
        append_single(text, out);
    else if (style.quote == 0 && is_safe_plain(text))
        buf_append_text(out, text);
    else
        append_double(text, out);
}

/* --- entries --- */

void entry_append_value(const struct entry *entry, enum entry_field field, struct entry_style style,
                        struct buf *out)
{
    if (field == ENTRY_VALUE) {
        buf_append_text(out, entry->texts[field]);
        return;
    }
    if (field != ENTRY_TAGS) {
        entry_append_text(entry->texts[field], style, out);
        return;
    }
    buf_append_char(out, '[');
    for (size_t i = 0; i < entry->tags_count; i++) {
        buf_append_text(out, i > 0 ? ", " : "");
        entry_append_text(entry->tags[i], (struct entry_style){style.quote, true}, out);
    }
    buf_append_char(out, ']');
}

void entry_append_block(const struct entry *entry, size_t indent, const char *line_end,
                        struct buf *out)
{
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++) {
        if (!entry_has(entry, field))
            continue;
        buf_appendf(out, "%*s%s%s: ", (int)indent, "", field == ENTRY_ID ? "- " : "  ",
                    entry_key(field));
        entry_append_value(entry, field, (struct entry_style){0}, out);
        buf_append_text(out, line_end);
    }
}

void entry_append_flow(const struct entry *entry, struct buf *out)
{
    buf_append_char(out, '{');
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++) {
        if (!entry_has(entry, field))
            continue;
        buf_appendf(out, "%s\"%s\": ", field == ENTRY_ID ? "" : ", ", entry_key(field));
        entry_append_value(entry, field, (struct entry_style){'"', true}, out);
    }
    buf_append_char(out, '}');
}
