#include "serve/metrics.h"

#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/version.h"

#define MIB 1048576.0
#define MS  1e-3
#define ANY "" /* no quantile */

/* A sample of a cell: `field` times `scale`. Rows of one family follow each other. */
struct sample {                /* borrowed: static */
    const char *family, *help; /* help: of the first of a family; NULL for the others */
    enum fact_id field;
    double scale;
    const char *label; /* one more, with its value and a comma before; "" = none */
};

static const struct sample samples[] = {
    {"tokmark_tokens_per_second", "Tokens of all measured steps / measured window.",
     FACT_TOKENS_PER_SEC, 1, ANY},
    {"tokmark_step_seconds", "Time of a step, by quantile.", FACT_MS_P50, MS, ",quantile=\"0.5\""},
    {"tokmark_step_seconds", NULL, FACT_MS_P90, MS, ",quantile=\"0.9\""},
    {"tokmark_step_seconds", NULL, FACT_MS_P99, MS, ",quantile=\"0.99\""},
    {"tokmark_step_mean_seconds", "Mean time of a step.", FACT_MS_PER_STEP, MS, ANY},
    {"tokmark_step_median_low_seconds", "Low end of the median's 95 % interval.", FACT_MS_P50_LOW,
     MS, ANY},
    {"tokmark_step_median_high_seconds", "High end of the median's 95 % interval.",
     FACT_MS_P50_HIGH, MS, ANY},
    {"tokmark_peak_memory_bytes", "Peak memory of the cell.", FACT_PEAK_MEM_MB, MIB, ANY},
    {"tokmark_loss", "Loss of the last measured step, in nats.", FACT_LOSS_LAST, 1, ANY},
};

static void append_label(const char *name, const char *value, struct buf *out)
{
    buf_appendf(out, "%s=\"", name);
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n')
            buf_append_text(out, "\\n");
        else if (*at == '\\' || *at == '"')
            buf_appendf(out, "\\%c", *at);
        else
            buf_append_char(out, *at);
    }
    buf_append_char(out, '"');
}

static void append_labels(const struct serve_row *row, struct buf *out)
{
    static const enum fact_id words[] = {FACT_FRAMEWORK, FACT_MODEL,     FACT_DEVICE,
                                         FACT_MODE,      FACT_PRECISION, FACT_CELL_ID};
    static const enum fact_id numbers[] = {FACT_SEQ_LEN, FACT_BATCH_SIZE};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (i > 0)
            buf_append_char(out, ',');
        append_label(fact_of(words[i])->name, row_word(row, words[i]), out);
    }
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        buf_appendf(out, ",%s=\"%.0f\"", fact_of(numbers[i])->name, row_number(row, numbers[i]));
}

static void append_value(double value, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    num_format_double(value, text);
    buf_appendf(out, " %s\n", text);
}

static void append_head(const char *family, const char *type, const char *help, struct buf *out)
{
    buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", family, help, family, type);
}

static void append_sample(const struct sample *sample, const struct feed_taken *taken, size_t count,
                          struct buf *out)
{
    if (sample->help != NULL)
        append_head(sample->family, "gauge", sample->help, out);
    for (size_t i = 0; i < count; i++) {
        double value = row_number(taken->rows[i], sample->field) * sample->scale;
        if (!isfinite(value))
            continue;
        buf_appendf(out, "%s{", sample->family);
        append_labels(taken->rows[i], out);
        buf_appendf(out, "%s}", sample->label);
        append_value(value, out);
    }
}

static void append_verdicts(const struct feed_taken *taken, size_t count, struct buf *out)
{
    append_head("tokmark_cell_info", "gauge", "Constant 1, labelled with the cell's verdict.", out);
    for (size_t i = 0; i < count; i++) {
        buf_append_text(out, "tokmark_cell_info{");
        append_labels(taken->rows[i], out);
        buf_append_char(out, ',');
        append_label("verdict", row_word(taken->rows[i], FACT_VERDICT), out);
        buf_append_char(out, '}');
        append_value(1, out);
    }
}

static void append_count(const char *name, const char *type, const char *help, uint64_t value,
                         struct buf *out)
{
    append_head(name, type, help, out);
    buf_appendf(out, "%s %" PRIu64 "\n", name, value);
}

void metrics_append(const struct feed_taken *taken, struct buf *out)
{
    const struct feed_state *state = &taken->state;
    size_t count = taken->count < METRICS_CELLS_MAX ? taken->count : METRICS_CELLS_MAX;
    append_head("tokmark_build_info", "gauge", "Constant 1, labelled with the server's build.",
                out);
    buf_append_text(out, "tokmark_build_info{");
    append_label("version", version_text(), out);
    buf_append_char(out, ',');
    append_label("commit", version_commit(), out);
    buf_append_text(out, "} 1\n");
    append_count("tokmark_records_total", "counter", "Records read from the folder.",
                 state->records_count, out);
    append_count("tokmark_bad_lines_total", "counter", "Lines that are no record.",
                 state->bad_count, out);
    append_count("tokmark_cells", "gauge", "Cells that have a record.", state->cells_count, out);
    append_count("tokmark_cells_left_out", "gauge", "Cells that are not in this text.",
                 state->cells_count - count, out);
    append_head("tokmark_results_written_timestamp_seconds", "gauge",
                "When the results were last written.", out);
    buf_append_text(out, "tokmark_results_written_timestamp_seconds");
    append_value((double)state->written_ns / NS_PER_S, out);
    append_verdicts(taken, count, out);
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++)
        append_sample(&samples[i], taken, count, out);
}
