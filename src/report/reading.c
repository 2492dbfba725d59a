#include "report/reading.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chunks.h"
#include "compare/context.h"
#include "report/environment.h"
#include "result/admit.h"
#include "result/cells.h"
#include "result/visit.h"
#include "spec/hint.h"

#define ENVIRONMENTS_MAX 64
#define MIB              (1024.0 * 1024.0)
#define ISSUES_MAX       512
#define ISSUE_CELLS_MAX  3

/* One record that counts, linked to the one before of its cell and set. */
struct report_entry {
    struct report_cell cell;
    uint32_t before; /* its number + 1; 0 = none */
};

struct report_reading {
    struct report *report;     /* borrowed */
    struct cells *cells;       /* owned */
    struct contexts *contexts; /* owned */
    struct chunks entries;     /* struct report_entry */
    size_t entries_count;
    struct chunks heads; /* uint32_t by cell and source: the newest entry + 1 */
    struct visit_fields fields;
    uint32_t source;                                    /* that is read */
    char environments[ENVIRONMENTS_MAX][HASH_ID_BYTES]; /* of the source that is read */
    /* Warnings and reasons: the first text of each code. Borrowed from the report. */
    struct report_fact codes[ISSUES_MAX];
    size_t codes_count;
};

const char *const report_part_words[REPORT_PARTS_COUNT] = {
    "weights", "gradients", "optimizer", "activations", "kv_cache", "workspace", "other"};

const char *const report_meter_words[REPORT_METERS_COUNT] = {
    "peak", "allocated", "reserved", "process", "process on card", "whole card"};

static const enum fact_id meter_fields[REPORT_METERS_COUNT] = {
    FACT_PEAK_MEM_MB, FACT_MEM_ALLOC_MB,   FACT_MEM_RESERVED_MB,
    FACT_RSS_PEAK_MB, FACT_GPU_PROCESS_MB, FACT_GPU_USED_MB};

static const enum fact_id own_fields[] = {FACT_FRAMEWORK,
                                          FACT_MODEL,
                                          FACT_DEVICE,
                                          FACT_MODE,
                                          FACT_PRECISION,
                                          FACT_SEQ_LEN,
                                          FACT_BATCH_SIZE,
                                          FACT_STEPS,
                                          FACT_TOKENS_PER_SEC,
                                          FACT_MS_PER_STEP,
                                          FACT_PEAK_MEM_MB,
                                          FACT_CELL_ID,
                                          FACT_TRIAL,
                                          FACT_STARTED_AT,
                                          FACT_VERDICT,
                                          FACT_REASONS,
                                          FACT_WARNINGS,
                                          FACT_SYNTHETIC,
                                          FACT_MS_P50,
                                          FACT_MS_P50_LOW,
                                          FACT_MS_P50_HIGH,
                                          FACT_MS_P99,
                                          FACT_FIRST_STEP_MS,
                                          FACT_TOKENS_PER_SEC_LOW,
                                          FACT_ENVIRONMENT_ID,
                                          FACT_ENVIRONMENT,
                                          FACT_TOKENS_PER_SEC_HIGH,
                                          FACT_MEM_PREDICTED_MB,
                                          FACT_MEM_PARTS_MB,
                                          FACT_MEM_NEEDED_BYTES,
                                          FACT_LOSS_FIRST,
                                          FACT_LOSS_LAST,
                                          FACT_MEM_AVAILABLE_BYTES,
                                          FACT_STEP_FLOPS,
                                          FACT_MFU_PERCENT,
                                          FACT_MFU_DATASHEET_PERCENT,
                                          FACT_BANDWIDTH_PERCENT,
                                          FACT_BANDWIDTH_DATASHEET_PERCENT,
                                          FACT_POWER_W,
                                          FACT_JOULES_PER_TOKEN,
                                          FACT_MEM_ALLOC_MB,
                                          FACT_MEM_RESERVED_MB,
                                          FACT_RSS_PEAK_MB,
                                          FACT_GPU_PROCESS_MB,
                                          FACT_GPU_USED_MB,
                                          FACT_HISTORY_RUNS,
                                          FACT_HISTORY_MS,
                                          FACT_NEXT_RUN_MS_LOW,
                                          FACT_NEXT_RUN_MS_HIGH};

enum status reading_new(struct report *report, struct report_reading **ret_reading, struct err *err)
{
    struct report_reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read results");
    reading->report = report;
    chunks_init(&reading->entries, sizeof(struct report_entry));
    chunks_init(&reading->heads, sizeof(uint32_t));
    visit_fields_add(&reading->fields, own_fields, ARRAY_COUNT(own_fields));
    visit_fields_add(&reading->fields, admit_fields, admit_fields_count);
    visit_fields_add(&reading->fields, cells_fields, cells_fields_count);
    const struct cells_options options = {.sides_count = report->sources_count};
    enum status status = cells_new(&options, &reading->cells, err);
    if (status == STATUS_OK)
        status = contexts_new(&reading->contexts, err);
    if (status == STATUS_OK)
        *ret_reading = reading;
    else
        reading_free(reading);
    return status;
}

void reading_free(struct report_reading *reading)
{
    if (reading == NULL)
        return;
    cells_free(reading->cells);
    contexts_free(reading->contexts);
    chunks_release(&reading->entries);
    chunks_release(&reading->heads);
    free(reading);
}

/* --- a record --- */

static double number_of(const struct record *record, enum fact_id field)
{
    if (record_is_null(record, field))
        return NAN;
    return fact_of(field)->type == FACT_TYPE_INTEGER ? (double)record_u64(record, field)
                                                     : record_double(record, field);
}

static struct report_value value_of(const struct record *record, enum fact_id field,
                                    enum fact_id low, enum fact_id high)
{
    return (struct report_value){number_of(record, field), number_of(record, low),
                                 number_of(record, high)};
}

static void take_parts(const struct record *record, struct report_cell *cell)
{
    for (size_t i = 0; i < REPORT_PARTS_COUNT; i++)
        cell->parts_mb[i] = NAN;
    if (record_is_null(record, FACT_MEM_PARTS_MB))
        return;
    json_t *parts = json_loads(record_string(record, FACT_MEM_PARTS_MB), 0, NULL);
    for (size_t i = 0; i < REPORT_PARTS_COUNT; i++) {
        json_t *part = json_object_get(parts, report_part_words[i]);
        if (json_is_number(part))
            cell->parts_mb[i] = json_number_value(part);
    }
    json_decref(parts);
}

/* The first text that came with a code stands for all of them. */
static void note_code(struct report_reading *reading, const struct reason *reason)
{
    for (size_t i = 0; i < reading->codes_count; i++)
        if (strcmp(reading->codes[i].name, reason->code) == 0)
            return;
    if (reading->codes_count == ISSUES_MAX)
        return;
    struct report_texts *texts = &reading->report->texts;
    reading->codes[reading->codes_count++] =
        (struct report_fact){texts_keep(texts, reason->code), texts_keep(texts, reason->text)};
}

static void take_reasons(struct report_reading *reading, const struct record *record,
                         struct report_cell *cell)
{
    struct report_texts *texts = &reading->report->texts;
    const struct reasons *reasons = record_reasons(record, FACT_REASONS);
    const struct reasons *warnings = record_reasons(record, FACT_WARNINGS);
    struct buf codes CLEANUP(buf_release) = {0};
    buf_init(&codes, TEXTS_BYTES_MAX);
    cell->reason_code = cell->reason = "";
    if (reasons->count > 0) {
        cell->reason_code = texts_keep(texts, reasons->items[0].code);
        cell->reason = texts_keep(texts, reasons->items[0].text);
    }
    for (size_t i = 0; i < warnings->count; i++) {
        buf_appendf(&codes, "%s%s", i > 0 ? ", " : "", warnings->items[i].code);
        note_code(reading, &warnings->items[i]);
    }
    cell->warnings = texts_keep(texts, codes.data);
}

static void take_names(struct report_reading *reading, uint32_t name, struct report_cell *cell)
{
    const struct contexts *contexts = reading->contexts;
    cell->model = contexts_name(contexts, name, FACT_MODEL);
    cell->device = contexts_name(contexts, name, FACT_DEVICE);
    cell->mode = contexts_name(contexts, name, FACT_MODE);
    cell->engine = contexts_name(contexts, name, FACT_FRAMEWORK);
    cell->precision = contexts_name(contexts, name, FACT_PRECISION);
}

static void take_measured(const struct record *record, struct report_cell *cell)
{
    double flops = number_of(record, FACT_STEP_FLOPS);
    cell->tokens_per_sec =
        value_of(record, FACT_TOKENS_PER_SEC, FACT_TOKENS_PER_SEC_LOW, FACT_TOKENS_PER_SEC_HIGH);
    cell->ms = value_of(record, FACT_MS_P50, FACT_MS_P50_LOW, FACT_MS_P50_HIGH);
    if (isnan(cell->ms.value)) /* the published scripts have no median */
        cell->ms.value = number_of(record, FACT_MS_PER_STEP);
    cell->ms_p99 = number_of(record, FACT_MS_P99);
    cell->first_step_ms = number_of(record, FACT_FIRST_STEP_MS);
    cell->steps = number_of(record, FACT_STEPS);
    cell->loss_first = number_of(record, FACT_LOSS_FIRST);
    cell->loss_last = number_of(record, FACT_LOSS_LAST);
    cell->flops_per_sec = cell->ms.value > 0 ? 1e3 * flops / cell->ms.value : NAN;
    cell->mfu = number_of(record, FACT_MFU_PERCENT);
    cell->mfu_datasheet = number_of(record, FACT_MFU_DATASHEET_PERCENT);
    cell->bandwidth = number_of(record, FACT_BANDWIDTH_PERCENT);
    cell->bandwidth_datasheet = number_of(record, FACT_BANDWIDTH_DATASHEET_PERCENT);
    cell->power_w = number_of(record, FACT_POWER_W);
    cell->joules_per_token = number_of(record, FACT_JOULES_PER_TOKEN);
    for (size_t i = 0; i < REPORT_METERS_COUNT; i++)
        cell->memory_mb[i] = (float)number_of(record, meter_fields[i]);
    cell->peak_mb = number_of(record, FACT_PEAK_MEM_MB);
    cell->predicted_mb = number_of(record, FACT_MEM_PREDICTED_MB);
    cell->needed_mb = number_of(record, FACT_MEM_NEEDED_BYTES) / MIB;
    cell->available_mb = number_of(record, FACT_MEM_AVAILABLE_BYTES) / MIB;
    cell->history_runs = number_of(record, FACT_HISTORY_RUNS);
    cell->history_ms = number_of(record, FACT_HISTORY_MS);
    cell->history_low = number_of(record, FACT_NEXT_RUN_MS_LOW);
    cell->history_high = number_of(record, FACT_NEXT_RUN_MS_HIGH);
}

static void fill_cell(struct report_reading *reading, const struct reader_item *item,
                      const struct cells_place *place, uint32_t name, struct report_cell *cell)
{
    const struct record *record = item->record;
    const char *id = record_string(record, FACT_CELL_ID);
    struct report_texts *texts = &reading->report->texts;
    cell->seq_len = record_u32(record, FACT_SEQ_LEN);
    cell->batch_size = record_u32(record, FACT_BATCH_SIZE);
    cell->records_count = 1;
    cell->has_result = place->has_result;
    cell->is_published = item->is_published;
    cell->is_synthetic = record_bool(record, FACT_SYNTHETIC);
    if (!verdict_parse(record_string(record, FACT_VERDICT), &cell->verdict))
        cell->verdict = place->has_result ? VERDICT_OK : VERDICT_INVALID;
    take_names(reading, name, cell);
    take_measured(record, cell);
    take_parts(record, cell);
    take_reasons(reading, record, cell);
    /* An id is letters and digits; no other text becomes a path. */
    bool is_id = id[0] != '\0' && strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") == strlen(id);
    cell->samples = is_id ? texts_keepf(texts, "samples/%s.%" PRIu64 ".jsonl", id,
                                        record_u64(record, FACT_TRIAL))
                          : "";
}

/* --- a source --- */

static enum status take_environment(struct report_reading *reading, struct report_source *source,
                                    const struct record *record, struct err *err)
{
    const char *id = record_string(record, FACT_ENVIRONMENT_ID);
    if (id[0] == '\0' || strlen(id) >= HASH_ID_BYTES)
        return STATUS_OK;
    for (size_t i = 0; i < source->environments_count && i < ENVIRONMENTS_MAX; i++)
        if (hash_id_is_same(reading->environments[i], id))
            return STATUS_OK;
    if (source->environments_count < ENVIRONMENTS_MAX)
        (void)snprintf(reading->environments[source->environments_count], HASH_ID_BYTES, "%s", id);
    if (source->environments_count++ > 0)
        return STATUS_OK;
    struct report_texts *texts = &reading->report->texts;
    source->environment_id = texts_keep(texts, id);
    return report_environment_take(texts, record_string(record, FACT_ENVIRONMENT), source, err);
}

static void take_time(struct report *report, struct report_source *source,
                      const struct record *record)
{
    const char *started = record_string(record, FACT_STARTED_AT);
    if (started[0] == '\0')
        return;
    /* To the minute: "2026-11-28 10:51". */
    char minute[sizeof("2026-11-28 10:51")];
    (void)snprintf(minute, sizeof(minute), "%.10s %.5s", started,
                   strlen(started) > 11 ? started + 11 : "");
    if (source->first_started[0] == '\0' || strcmp(minute, source->first_started) < 0)
        source->first_started = texts_keep(&report->texts, minute);
    if (strcmp(minute, source->last_started) > 0)
        source->last_started = texts_keep(&report->texts, minute);
}

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct report_reading *reading = context;
    uint32_t number = reading->source;
    struct report_source *source = &reading->report->sources[number];
    struct cells_place place;
    uint32_t name = 0;
    source->records_count++;
    TRY(cells_take(reading->cells, number, item, &place, err));
    if (place.effect == CELLS_KNOWN)
        return STATUS_OK;
    if (reading->entries_count == REPORT_RECORDS_MAX)
        return ERR(err, STATUS_LIMIT, "a report holds %zu records at most", REPORT_RECORDS_MAX);
    TRY(contexts_take_name(reading->contexts, item->record, &name, err));
    TRY(take_environment(reading, source, item->record, err));
    take_time(reading->report, source, item->record);
    struct report_entry *entry = chunks_at(&reading->entries, reading->entries_count);
    uint32_t *head =
        chunks_at(&reading->heads, place.cell * reading->report->sources_count + number);
    if (entry == NULL || head == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the cells of a report");
    entry->before = place.effect == CELLS_REPLACES ? 0 : *head;
    entry->cell.source = number;
    fill_cell(reading, item, &place, name, &entry->cell);
    *head = (uint32_t)++reading->entries_count;
    return STATUS_OK;
}

enum status reading_take(struct report_reading *reading, uint32_t number, struct err *err)
{
    const struct reader_options options = {.fields = reading->fields.items,
                                           .fields_count = reading->fields.count};
    struct report_source *source = &reading->report->sources[number];
    struct visit_notes notes = {0};
    reading->source = number;
    TRY(visit_source(source->path, &options, take_record, reading, &notes, err));
    source->notes_count = notes.count;
    source->first_note = texts_keep(&reading->report->texts, notes.first);
    return STATUS_OK;
}

/* --- which record stands for its cell --- */

static double order_of(const struct report_cell *cell)
{
    return isnan(cell->ms.value) ? INFINITY : cell->ms.value;
}

static int compare_time(const void *a, const void *b)
{
    const struct report_cell *const *left = a;
    const struct report_cell *const *right = b;
    double difference = order_of(*left) - order_of(*right);
    return difference < 0 ? -1 : difference > 0;
}

/* Where one of them has no interval, that of all is not known. */
static void widen(struct report_value *value, const struct report_value *other)
{
    value->low = other->low > value->low ? value->low : other->low;
    value->high = other->high < value->high ? value->high : other->high;
}

#define TRIALS_MAX 256 /* more of a cell do not change its median by much */

static struct report_cell choose(const struct report_reading *reading, uint32_t newest)
{
    const struct report_cell *trials[TRIALS_MAX];
    size_t count = 0;
    uint32_t all = 0;
    const struct report_entry *first = chunks_find(&reading->entries, newest - 1);
    for (uint32_t at = newest; at != 0; all++) {
        const struct report_entry *entry = chunks_find(&reading->entries, at - 1);
        if (entry->cell.has_result && count < TRIALS_MAX)
            trials[count++] = &entry->cell;
        at = entry->before;
    }
    if (count < 2) {
        struct report_cell cell = count == 1 ? *trials[0] : first->cell;
        cell.records_count = all;
        return cell;
    }
    qsort(trials, count, sizeof(void *), compare_time);
    struct report_cell cell = *trials[(count - 1) / 2];
    for (size_t i = 0; i < count; i++) {
        widen(&cell.ms, &trials[i]->ms);
        widen(&cell.tokens_per_sec, &trials[i]->tokens_per_sec);
        if (cell.verdict == VERDICT_OK && trials[i]->verdict != VERDICT_OK) {
            cell.verdict = trials[i]->verdict;
            cell.reason_code = trials[i]->reason_code;
            cell.reason = trials[i]->reason;
        }
    }
    cell.records_count = all;
    return cell;
}

static enum status choose_all(struct report_reading *reading, struct err *err)
{
    struct report *report = reading->report;
    size_t places = cells_count(reading->cells) * report->sources_count;
    report->cells = calloc(places > 0 ? places : 1, sizeof(*report->cells));
    if (report->cells == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the cells of a report");
    for (size_t i = 0; i < places; i++) {
        const uint32_t *head = chunks_find(&reading->heads, i);
        if (head == NULL || *head == 0)
            continue;
        struct report_cell cell = choose(reading, *head);
        /* The names are those of the reading, which ends before the report. */
        report->cells[report->cells_count++] = cell;
    }
    return STATUS_OK;
}

/* Names are shared by thousands of cells: each is kept once. */
static void keep_names(struct report *report)
{
    struct known_name {
        const char *from, *kept;
    } known[5] = {{0}};
    for (size_t i = 0; i < report->cells_count; i++) {
        struct report_cell *cell = &report->cells[i];
        const char **names[] = {&cell->model, &cell->device, &cell->mode, &cell->engine,
                                &cell->precision};
        for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
            if (known[n].from != *names[n])
                known[n] = (struct known_name){*names[n], texts_keep(&report->texts, *names[n])};
            *names[n] = known[n].kept;
        }
    }
}

/* --- what was said of cells --- */

static struct report_issue *find_issue(struct report *report, enum verdict verdict,
                                       const char *code)
{
    for (size_t i = 0; i < report->issues_count; i++)
        if (report->issues[i].verdict == verdict && strcmp(report->issues[i].code, code) == 0)
            return &report->issues[i];
    if (report->issues_count == ISSUES_MAX)
        return NULL;
    struct report_issue *issue = &report->issues[report->issues_count++];
    const char *hint = hint_of(code);
    *issue = (struct report_issue){.code = texts_keep(&report->texts, code),
                                   .text = "",
                                   .hint = hint != NULL ? hint : "",
                                   .cells = "",
                                   .verdict = verdict};
    return issue;
}

static void count_issue(struct report *report, struct report_issue *issue,
                        const struct report_cell *cell, const char *text)
{
    if (issue == NULL)
        return;
    if (issue->count == 0)
        issue->text = text;
    if (issue->count++ < ISSUE_CELLS_MAX) {
        struct buf name CLEANUP(buf_release) = {0};
        buf_init(&name, TEXTS_BYTES_MAX);
        buf_append_text(&name, issue->cells);
        if (name.length_bytes > 0)
            buf_append_text(&name, "; ");
        report_cell_name(report, cell, report_name_keys(report), &name);
        issue->cells = texts_keep(&report->texts, name.data);
    }
}

static const char *text_of(const struct report_reading *reading, const char *code)
{
    for (size_t i = 0; i < reading->codes_count; i++)
        if (strcmp(reading->codes[i].name, code) == 0)
            return reading->codes[i].value;
    return "";
}

static void count_warnings(struct report_reading *reading, const struct report_cell *cell)
{
    struct report *report = reading->report;
    for (const char *at = cell->warnings; *at != '\0';) {
        char code[REASON_CODE_BYTES];
        size_t bytes = strcspn(at, ",");
        (void)snprintf(code, sizeof(code), "%.*s", (int)(bytes < sizeof(code) ? bytes : 0), at);
        count_issue(report, find_issue(report, VERDICT_OK, code), cell, text_of(reading, code));
        at += bytes;
        at += strspn(at, ", ");
    }
}

static int compare_issues(const void *a, const void *b)
{
    const struct report_issue *left = a;
    const struct report_issue *right = b;
    bool is_left_warning = left->verdict == VERDICT_OK;
    bool is_right_warning = right->verdict == VERDICT_OK;
    if (is_left_warning != is_right_warning)
        return is_left_warning - is_right_warning;
    return left->count > right->count ? -1 : left->count < right->count;
}

static enum status find_issues(struct report_reading *reading, struct err *err)
{
    struct report *report = reading->report;
    report->issues = calloc(ISSUES_MAX, sizeof(*report->issues));
    if (report->issues == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a report");
    for (size_t i = 0; i < report->cells_count; i++) {
        const struct report_cell *cell = &report->cells[i];
        if (cell->verdict != VERDICT_OK)
            count_issue(report, find_issue(report, cell->verdict, cell->reason_code), cell,
                        cell->reason);
        count_warnings(reading, cell);
    }
    qsort(report->issues, report->issues_count, sizeof(*report->issues), compare_issues);
    return STATUS_OK;
}

static int compare_cells(const void *a, const void *b)
{
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++) {
        int order = report_cell_compare(a, b, key);
        if (order != 0)
            return order;
    }
    return 0;
}

static void count_cells(struct report *report)
{
    for (size_t i = 0; i < report->cells_count; i++) {
        const struct report_cell *cell = &report->cells[i];
        report->sources[cell->source].cells_count++;
        report->sources[cell->source].synthetic_count += cell->is_synthetic;
        report->synthetic_count += cell->is_synthetic;
        report->verdicts[cell->verdict]++;
        report->results_count += cell->has_result;
        report->warned_count += cell->warnings[0] != '\0';
        for (enum report_key key = 0; i > 0 && key < REPORT_KEYS_COUNT; key++)
            report->is_varied[key] |= report_cell_compare(cell, &report->cells[0], key) != 0;
    }
}

enum status reading_finish(struct report_reading *reading, struct err *err)
{
    struct report *report = reading->report;
    TRY(choose_all(reading, err));
    qsort(report->cells, report->cells_count, sizeof(*report->cells), compare_cells);
    keep_names(report);
    count_cells(report);
    TRY(find_issues(reading, err));
    return report->texts.failed ? ERR(err, STATUS_NOMEM, "no memory for a report's texts")
                                : STATUS_OK;
}
