#include "report/environment.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

#define FACTS_MAX       128
#define NAME_BYTES      160
#define VALUE_BYTES_MAX 1024

struct environment_walk { /* borrowed */
    struct report_texts *texts;
    struct report_source *source;
};

static bool ends_with(const char *text, const char *end)
{
    size_t bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

/* False: it is not for people. */
static bool append_scalar(const char *name, json_t *value, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    if (json_is_string(value))
        buf_append_text(out, json_string_value(value));
    else if (json_is_boolean(value))
        buf_append_text(out, json_is_true(value) ? "yes" : "no");
    else if (json_is_integer(value) && ends_with(name, "bytes") && json_integer_value(value) > 0) {
        num_format_bytes((uint64_t)json_integer_value(value), text);
        buf_append_text(out, text);
    } else if (json_is_integer(value))
        buf_appendf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        buf_appendf(out, "%g", json_real_value(value));
    else
        return false;
    return true;
}

static void add(struct environment_walk *walk, const char *name, const char *value)
{
    if (walk->source->facts_count == FACTS_MAX || value[0] == '\0')
        return;
    walk->source->facts[walk->source->facts_count++] =
        (struct report_fact){texts_keep(walk->texts, name), texts_keep(walk->texts, value)};
}

static void take_list(struct environment_walk *walk, const char *name, json_t *list)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, VALUE_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0)
            buf_append_text(&text, ", ");
        if (!append_scalar(name, json_array_get(list, i), &text))
            return;
    }
    add(walk, name, text.data);
}

/* Fields of an object that is in no other: they have one name. */
static void take_object(struct environment_walk *walk, const char *name, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char path[NAME_BYTES];
        struct buf text CLEANUP(buf_release) = {0};
        buf_init(&text, VALUE_BYTES_MAX);
        (void)snprintf(path, sizeof(path), "%s%s%.60s", name, name[0] != '\0' ? "." : "", key);
        if (json_is_array(value))
            take_list(walk, path, value);
        else if (append_scalar(path, value, &text))
            add(walk, path, text.data);
    }
}

/* Level by level, as far as names stay readable; a document cannot nest the calls. */
static void take_levels(struct environment_walk *walk, json_t *environment)
{
    const char *key, *inner_key;
    json_t *value, *inner;
    take_object(walk, "", environment);
    json_object_foreach(environment, key, value)
    {
        char path[NAME_BYTES];
        (void)snprintf(path, sizeof(path), "%.60s", key);
        if (!json_is_object(value))
            continue;
        take_object(walk, path, value);
        json_object_foreach(value, inner_key, inner)
        {
            (void)snprintf(path, sizeof(path), "%.60s.%.60s", key, inner_key);
            if (json_is_object(inner))
                take_object(walk, path, inner);
        }
    }
}

enum status report_environment_take(struct report_texts *texts, const char *json,
                                    struct report_source *source, struct err *err)
{
    source->facts = calloc(FACTS_MAX, sizeof(*source->facts));
    if (source->facts == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the environment");
    json_t *environment = json_loads(json, 0, NULL);
    if (json_is_object(environment))
        take_levels(&(struct environment_walk){texts, source}, environment);
    json_decref(environment);
    return STATUS_OK;
}
