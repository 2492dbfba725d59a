#include "result/csv_rows.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COLUMNS_MAX 1024
#define NO_FIELD    FACTS_COUNT

struct csv_cell {
    size_t at, bytes; /* in `text`, where '\n' follows it */
};

struct csv_rows {
    size_t columns_count;
    enum fact_id columns[COLUMNS_MAX]; /* NO_FIELD: of no field */
    bool is_published;                 /* the published columns and no other */
    struct buf text;                   /* the cells of a row, without their quotes */
    size_t cells_count;
    struct csv_cell cells[COLUMNS_MAX];
    struct scan_value values[FACTS_COUNT];
};

enum status csv_rows_new(struct csv_rows **ret_rows, struct err *err)
{
    struct csv_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read rows");
    buf_init(&rows->text, 2 * (size_t)RECORD_ROW_BYTES_MAX);
    *ret_rows = rows;
    return STATUS_OK;
}

void csv_rows_free(struct csv_rows *rows)
{
    if (rows == NULL)
        return;
    buf_release(&rows->text);
    free(rows);
}

/* --- splitting --- */

/* Appends what is in the quotes that `at` opens, with doubled quotes made one; returns the place
 * behind them. */
static const char *append_quoted(struct buf *text, const char *at, const char *end)
{
    for (at++; at < end; at++) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *part_end = quote != NULL ? quote : end;
        buf_append(text, at, (size_t)(part_end - at));
        if (part_end + 1 >= end || part_end[1] != '"')
            return part_end < end ? part_end + 1 : end;
        buf_append_char(text, '"');
        at = part_end + 1;
    }
    return end;
}

/* One cell, up to its comma or the row's end. What stands behind closed quotes belongs to it too.
 */
static const char *append_cell(struct buf *text, const char *at, const char *end)
{
    if (at < end && *at == '"')
        at = append_quoted(text, at, end);
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *cell_end = comma != NULL ? comma : end;
    buf_append(text, at, (size_t)(cell_end - at));
    return cell_end;
}

/* False: there are more cells than can be, or memory ends. */
static bool split(struct csv_rows *rows, const char *line, size_t line_bytes)
{
    static const char padding[SCAN_PADDING_BYTES] = "\n";
    const char *end = line + line_bytes;
    if (end > line && end[-1] == '\r')
        end--;
    buf_reset(&rows->text);
    rows->cells_count = 0;
    for (const char *at = line;; at++) {
        if (rows->cells_count == COLUMNS_MAX)
            return false;
        struct csv_cell *cell = &rows->cells[rows->cells_count++];
        cell->at = rows->text.length_bytes;
        at = append_cell(&rows->text, at, end);
        cell->bytes = rows->text.length_bytes - cell->at;
        buf_append_char(&rows->text, '\n');
        if (at >= end)
            break;
    }
    buf_append(&rows->text, padding, sizeof(padding));
    return !rows->text.failed;
}

/* --- header --- */

static enum fact_id find_field(const struct csv_rows *rows, const struct csv_cell *cell)
{
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        const char *name = fact_of(id)->name;
        if (strlen(name) == cell->bytes &&
            memcmp(name, rows->text.data + cell->at, cell->bytes) == 0)
            return id;
    }
    return NO_FIELD;
}

/* Are the cells at hand a header? */
static bool learn_columns(struct csv_rows *rows)
{
    enum fact_id columns[COLUMNS_MAX];
    size_t published_count = 0;
    for (size_t i = 0; i < rows->cells_count; i++) {
        columns[i] = find_field(rows, &rows->cells[i]);
        for (size_t j = 0; j < i; j++)
            if (columns[j] == columns[i])
                columns[j] = NO_FIELD; /* of two with one name the last counts */
        published_count += columns[i] < PARSER_PUBLISHED_COUNT;
    }
    if (published_count < PARSER_PUBLISHED_COUNT)
        return false;
    memcpy(rows->columns, columns, rows->cells_count * sizeof(columns[0]));
    rows->columns_count = rows->cells_count;
    rows->is_published = rows->columns_count == PARSER_PUBLISHED_COUNT &&
                         columns[PARSER_PUBLISHED_COUNT - 1] == FACT_NOTES;
    return true;
}

bool csv_rows_take_header(struct csv_rows *rows, const char *line, size_t line_bytes)
{
    return split(rows, line, line_bytes) && learn_columns(rows);
}

/* --- rows --- */

static bool is_word(const char *text, size_t bytes, const char *word)
{
    return strlen(word) == bytes && strncasecmp(text, word, bytes) == 0;
}

/* As JSON has it, or as Python and spreadsheets write it. */
static struct scan_value read_plain(const char *text, size_t bytes)
{
    static const char *const not_finite[] = {"nan", "inf", "-inf", "infinity", "-infinity"};
    struct scan_value value = {text, (uint32_t)bytes, SCAN_STRING, true, 0};
    struct scan_value scanned;
    if (bytes == 0 || is_word(text, bytes, "none") || is_word(text, bytes, "null"))
        value.kind = SCAN_NULL;
    else if (is_word(text, bytes, "true"))
        value.kind = SCAN_TRUE;
    else if (is_word(text, bytes, "false"))
        value.kind = SCAN_FALSE;
    for (size_t i = 0; i < ARRAY_COUNT(not_finite); i++)
        if (is_word(text, bytes, not_finite[i]))
            value.kind = SCAN_NOT_FINITE;
    if (value.kind == SCAN_STRING && scan_single(text, bytes, &scanned))
        return scanned;
    return value;
}

static struct scan_value read_cell(const struct csv_rows *rows, const struct csv_cell *cell,
                                   enum fact_type type)
{
    const char *text = rows->text.data + cell->at;
    if (type == FACT_TYPE_STRING)
        return (struct scan_value){text, (uint32_t)cell->bytes,
                                   cell->bytes > 0 ? SCAN_STRING : SCAN_NULL, true, 0};
    struct scan_value value = read_plain(text, cell->bytes);
    bool is_text = value.kind == SCAN_STRING && value.text == text;
    if (type == FACT_TYPE_JSON && is_text) /* it was no JSON: a field of any type takes none */
        value.kind = SCAN_NULL;
    return value;
}

/* The published scripts put no quotes around a comma in notes, their last field. */
static void join_notes(struct csv_rows *rows)
{
    struct csv_cell *notes = &rows->cells[PARSER_PUBLISHED_COUNT - 1];
    for (size_t i = PARSER_PUBLISHED_COUNT; i < rows->cells_count; i++) {
        rows->text.data[rows->cells[i].at - 1] = ',';
        notes->bytes += 1 + rows->cells[i].bytes;
    }
    rows->cells_count = PARSER_PUBLISHED_COUNT;
}

enum status csv_rows_take(struct csv_rows *rows, const char *line, size_t line_bytes,
                          struct parser *parser, bool *ret_is_header,
                          enum parser_outcome *ret_outcome, struct err *err)
{
    *ret_outcome = PARSER_FOREIGN;
    *ret_is_header = false;
    if (!split(rows, line, line_bytes) && rows->text.failed)
        return ERR(err, STATUS_NOMEM, "no memory for a row of %zu bytes", line_bytes);
    if (find_field(rows, &rows->cells[0]) != NO_FIELD)
        *ret_is_header = learn_columns(rows);
    if (*ret_is_header)
        return STATUS_OK;
    if (rows->is_published && rows->cells_count > rows->columns_count)
        join_notes(rows);
    if (rows->cells_count != rows->columns_count) {
        parser_set_why(parser, "it has %zu fields; the header has %zu", rows->cells_count,
                       rows->columns_count);
        return STATUS_OK;
    }
    memset(rows->values, 0, sizeof(rows->values));
    for (size_t i = 0; i < rows->columns_count; i++) {
        enum fact_id id = rows->columns[i];
        if (id != NO_FIELD)
            rows->values[id] = read_cell(rows, &rows->cells[i], fact_of(id)->type);
    }
    return parser_take_values(parser, rows->values, ret_outcome, err);
}
