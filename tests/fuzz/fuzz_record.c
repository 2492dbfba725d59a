/* Any bytes as a line of a results file: parsing refuses them or gives a record that survives being
 * written and read again, in both formats. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "result/record.h"

#define OUT_BYTES_MAX (16U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record *record = NULL;
    struct err err = {0};
    if (record_parse_json((const char *)data, size, &record, &err) != STATUS_OK) {
        ASSERT(err.status != STATUS_OK && err.text[0] != '\0');
        return 0;
    }
    struct buf first;
    struct buf second;
    buf_init(&first, OUT_BYTES_MAX);
    buf_init(&second, OUT_BYTES_MAX);
    record_format_json(record, &first);
    ASSERT(!first.failed &&
           memchr(first.data, '\n', first.length_bytes) == first.data + first.length_bytes - 1);
    /* What was within the limit may be a little over it with all fields named. */
    struct record *again = NULL;
    if (record_parse_json(first.data, first.length_bytes, &again, NULL) == STATUS_OK) {
        record_format_json(again, &second);
        ASSERT(strcmp(first.data, second.data) == 0);
        buf_reset(&first);
        buf_reset(&second);
        record_format_csv(record, &first);
        record_format_csv(again, &second);
        ASSERT(!first.failed && strcmp(first.data, second.data) == 0);
    } else {
        ASSERT(first.length_bytes > RECORD_LINE_BYTES_MAX);
    }
    record_free(record);
    record_free(again);
    buf_release(&first);
    buf_release(&second);
    return 0;
}
