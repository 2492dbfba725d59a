#include "compare/format.h"

#define FLUSH_BYTES    ((size_t)64 << 10)
#define TEXT_BYTES_MAX (FLUSH_BYTES + ((size_t)8 << 20))

const struct compare_format compare_formats[] = {
    {"text", "a table for people", compare_write_text},
    {"markdown", "a comment of a pull request", compare_write_markdown},
    {"json", "everything, for programs", compare_write_json},
    {"junit", "a test case a cell, for CI systems", compare_write_junit},
};
const size_t compare_formats_count = ARRAY_COUNT(compare_formats);

void compare_output_init(struct compare_output *output)
{
    buf_init(&output->text, TEXT_BYTES_MAX);
}

void compare_output_release(struct compare_output *output)
{
    buf_release(&output->text);
}

enum status compare_output_flush(struct compare_output *output, bool is_all, struct err *err)
{
    if (output->text.failed)
        return ERR(err, STATUS_NOMEM, "no memory for what is written");
    if (output->text.length_bytes == 0 || (!is_all && output->text.length_bytes < FLUSH_BYTES))
        return STATUS_OK;
    enum status status =
        output->sink(output->sink_context, output->text.data, output->text.length_bytes, err);
    buf_reset(&output->text);
    return status;
}
