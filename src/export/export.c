#include "export/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/nearest.h"
#include "export/identity.h"

#define FLUSH_BYTES    ((size_t)64 << 10)
#define TEXT_BYTES_MAX (FLUSH_BYTES + ((size_t)64 << 20))
#define NAME_BYTES     128

const struct exporter *exporter_find(const char *name)
{
    for (size_t i = 0; i < exporter_list_count; i++)
        if (strcmp(exporter_list[i]->name, name) == 0)
            return exporter_list[i];
    return NULL;
}

/* --- which numbers --- */

static bool is_number(enum fact_id field)
{
    enum fact_type type = fact_of(field)->type;
    return type == FACT_TYPE_INTEGER || type == FACT_TYPE_DOUBLE;
}

static bool has_direction(enum fact_id field)
{
    enum fact_better better = fact_of(field)->better;
    return is_number(field) && (better == FACT_BETTER_HIGHER || better == FACT_BETTER_LOWER);
}

/* What is measured of the model; the rest says how well, and of the machine. */
static bool is_result(enum fact_id field)
{
    enum fact_group group = fact_of(field)->group;
    return has_direction(field) && (group == FACT_GROUP_PUBLISHED || group == FACT_GROUP_LATENCY ||
                                    group == FACT_GROUP_STARTUP || group == FACT_GROUP_DEVICE);
}

static size_t choose_by(bool (*is_chosen)(enum fact_id), enum fact_id fields[FACTS_COUNT])
{
    size_t count = 0;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        if (is_chosen(id))
            fields[count++] = id;
    return count;
}

static enum status add_field(const char *name, size_t name_bytes, enum fact_id fields[FACTS_COUNT],
                             size_t *count, struct err *err)
{
    char word[NAME_BYTES];
    const char *names[FACTS_COUNT];
    struct nearest_hint hint;
    size_t names_count = 0;
    enum fact_id id;
    (void)snprintf(word, sizeof(word), "%.*s", (int)(name_bytes < NAME_BYTES ? name_bytes : 100),
                   name);
    if (fact_find(word, &id) && is_number(id)) {
        for (size_t i = 0; i < *count; i++)
            if (fields[i] == id)
                return ERR(err, STATUS_INVALID, "--fields names '%s' twice", word);
        fields[(*count)++] = id;
        return STATUS_OK;
    }
    if (fact_find(word, &id))
        return ERR(err, STATUS_INVALID, "'%s' is %s; numbers are exported", word,
                   fact_type_says(fact_of(id)->type));
    for (id = 0; id < FACTS_COUNT; id++)
        if (is_number(id))
            names[names_count++] = fact_of(id)->name;
    return ERR(err, STATUS_INVALID, "no field is named '%s'; %s; `tokmark fields` lists them", word,
               nearest_hint(&hint, "", word, names, names_count));
}

enum status export_choose_fields(const struct exporter *exporter, const char *names,
                                 enum fact_id ret_fields[FACTS_COUNT], size_t *ret_count,
                                 struct err *err)
{
    const char *at = names != NULL ? names : exporter->fields;
    *ret_count = 0;
    if (names != NULL && exporter->fields != NULL && exporter->fields[0] == '\0')
        return ERR(err, STATUS_INVALID, "the fields of %s are its own; it takes no --fields",
                   exporter->name);
    if (at == NULL) {
        *ret_count = choose_by(is_result, ret_fields);
        return STATUS_OK;
    }
    if (strcmp(at, "all") == 0) {
        *ret_count = choose_by(has_direction, ret_fields);
        return STATUS_OK;
    }
    const char *separator = names != NULL ? "," : " ";
    while (names != NULL || *at != '\0') {
        size_t bytes = strcspn(at, separator);
        TRY(add_field(at, bytes, ret_fields, ret_count, err));
        if (at[bytes] == '\0')
            break;
        at += bytes + 1;
    }
    return STATUS_OK;
}

bool export_number(const struct record *record, enum fact_id field, double *ret_value)
{
    if (record_is_null(record, field))
        return false;
    *ret_value = fact_of(field)->type == FACT_TYPE_INTEGER ? (double)record_u64(record, field)
                                                           : record_double(record, field);
    return true;
}

bool export_measured_at(const struct record *record, double *ret_time_s)
{
    uint64_t measured_ns;
    if (!clock_stamp_ns(record_string(record, FACT_STARTED_AT), &measured_ns))
        return false;
    uint64_t thousandths = measured_ns / NS_PER_MS; /* a double holds them, and not all of it */
    *ret_time_s = (double)thousandths / 1000.0;
    return true;
}

/* --- where to --- */

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

static bool is_folder(const char *path)
{
    struct stat info;
    size_t bytes = strlen(path);
    return (bytes > 0 && path[bytes - 1] == '/') ||
           (stat(path, &info) == 0 && S_ISDIR(info.st_mode));
}

/* What --to may be: "FILE, DIR/ or URL". */
static void append_places(const struct exporter *exporter, struct buf *out)
{
    static const struct {
        enum export_place place;
        const char *word;
    } words[] = {
        {EXPORT_TO_STREAM, "FILE"}, {EXPORT_TO_FOLDER, "DIR/"}, {EXPORT_TO_URL, "http://..."}};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if ((exporter->places & (unsigned)words[i].place) != 0)
            buf_appendf(out, "%s%s", out->length_bytes > 0 ? " or " : "", words[i].word);
}

enum status export_find_target(const struct exporter *exporter, const char *to, const char **ret_to,
                               enum export_place *ret_place, struct err *err)
{
    struct buf places CLEANUP(buf_release) = {0};
    enum export_place place = EXPORT_TO_STREAM;
    if (to == NULL && exporter->url_variable != NULL)
        to = getenv(exporter->url_variable);
    if (to != NULL && strcmp(to, "-") == 0)
        to = NULL;
    if (to != NULL && is_url(to))
        place = EXPORT_TO_URL;
    else if (to != NULL && (is_folder(to) || (exporter->places & EXPORT_TO_STREAM) == 0))
        place = EXPORT_TO_FOLDER;
    if ((exporter->places & (unsigned)place) != 0) {
        *ret_to = to;
        *ret_place = place;
        return STATUS_OK;
    }
    buf_init(&places, NAME_BYTES);
    append_places(exporter, &places);
    return ERR(err, STATUS_INVALID, "%s needs --to %s", exporter->name, places.data);
}

enum status export_flush(struct export *export, bool is_all, struct err *err)
{
    if (export->text.failed)
        return ERR(err, STATUS_NOMEM, "no memory for what is written");
    if (export->text.length_bytes == 0 || (!is_all && export->text.length_bytes < FLUSH_BYTES))
        return STATUS_OK;
    enum status status =
        export->sink(export->sink_context, export->text.data, export->text.length_bytes, err);
    buf_reset(&export->text);
    return status;
}

static enum status write_content(void *context, int fd, struct err *err)
{
    const struct buf *content = context;
    return file_write_fd(fd, content->data, content->length_bytes, err);
}

enum status export_replace_file(const struct export *export, const char *name,
                                const struct buf *content, struct err *err)
{
    char path[FILE_PATH_BYTES];
    if (content->failed)
        return ERR(err, STATUS_NOMEM, "no memory for '%.200s'", name);
    TRY(file_make_dirs(export->to, err));
    TRY(file_join(export->to, name, path, err));
    return file_replace(path, write_content, (void *)content, err);
}

/* --- records --- */

/* All borrowed but the cells. */
struct passage {
    const struct export_request *request;
    struct export *export;
    struct cells *cells; /* owned */
    const char *source;  /* that is read */
    struct buf scratch;
    bool has_begun;
};

static bool has_value(const struct export *export, const struct record *record)
{
    for (size_t i = 0; i < export->fields_count; i++)
        if (!record_is_null(record, export->fields[i]))
            return true;
    return export->fields_count == 0;
}

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct passage *passage = context;
    struct export *export = passage->export;
    struct export_item given = {.record = item->record, .source = passage->source};
    enum admit_kind kind = ADMIT_KINDS_COUNT;
    if (admit_find_kind(item, &kind) && !passage->request->includes[kind]) {
        export->counts.left_out[kind]++;
        return STATUS_OK;
    }
    TRY(cells_take(passage->cells, 0, item, &given.place, err));
    if (given.place.effect == CELLS_KNOWN) {
        export->counts.known++;
        return STATUS_OK;
    }
    given.has_result = given.place.has_result || kind == ADMIT_INVALID;
    bool is_empty = !given.has_result || !has_value(export, item->record);
    if (is_empty)
        export->counts.empty++;
    else
        export->counts.records++;
    if (is_empty && !export->exporter->sees_failed)
        return STATUS_OK;
    given.key = admit_key(item, &passage->scratch);
    if (!passage->has_begun)
        TRY(export->exporter->begin(export, err));
    passage->has_begun = true;
    return export->exporter->add(export, &given, err);
}

static void list_needs(const struct export *export, struct visit_fields *needs)
{
    visit_fields_add(needs, admit_fields, admit_fields_count);
    visit_fields_add(needs, cells_fields, cells_fields_count);
    visit_fields_add(needs, export_identity, export_identity_count);
    visit_fields_add(needs, export->fields, export->fields_count);
    visit_fields_add(needs, export->exporter->needs, export->exporter->needs_count);
    for (size_t i = 0; i < export->fields_count; i++) {
        enum fact_id ends[2];
        if (identity_find_interval(export->fields[i], &ends[0], &ends[1]))
            visit_fields_add(needs, ends, ARRAY_COUNT(ends));
    }
}

static enum status pass_records(struct passage *passage, struct err *err)
{
    struct export *export = passage->export;
    struct visit_fields needs = {0};
    const struct cells_options by = {.sides_count = 1, .takes_newest_run = true};
    list_needs(export, &needs);
    const struct reader_options options = {.fields = needs.items, .fields_count = needs.count};
    TRY(cells_new(&by, &passage->cells, err));
    for (size_t i = 0; i < passage->request->sources_count; i++) {
        passage->source = passage->request->sources[i];
        TRY(visit_source(passage->source, &options, take_record, passage, &export->counts.notes,
                         err));
    }
    bool has_any = export->counts.records > 0 || export->exporter->shows_failed;
    export->counts.is_nothing = !passage->has_begun || !has_any;
    if (export->counts.is_nothing)
        return ERR(err, STATUS_NOT_FOUND, "there is nothing to export");
    TRY(export->exporter->end(export, err));
    return export->place == EXPORT_TO_STREAM ? export_flush(export, true, err) : STATUS_OK;
}

static enum status write_to_fd(void *context, const char *bytes, size_t bytes_count,
                               struct err *err)
{
    const int *fd = context;
    return file_write_fd(*fd, bytes, bytes_count, err);
}

/* A file_writer. */
static enum status write_file(void *context, int fd, struct err *err)
{
    struct passage *passage = context;
    passage->export->sink = write_to_fd;
    passage->export->sink_context = &fd;
    return pass_records(passage, err);
}

enum status export_run(const struct export_request *request, struct export_counts *ret_counts,
                       struct err *err)
{
    struct export export = {.exporter = request->exporter,
                            .fields = request->fields,
                            .fields_count = request->fields_count,
                            .timeout_ns = request->timeout_ns,
                            .sink = request->sink,
                            .sink_context = request->sink_context};
    struct passage passage = {.request = request, .export = &export};
    TRY(export_find_target(request->exporter, request->to, &export.to, &export.place, err));
    buf_init(&export.text, TEXT_BYTES_MAX);
    buf_init(&passage.scratch, RECORD_LINE_BYTES_MAX * 4);
    enum status status = export.to != NULL && export.place == EXPORT_TO_STREAM
                             ? file_replace(export.to, write_file, &passage, err)
                             : pass_records(&passage, err);
    if (passage.has_begun && request->exporter->release != NULL)
        request->exporter->release(&export);
    cells_free(passage.cells);
    buf_release(&export.text);
    buf_release(&passage.scratch);
    *ret_counts = export.counts;
    return status;
}
