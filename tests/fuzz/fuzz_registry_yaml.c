/* Any bytes as a registry in YAML: it is refused, or it gets two entries and keeps all that it had;
 * the second time nothing changes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry/diff.h"
#include "registry/yaml_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void edit(const struct buf *before, const char *key)
{
    static char first_id[] = "metric:fp_train_tps", first_name[] = "Tokens/sec (train)";
    static char compare[] = "higher_is_better", source[] = "a b", tag[] = "v24.x", word[] = "yes";
    static char id[] = "x", name[] = "it's \"\xC3\xA9\" # no: comment", value[] = "1.5";
    static const struct entry entries[] = {
        {.texts = {first_id, first_name, compare, source}, .tags = {tag, word}, .tags_count = 2},
        {.texts = {[ENTRY_ID] = id, [ENTRY_NAME] = name, [ENTRY_VALUE] = value}},
    };
    struct yaml_edit_counts counts = {0};
    struct buf once;
    struct buf twice;
    struct buf diff;
    buf_init(&once, YAML_EDIT_BYTES_MAX);
    buf_init(&twice, YAML_EDIT_BYTES_MAX);
    buf_init(&diff, YAML_EDIT_BYTES_MAX);
    struct err err = {0};
    enum status status = yaml_edit(before->data, before->length_bytes, key, entries,
                                   ARRAY_COUNT(entries), &once, &counts, &err);
    ASSERT((status == STATUS_OK) == (err.text[0] == '\0'));
    if (status == STATUS_OK) {
        ASSERT(counts.added + counts.updated + counts.unchanged == ARRAY_COUNT(entries));
        diff_append("registry", before, &once, &diff);
        status = yaml_edit(once.data, once.length_bytes, key, entries, ARRAY_COUNT(entries), &twice,
                           &counts, NULL);
        ASSERT(status == STATUS_OK && counts.unchanged == ARRAY_COUNT(entries));
        ASSERT(once.length_bytes == twice.length_bytes &&
               memcmp(once.data, twice.data, twice.length_bytes) == 0);
    }
    buf_release(&once);
    buf_release(&twice);
    buf_release(&diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf before;
    buf_init(&before, YAML_EDIT_BYTES_MAX);
    buf_append(&before, data, size);
    edit(&before, NULL);
    edit(&before, "metrics");
    buf_release(&before);
    return 0;
}
