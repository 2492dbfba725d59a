#include "export/unit.h"

#include <string.h>

#define NAME_BYTES 96

static const struct export_unit units[] = {
    {"ms", "seconds", 1, 1000, "ms", "ms"},
    {"s", "seconds", 1, 1, "s", "s"},
    {"MiB", "bytes", 1048576, 1, "mb", "MiBy"},
    {"bytes", "bytes", 1, 1, "bytes", "By"},
    {"bytes/s", "bytes_per_second", 1, 1, "bytes_per_sec", "By/s"},
    {"J", "joules", 1, 1, "j", "J"},
    {"W", "watts", 1, 1, "w", "W"},
    {"MHz", "hertz", 1e6, 1, "mhz", "MHz"},
    {"%", "ratio", 1, 100, "percent", "%"},
    {"tokens/s", "tokens_per_second", 1, 1, "tokens_per_sec", "{token}/s"},
    {"10^6", "", 1e6, 1, "millions", "1"},
};
static const struct export_unit counts = {"", "", 1, 1, "", "1"};

const struct export_unit *unit_of(enum fact_id field)
{
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (strcmp(units[i].text, fact_of(field)->unit) == 0)
            return &units[i];
    return &counts;
}

double unit_to_base(enum fact_id field, double value)
{
    const struct export_unit *unit = unit_of(field);
    return value * unit->factor / unit->divisor;
}

/* Takes the word out, and one '_' with them. */
static void cut_word(char *name, const char *word)
{
    size_t bytes = strlen(word);
    for (char *at = name; bytes > 0 && (at = strstr(at, word)) != NULL; at++) {
        bool is_word = (at == name || at[-1] == '_') && (at[bytes] == '_' || at[bytes] == '\0');
        if (!is_word)
            continue;
        if (at[bytes] == '_')
            bytes++;
        else if (at > name)
            at--, bytes++;
        memmove(at, at + bytes, strlen(at + bytes) + 1);
        return;
    }
}

/* A last word that Prometheus keeps for counters and summaries goes first. */
static void append_words(const char *name, struct buf *out)
{
    static const char *const kept[] = {"total", "count"};
    size_t bytes = strlen(name);
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
        size_t word_bytes = strlen(kept[i]);
        if (bytes > word_bytes && name[bytes - word_bytes - 1] == '_' &&
            strcmp(name + bytes - word_bytes, kept[i]) == 0) {
            buf_appendf(out, "_%s", kept[i]);
            bytes -= word_bytes + 1;
        }
    }
    if (bytes > 0)
        buf_append_char(out, '_');
    buf_append(out, name, bytes);
}

void unit_append_metric_name(enum fact_id field, struct buf *out)
{
    static const char per_step[] = "ms_per_step";
    const struct export_unit *unit = unit_of(field);
    char name[NAME_BYTES];
    const char *text = fact_of(field)->name;
    ASSERT(strlen(text) + sizeof("step_") < sizeof(name));
    memcpy(name, text, strlen(text) + 1);
    /* What is in ms and names nothing else is of a step. */
    char *step = strstr(name, per_step);
    if (step != NULL)
        memcpy(step, "step", sizeof("step"));
    else if (strncmp(name, "ms_", 3) == 0) {
        memmove(name + 5, name + 3, strlen(name + 3) + 1);
        memcpy(name, "step_", 5);
    } else {
        cut_word(name, unit->word);
    }
    /* Prometheus wants no word of its own types in a name. */
    char *counter = strstr(name, "counter");
    if (counter != NULL)
        memcpy(counter, "metered", strlen("metered"));
    buf_append_text(out, "tokmark");
    append_words(name, out);
    if (unit->base[0] != '\0')
        buf_appendf(out, "_%s", unit->base);
}
