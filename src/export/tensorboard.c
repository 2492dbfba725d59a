/* TensorBoard: an event file a cell, a chart a field, a step a record. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chunks.h"
#include "base/file.h"
#include "export/event_file.h"
#include "export/exporter.h"
#include "export/identity.h"

/* TensorBoard takes any file with "tfevents" in its name; the same one is replaced each time. */
#define FILE_NAME         "events.out.tfevents.0000000000.tokmark"
#define FILE_BYTES_MAX    ((size_t)1 << 30)
#define NAME_BYTES_MAX    (8 * (size_t)RECORD_LINE_BYTES_MAX)
#define FOLDER_BYTES_MAX  200
#define DESCRIPTION_BYTES 1024

struct board_cell {
    char *folder; /* owned; NULL: the cell has no record yet */
    struct buf events;
    uint64_t steps_count;
    bool has_description[FACTS_COUNT];
};

struct tensorboard {
    struct chunks cells; /* struct board_cell */
    size_t cells_count;
};

static enum status begin(struct export *export, struct err *err)
{
    struct tensorboard *board = calloc(1, sizeof(*board));
    if (board == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for events");
    chunks_init(&board->cells, sizeof(struct board_cell));
    export->state = board;
    return STATUS_OK;
}

static void release(struct export *export)
{
    struct tensorboard *board = export->state;
    if (board == NULL)
        return;
    for (size_t i = 0; i < board->cells_count; i++) {
        struct board_cell *cell = chunks_find(&board->cells, i);
        if (cell == NULL)
            continue;
        free(cell->folder);
        buf_release(&cell->events);
    }
    chunks_release(&board->cells);
    free(board);
}

/* A folder's name: what a path or a page could read otherwise becomes '_'. The end, which tells
 * cells apart, stays where it is too long. */
static enum status name_folder(const struct record *record, struct board_cell *cell,
                               struct err *err)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._=";
    struct buf name CLEANUP(buf_release) = {0};
    buf_init(&name, NAME_BYTES_MAX);
    identity_append_title(record, &name);
    if (!record_is_null(record, FACT_CELL_ID))
        buf_appendf(&name, " %s", record_string(record, FACT_CELL_ID));
    if (name.failed)
        return ERR(err, STATUS_NOMEM, "no memory for names");
    for (size_t i = 0; i < name.length_bytes; i++)
        if (strchr(plain, name.data[i]) == NULL)
            name.data[i] = '_';
    size_t cut = name.length_bytes > FOLDER_BYTES_MAX ? name.length_bytes - FOLDER_BYTES_MAX : 0;
    if (name.data[cut] == '.')
        name.data[cut] = '_';
    cell->folder = strdup(name.data + cut);
    return cell->folder != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory for names");
}

static enum status find_cell(struct tensorboard *board, const struct export_item *item,
                             double time_s, struct board_cell **ret_cell, struct err *err)
{
    struct board_cell *cell = chunks_at(&board->cells, item->place.cell);
    if (cell == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for events");
    if (cell->folder == NULL) {
        TRY(name_folder(item->record, cell, err));
        buf_init(&cell->events, FILE_BYTES_MAX);
        event_file_append_start(time_s, &cell->events);
    }
    if (item->place.cell >= board->cells_count)
        board->cells_count = item->place.cell + 1;
    *ret_cell = cell;
    return STATUS_OK;
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct board_cell *cell = NULL;
    double time_s = 0;
    char description[DESCRIPTION_BYTES];
    (void)export_measured_at(item->record, &time_s);
    TRY(find_cell(export->state, item, time_s, &cell, err));
    for (size_t i = 0; i < export->fields_count; i++) {
        enum fact_id field = export->fields[i];
        const struct fact *fact = fact_of(field);
        double number;
        if (!export_number(item->record, field, &number))
            continue;
        struct event_value value = {.tag = fact->name, .value = (float)number};
        if (!cell->has_description[field]) {
            (void)snprintf(description, sizeof(description), "%s%s%s%s", fact->meaning,
                           fact->unit[0] != '\0' ? " (" : "", fact->unit,
                           fact->unit[0] != '\0' ? ")" : "");
            value.description = description;
            cell->has_description[field] = true;
        }
        event_file_append_value(time_s, cell->steps_count, &value, &cell->events);
    }
    cell->steps_count++;
    return cell->events.failed ? ERR(err, STATUS_NOMEM, "no memory for events") : STATUS_OK;
}

static enum status end(struct export *export, struct err *err)
{
    struct tensorboard *board = export->state;
    char path[FILE_PATH_BYTES];
    for (size_t i = 0; i < board->cells_count; i++) {
        const struct board_cell *cell = chunks_find(&board->cells, i);
        if (cell == NULL || cell->folder == NULL)
            continue;
        TRY(file_join(export->to, cell->folder, path, err));
        TRY(file_make_dirs(path, err));
        TRY(file_join(cell->folder, FILE_NAME, path, err));
        TRY(export_replace_file(export, path, &cell->events, err));
    }
    return STATUS_OK;
}

const struct exporter exporter_tensorboard = {
    .name = "tensorboard",
    .says = "TensorBoard: `tensorboard --logdir DIR`; an event file a cell, a step a record",
    .leaves_out =
        "fields that are no numbers, raw samples, cells that failed; TensorBoard holds 32 "
        "bits of a number",
    .places = EXPORT_TO_FOLDER,
    .begin = begin,
    .add = add,
    .end = end,
    .release = release,
};
