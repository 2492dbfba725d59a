#include "cli/cures.h"

#include <jansson.h>
#include <string.h>

#include "spec/cure.h"

void cures_add(struct cures *cures, const struct record *record)
{
    if (record_is_null(record, FACT_REASONS))
        return;
    json_t *reasons = json_loads(record_string(record, FACT_REASONS), 0, NULL);
    for (size_t i = 0; i < json_array_size(reasons); i++) {
        const char *code = json_string_value(json_object_get(json_array_get(reasons, i), "code"));
        const char *cure = NULL;
        const char *known = NULL;
        for (size_t k = 0; code != NULL && k < CURES_MAX; k++) {
            known = cure_code_at(k, &cure);
            if (known == NULL)
                break;
            cures->is_wanted[k] = cures->is_wanted[k] || strcmp(known, code) == 0;
        }
    }
    json_decref(reasons);
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
