#include "registry/bridge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"
#include "registry/template.h"
#include "spec/verdict.h"

#define SANDBOX_SUFFIX "-sandbox"

static const char *const default_tags[] = {"fuzzy-parakeet", "v24.x", "{engine}"};
static const char *const default_metric[] = {"tokens_per_sec"};
static const char *const default_mode[] = {"train"};
static const char *const default_engine[] = {"pytorch"};

struct bridge {
    const struct bridge_options *options; /* borrowed */
    enum fact_id metrics[FACTS_COUNT];
    size_t metrics_count;
    struct visit_fields fields;
    struct entry *entries; /* owned: BRIDGE_ENTRIES_MAX */
    bool *is_mixed;        /* owned; one an entry: results of several cells came */
    size_t entries_count;
    struct bridge_counts counts;
};

/* --- what is asked for --- */

static bool has_direction(enum fact_id id)
{
    const struct fact *fact = fact_of(id);
    return (fact->better == FACT_BETTER_HIGHER || fact->better == FACT_BETTER_LOWER) &&
           (fact->type == FACT_TYPE_DOUBLE || fact->type == FACT_TYPE_INTEGER);
}

static enum status add_metric(struct bridge *bridge, const char *name, struct err *err)
{
    enum fact_id id;
    if (strcmp(name, "all") == 0) {
        bridge->metrics_count = 0;
        for (id = 0; id < FACTS_COUNT; id++)
            if (has_direction(id))
                bridge->metrics[bridge->metrics_count++] = id;
        return STATUS_OK;
    }
    const char *names[FACTS_COUNT];
    struct nearest_hint hint;
    size_t count = 0;
    for (id = 0; id < FACTS_COUNT; id++)
        if (has_direction(id))
            names[count++] = fact_of(id)->name;
    if (!fact_find(name, &id))
        return ERR(err, STATUS_INVALID, "no field is named '%.100s'; %s", name,
                   nearest_hint(&hint, "", name, names, count));
    if (!has_direction(id))
        return ERR(err, STATUS_INVALID,
                   "'%s' is no metric: neither more nor less of it is better (`tokmark fields`)",
                   name);
    for (size_t i = 0; i < bridge->metrics_count; i++)
        if (bridge->metrics[i] == id)
            return STATUS_OK;
    bridge->metrics[bridge->metrics_count++] = id;
    return STATUS_OK;
}

static const char *template_of(const char *given, const char *otherwise)
{
    return given != NULL ? given : otherwise;
}

static enum status read_options(struct bridge *bridge, struct err *err)
{
    const struct bridge_options *options = bridge->options;
    bool is_default = options->metrics_count == 0;
    const char *const *metrics = is_default ? default_metric : options->metrics;
    size_t metrics_count = is_default ? 1 : options->metrics_count;
    const char *const *tags = options->tags_count > 0 ? options->tags : default_tags;
    size_t tags_count = options->tags_count > 0 ? options->tags_count : ARRAY_COUNT(default_tags);
    for (size_t i = 0; i < metrics_count; i++)
        TRY(add_metric(bridge, metrics[i], err));
    const char *const templates[] = {template_of(options->id_template, BRIDGE_ID_TEMPLATE),
                                     template_of(options->name_template, BRIDGE_NAME_TEMPLATE),
                                     template_of(options->source_template, BRIDGE_SOURCE_TEMPLATE)};
    if (templates[0][0] == '\0')
        return ERR(err, STATUS_INVALID, "the id template is empty");
    for (size_t i = 0; i < ARRAY_COUNT(templates); i++)
        TRY(template_check(templates[i], &bridge->fields, err));
    if (tags_count > ENTRY_TAGS_MAX)
        return ERR(err, STATUS_INVALID, "at most %d tags", ENTRY_TAGS_MAX);
    for (size_t i = 0; i < tags_count; i++)
        TRY(template_check(tags[i], &bridge->fields, err));
    visit_fields_add(&bridge->fields, admit_fields, admit_fields_count);
    visit_fields_add(&bridge->fields, bridge->metrics, bridge->metrics_count);
    return STATUS_OK;
}

enum status bridge_new(const struct bridge_options *options, struct bridge **ret_bridge,
                       struct err *err)
{
    struct bridge *bridge = calloc(1, sizeof(*bridge));
    if (bridge == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for entries");
    bridge->options = options;
    bridge->entries = calloc(BRIDGE_ENTRIES_MAX, sizeof(*bridge->entries));
    bridge->is_mixed = calloc(BRIDGE_ENTRIES_MAX, sizeof(*bridge->is_mixed));
    enum status status = bridge->entries != NULL && bridge->is_mixed != NULL
                             ? read_options(bridge, err)
                             : ERR(err, STATUS_NOMEM, "no memory for entries");
    if (status == STATUS_OK)
        *ret_bridge = bridge;
    else
        bridge_free(bridge);
    return status;
}

void bridge_free(struct bridge *bridge)
{
    if (bridge == NULL)
        return;
    for (size_t i = 0; i < bridge->entries_count; i++)
        entry_release(&bridge->entries[i]);
    free(bridge->entries);
    free(bridge->is_mixed);
    free(bridge);
}

const struct entry *bridge_entries(struct bridge *bridge, size_t *ret_count)
{
    *ret_count = bridge->entries_count;
    return bridge->entries;
}

const struct bridge_counts *bridge_counts(const struct bridge *bridge)
{
    return &bridge->counts;
}

/* --- one entry --- */

static enum status expand(const char *text, const struct template_subject *subject, char **ret_text,
                          struct err *err)
{
    struct buf out;
    buf_init(&out, ENTRY_TEXT_MAX);
    enum status status = template_expand(text, subject, &out, err);
    char *copy = status == STATUS_OK ? strdup(out.data) : NULL;
    if (status == STATUS_OK && copy == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for an entry");
    buf_release(&out);
    if (status == STATUS_OK)
        *ret_text = copy;
    return status;
}

static enum status copy_text(const char *text, char **ret_text, struct err *err)
{
    *ret_text = strdup(text);
    return *ret_text != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory for an entry");
}

static enum status fill_value(const struct template_subject *subject, struct entry *entry,
                              struct err *err)
{
    char number[NUM_TEXT_BYTES];
    const struct record *record = subject->record;
    const struct fact *fact = fact_of(subject->metric);
    if (fact->type == FACT_TYPE_INTEGER)
        (void)snprintf(number, sizeof(number), "%" PRIu64, record_u64(record, subject->metric));
    else
        num_format_double(record_double(record, subject->metric), number);
    enum status status = copy_text(number, &entry->texts[ENTRY_VALUE], err);
    if (status == STATUS_OK && fact->unit[0] != '\0')
        status = copy_text(fact->unit, &entry->texts[ENTRY_UNIT], err);
    static const struct {
        enum fact_id fact;
        enum entry_field field;
    } origins[] = {{FACT_STARTED_AT, ENTRY_MEASURED_AT},
                   {FACT_RUN_ID, ENTRY_RUN_ID},
                   {FACT_CELL_ID, ENTRY_CELL_ID}};
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_COUNT(origins); i++)
        if (!record_is_null(record, origins[i].fact))
            status = copy_text(record_string(record, origins[i].fact),
                               &entry->texts[origins[i].field], err);
    return status;
}

static enum status fill(const struct bridge *bridge, const struct template_subject *subject,
                        struct entry *entry, struct err *err)
{
    const struct bridge_options *options = bridge->options;
    const char *const *tags = options->tags_count > 0 ? options->tags : default_tags;
    size_t tags_count = options->tags_count > 0 ? options->tags_count : ARRAY_COUNT(default_tags);
    bool is_higher = fact_of(subject->metric)->better == FACT_BETTER_HIGHER;
    TRY(expand(template_of(options->id_template, BRIDGE_ID_TEMPLATE), subject,
               &entry->texts[ENTRY_ID], err));
    TRY(expand(template_of(options->name_template, BRIDGE_NAME_TEMPLATE), subject,
               &entry->texts[ENTRY_NAME], err));
    TRY(expand(template_of(options->source_template, BRIDGE_SOURCE_TEMPLATE), subject,
               &entry->texts[ENTRY_SOURCE], err));
    TRY(copy_text(is_higher ? "higher_is_better" : "lower_is_better", &entry->texts[ENTRY_COMPARE],
                  err));
    for (size_t i = 0; i < tags_count; i++) {
        TRY(expand(tags[i], subject, &entry->tags[entry->tags_count], err));
        entry->tags_count++;
    }
    return options->writes_value ? fill_value(subject, entry, err) : STATUS_OK;
}

static bool is_same_cell(const struct entry *one, const struct entry *other)
{
    const char *a = one->texts[ENTRY_CELL_ID];
    const char *b = other->texts[ENTRY_CELL_ID];
    return a != NULL && b != NULL && hash_id_is_same(a, b);
}

static void note_mixed(struct bridge *bridge, size_t index)
{
    if (!bridge->options->writes_value || bridge->is_mixed[index])
        return;
    bridge->is_mixed[index] = true;
    if (bridge->counts.mixed++ == 0)
        (void)snprintf(bridge->counts.first_mixed, sizeof(bridge->counts.first_mixed), "%s",
                       bridge->entries[index].texts[ENTRY_ID]);
}

/* Takes the entry over. The newer of two results with one id stays; where a time is not known, the
 * later read. */
static enum status keep(struct bridge *bridge, struct entry *entry, struct err *err)
{
    for (size_t i = 0; i < bridge->entries_count; i++) {
        struct entry *there = &bridge->entries[i];
        if (strcmp(there->texts[ENTRY_ID], entry->texts[ENTRY_ID]) != 0)
            continue;
        if (!is_same_cell(there, entry))
            note_mixed(bridge, i);
        const char *one = there->texts[ENTRY_MEASURED_AT];
        const char *other = entry->texts[ENTRY_MEASURED_AT];
        bool is_newer = one == NULL || other == NULL || strcmp(other, one) >= 0;
        struct entry older = is_newer ? *there : *entry;
        if (is_newer)
            *there = *entry;
        entry_release(&older);
        return STATUS_OK;
    }
    if (bridge->entries_count == BRIDGE_ENTRIES_MAX) {
        entry_release(entry);
        return ERR(err, STATUS_LIMIT,
                   "over %d entries; does the id template hold a measured value?",
                   BRIDGE_ENTRIES_MAX);
    }
    bridge->entries[bridge->entries_count++] = *entry;
    return STATUS_OK;
}

static enum status add_entry(struct bridge *bridge, const struct template_subject *subject,
                             struct err *err)
{
    struct entry entry = {0};
    enum status status = fill(bridge, subject, &entry, err);
    if (status == STATUS_OK)
        return keep(bridge, &entry, err);
    entry_release(&entry);
    return status;
}

/* --- records --- */

static bool is_among(const char *word, const char *const *words, size_t words_count)
{
    for (size_t i = 0; i < words_count; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return words_count == 0;
}

static void name_engine(const char *framework, struct template_subject *subject)
{
    size_t bytes = strlen(framework);
    size_t suffix = strlen(SANDBOX_SUFFIX);
    if (bytes > suffix && strcmp(framework + bytes - suffix, SANDBOX_SUFFIX) == 0)
        bytes -= suffix;
    (void)snprintf(subject->engine, sizeof(subject->engine), "%.*s", (int)bytes, framework);
}

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct bridge *bridge = context;
    const struct bridge_options *options = bridge->options;
    struct template_subject subject = {.mode = record_string(item->record, FACT_MODE),
                                       .record = item->record};
    const char *verdict = record_string(item->record, FACT_VERDICT);
    enum admit_kind kind;
    enum status status = STATUS_OK;
    name_engine(record_string(item->record, FACT_FRAMEWORK), &subject);
    if (!is_among(subject.mode, options->modes, options->modes_count) ||
        !is_among(subject.engine, options->engines, options->engines_count))
        return STATUS_OK;
    bool is_of_kind = admit_find_kind(item, &kind);
    if (is_of_kind && !options->includes[kind]) {
        bridge->counts.left_out[kind]++;
        return STATUS_OK;
    }
    bool is_result = item->is_published || strcmp(verdict, verdict_name(VERDICT_OK)) == 0 ||
                     strcmp(verdict, verdict_name(VERDICT_UNSTEADY)) == 0 ||
                     strcmp(verdict, verdict_name(VERDICT_INVALID)) == 0;
    bridge->counts.records += is_result;
    bridge->counts.failed += !is_result;
    for (size_t i = 0; status == STATUS_OK && is_result && i < bridge->metrics_count; i++) {
        subject.metric = bridge->metrics[i];
        if (!record_is_null(item->record, subject.metric))
            status = add_entry(bridge, &subject, err);
    }
    return status;
}

enum status bridge_add(struct bridge *bridge, const char *source, struct err *err)
{
    const struct reader_options options = {.fields = bridge->fields.items,
                                           .fields_count = bridge->fields.count};
    return visit_source(source, &options, take_record, bridge, &bridge->counts.notes, err);
}

enum status bridge_add_plain(struct bridge *bridge, struct err *err)
{
    const struct bridge_options *options = bridge->options;
    const char *const *modes = options->modes_count > 0 ? options->modes : default_mode;
    const char *const *engines = options->engines_count > 0 ? options->engines : default_engine;
    size_t modes_count = options->modes_count > 0 ? options->modes_count : 1;
    size_t engines_count = options->engines_count > 0 ? options->engines_count : 1;
    enum status status = STATUS_OK;
    for (size_t i = 0;
         status == STATUS_OK && i < engines_count * modes_count * bridge->metrics_count; i++) {
        struct template_subject subject = {.metric = bridge->metrics[i % bridge->metrics_count],
                                           .mode = modes[i / bridge->metrics_count % modes_count]};
        name_engine(engines[i / bridge->metrics_count / modes_count], &subject);
        status = add_entry(bridge, &subject, err);
    }
    return status;
}
