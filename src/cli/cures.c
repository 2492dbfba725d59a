#include "cli/cures.h"

#include <string.h>

#include "spec/cure.h"

void cures_add(struct cures *cures, const struct record *record)
{
    const struct reasons *reasons = record_reasons(record);
    for (size_t i = 0; i < reasons->count; i++) {
        const char *cure = NULL;
        const char *known = NULL;
        for (size_t k = 0; k < CURES_MAX && (known = cure_code_at(k, &cure)) != NULL; k++)
            cures->is_wanted[k] = cures->is_wanted[k] || strcmp(known, reasons->items[i].code) == 0;
    }
}

void cures_format(const struct cures *cures, struct buf *out)
{
    bool has_heading = false;
    const char *cure = NULL;
    const char *code = NULL;
    for (size_t i = 0; i < CURES_MAX && (code = cure_code_at(i, &cure)) != NULL; i++) {
        if (!cures->is_wanted[i])
            continue;
        if (!has_heading)
            buf_append_text(out, "\nWhat would help:\n");
        has_heading = true;
        buf_appendf(out, "  %s: %s\n", code, cure);
    }
}
