#include "cli/render/hints.h"

#include <string.h>

#include "base/wrap.h"
#include "spec/hint.h"

static void add(struct hints *hints, const struct reasons *reasons)
{
    for (size_t i = 0; i < reasons->count; i++) {
        const char *hint = NULL;
        const char *known = NULL;
        for (size_t k = 0; k < HINTS_MAX && (known = hint_code_at(k, &hint)) != NULL; k++)
            hints->is_wanted[k] = hints->is_wanted[k] || strcmp(known, reasons->items[i].code) == 0;
    }
}

void hints_add(struct hints *hints, const struct record *record)
{
    add(hints, record_reasons(record, FACT_REASONS));
    add(hints, record_reasons(record, FACT_WARNINGS));
}

void hints_format(const struct hints *hints, size_t columns, bool is_markdown, struct buf *out)
{
    bool has_heading = false;
    const char *hint = NULL;
    const char *code = NULL;
    for (size_t i = 0; i < HINTS_MAX && (code = hint_code_at(i, &hint)) != NULL; i++) {
        if (!hints->is_wanted[i])
            continue;
        if (!has_heading)
            buf_appendf(out, "\nWhat would help:\n%s", is_markdown ? "\n" : "");
        has_heading = true;
        buf_appendf(out, "%s%s: ", is_markdown ? "- " : "  ", code);
        wrap_text(hint, columns, strlen(code) + 4, 4, out);
    }
}
