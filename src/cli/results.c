#include "cli/results.h"

#include <stdlib.h>
#include <string.h>

#include "result/visit.h"
#include "store/index.h"

void results_count(struct results_tally *tally, const struct record *record)
{
    const char *verdict = record_string(record, FACT_VERDICT);
    bool is_ok = strcmp(verdict, verdict_name(VERDICT_OK)) == 0;
    tally->count++;
    tally->valid_count += is_ok || strcmp(verdict, verdict_name(VERDICT_UNSTEADY)) == 0;
    tally->quiet_count += is_ok && record_reasons(record, FACT_WARNINGS)->count == 0;
    tally->figures_count += !record_is_null(record, FACT_MS_PER_STEP);
}

/* What may be shown of a cell and trial. */
struct candidate {
    char cell_id[HASH_ID_BYTES];
    uint64_t trial;
    size_t place;  /* SIZE_MAX: not of the plan */
    unsigned rank; /* the highest is shown */
    uint64_t line;
};

struct found {
    struct candidate *items; /* owned */
    size_t count, capacity;
};

static enum status add(struct found *found, const struct candidate *candidate, struct err *err)
{
    if (found->count == found->capacity) {
        size_t capacity = found->capacity > 0 ? 2 * found->capacity : 64;
        struct candidate *items = reallocarray(found->items, capacity, sizeof(items[0]));
        if (items == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for the table");
        found->items = items;
        found->capacity = capacity;
    }
    found->items[found->count++] = *candidate;
    return STATUS_OK;
}

/* --- cells of the plan, by id --- */

struct planned {
    char cell_id[HASH_ID_BYTES];
    size_t place;
};

static int compare_planned(const void *a, const void *b)
{
    return strcmp(((const struct planned *)a)->cell_id, ((const struct planned *)b)->cell_id);
}

static struct planned *list_planned(const struct plan *plan)
{
    struct planned *list = calloc(plan->cells_count, sizeof(*list));
    for (size_t i = 0; list != NULL && i < plan->cells_count; i++) {
        cell_id(&plan->cells[i], list[i].cell_id);
        list[i].place = i;
    }
    if (list != NULL)
        qsort(list, plan->cells_count, sizeof(list[0]), compare_planned);
    return list;
}

static size_t find_place(const struct planned *list, size_t count, const char *id)
{
    struct planned wanted = {.place = SIZE_MAX};
    (void)snprintf(wanted.cell_id, sizeof(wanted.cell_id), "h%s", hash_id_digits(id));
    const struct planned *planned = bsearch(&wanted, list, count, sizeof(list[0]), compare_planned);
    return planned != NULL ? planned->place : SIZE_MAX;
}

/* --- which records --- */

static unsigned rank_of(const struct results_wanted *wanted, const struct record *record,
                        bool is_planned)
{
    if (strcmp(record_string(record, FACT_RUN_ID), wanted->run_id) == 0)
        return 3;
    if (!index_is_finished(record))
        return 0;
    bool is_same =
        is_planned &&
        hash_id_is_same(record_string(record, FACT_POLICY_ID), wanted->setup->policy_id) &&
        hash_id_is_same(record_string(record, FACT_ENVIRONMENT_ID), wanted->environment_id);
    return is_same ? 2 : 1;
}

/* Borrowed: for the reading. */
struct record_search {
    const struct results_wanted *wanted;
    const struct planned *planned;
    struct found *found;
};

static enum status take_candidate(void *context, const struct reader_item *item, struct err *err)
{
    const struct record_search *search = context;
    const struct results_wanted *wanted = search->wanted;
    const struct record *record = item->record;
    struct candidate candidate = {.trial = record_u64(record, FACT_TRIAL), .line = item->line};
    const char *id = record_string(record, FACT_CELL_ID);
    candidate.place = find_place(search->planned, wanted->setup->plan.cells_count, id);
    candidate.rank = rank_of(wanted, record, candidate.place != SIZE_MAX);
    (void)snprintf(candidate.cell_id, sizeof(candidate.cell_id), "%s", hash_id_digits(id));
    bool is_wanted = !item->is_published && (wanted->is_whole || candidate.rank == 3);
    return is_wanted ? add(search->found, &candidate, err) : STATUS_OK;
}

static enum status read_folder(const struct results_wanted *wanted, const enum fact_id *fields,
                               size_t fields_count, struct reader **ret_reader, struct err *err)
{
    const struct reader_options options = {
        .fields = fields, .fields_count = fields_count, .is_jsonl = true};
    char path[FILE_PATH_BYTES];
    if (snprintf(path, sizeof(path), "%s/bench_results.jsonl", wanted->setup->out) >=
        (int)sizeof(path))
        return ERR(err, STATUS_LIMIT, "'%s' is too long a path", wanted->setup->out);
    return reader_open(path, &options, ret_reader, err);
}

static enum status find_all(const struct results_wanted *wanted, struct found *found,
                            struct err *err)
{
    static const enum fact_id fields[] = {FACT_RUN_ID,        FACT_CELL_ID, FACT_POLICY_ID,
                                          FACT_TRIAL,         FACT_VERDICT, FACT_REASONS,
                                          FACT_ENVIRONMENT_ID};
    struct planned *planned = list_planned(&wanted->setup->plan);
    struct reader *reader = NULL;
    enum status status = planned == NULL
                             ? ERR(err, STATUS_NOMEM, "no memory for the table")
                             : read_folder(wanted, fields, ARRAY_COUNT(fields), &reader, err);
    struct record_search search = {wanted, planned, found};
    if (status == STATUS_OK)
        status = visit_reader(reader, take_candidate, &search, NULL, err);
    free(planned);
    return status;
}

/* --- one of each cell and trial --- */

static int compare_cells(const struct candidate *a, const struct candidate *b)
{
    int order = strcmp(a->cell_id, b->cell_id);
    return order != 0 ? order : (a->trial > b->trial) - (a->trial < b->trial);
}

/* The one to be shown is the last of its cell and trial. */
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    int order = compare_cells(left, right);
    if (order == 0)
        order = (left->rank > right->rank) - (left->rank < right->rank);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

static int compare_lines(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    return (left->line > right->line) - (left->line < right->line);
}

static void choose(const struct results_wanted *wanted, struct found *found)
{
    size_t kept = 0;
    qsort(found->items, found->count, sizeof(found->items[0]), compare_candidates);
    for (size_t i = 0; i < found->count; i++) {
        struct candidate *item = &found->items[i];
        if (i + 1 < found->count && compare_cells(item, item + 1) == 0)
            continue;
        /* A cell that is not of the plan has the place of its first trial. */
        bool is_first = kept == 0 || strcmp(found->items[kept - 1].cell_id, item->cell_id) != 0;
        if (item->place == SIZE_MAX)
            item->place = is_first ? wanted->setup->plan.cells_count + (size_t)item->line
                                   : found->items[kept - 1].place;
        found->items[kept++] = *item;
    }
    found->count = kept;
    qsort(found->items, found->count, sizeof(found->items[0]), compare_lines);
}

enum status results_each(const struct results_wanted *wanted, results_visit *visit, void *context,
                         struct err *err)
{
    struct found found = {0};
    struct reader *reader = NULL;
    struct reader_item item = {0};
    enum status status = find_all(wanted, &found, err);
    if (status == STATUS_OK && found.count > 0) {
        choose(wanted, &found);
        status = read_folder(wanted, NULL, 0, &reader, err);
    }
    for (size_t next = 0; status == STATUS_OK && next < found.count && item.kind != READER_END;) {
        status = reader_next(reader, &item, err);
        if (status != STATUS_OK || item.kind != READER_RECORD ||
            item.line != found.items[next].line)
            continue;
        status = visit(context, found.items[next++].place, item.record, err);
    }
    reader_close(reader);
    free(found.items);
    return status;
}
