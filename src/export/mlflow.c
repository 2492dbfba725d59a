/* MLflow, by its REST interface: a run a record. Records that the server has are not sent again; a
 * run that a kill left half is finished. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "export/exporter.h"
#include "export/http.h"
#include "export/identity.h"

#define URI_VARIABLE        "MLFLOW_TRACKING_URI"
#define EXPERIMENT_VARIABLE "MLFLOW_EXPERIMENT_NAME"
#define EXPERIMENT          "tokmark"
#define RECORD_TAG          "tokmark.record" /* a record's hash: two runs with the same are one */
#define API                 "/api/2.0/mlflow"
#define URL_BYTES_MAX       8192
#define REQUEST_BYTES_MAX   ((size_t)1 << 20) /* MLflow's most */
#define VALUE_BYTES_MAX     500               /* of a parameter, in every version of MLflow */
#define NAME_BYTES_MAX      250
#define TEXT_BYTES_MAX      (8 * (size_t)RECORD_LINE_BYTES_MAX)
#define RUN_ID_BYTES        128

static const enum fact_id tags[] = {FACT_VERDICT, FACT_RUN_ID, FACT_ENGINE_VERSION,
                                    FACT_ENVIRONMENT_ID, FACT_HARNESS};

struct mlflow {
    struct http *http; /* owned */
    struct buf base;   /* URL */
    struct buf url, request, answer, text;
    char *experiment_id; /* owned */
};

/* --- requests --- */

static struct json_writer start(struct mlflow *mlflow)
{
    struct json_writer writer;
    buf_reset(&mlflow->request);
    json_writer_init(&writer, &mlflow->request);
    json_begin_object(&writer);
    return writer;
}

static void set_url(struct mlflow *mlflow, const char *path)
{
    buf_reset(&mlflow->url);
    buf_appendf(&mlflow->url, "%s" API "%s", mlflow->base.data, path);
}

/* Sends what start() began. *ret_root: owned by the caller; NULL where the answer is no JSON. */
static enum status post(struct mlflow *mlflow, const char *path, struct json_writer *writer,
                        bool is_repeatable, json_t **ret_root, struct err *err)
{
    json_end_object(writer);
    set_url(mlflow, path);
    const struct http_request request = {.method = "POST",
                                         .url = mlflow->url.data,
                                         .content_type = "application/json",
                                         .body = &mlflow->request,
                                         .is_repeatable = is_repeatable};
    if (mlflow->request.failed)
        return ERR(err, STATUS_LIMIT, "a record is too large for MLflow");
    TRY(http_send_ok(mlflow->http, &request, &mlflow->answer, err));
    if (ret_root != NULL)
        *ret_root = json_loadb(mlflow->answer.data, mlflow->answer.length_bytes, 0, NULL);
    return STATUS_OK;
}

static enum status say_odd(const struct mlflow *mlflow, const char *what, struct err *err)
{
    struct buf shown CLEANUP(buf_release) = {0};
    buf_init(&shown, URL_BYTES_MAX);
    http_append_shown(mlflow->base.data, &shown);
    return ERR(err, STATUS_IO, "%.300s does not answer as MLflow does: %s", shown.data, what);
}

/* --- the experiment --- */

static void append_escaped(const char *text, struct buf *out)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *c = text; *c != '\0'; c++)
        if (strchr(plain, *c) != NULL)
            buf_append_char(out, *c);
        else
            buf_appendf(out, "%%%02X", (unsigned)(unsigned char)*c);
}

static enum status keep_experiment(struct mlflow *mlflow, const char *id, struct err *err)
{
    if (id == NULL)
        return say_odd(mlflow, "an experiment without an id", err);
    mlflow->experiment_id = strdup(id);
    return mlflow->experiment_id != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "out of memory");
}

static enum status create_experiment(struct mlflow *mlflow, const char *name, struct err *err)
{
    json_t *root = NULL;
    struct json_writer writer = start(mlflow);
    json_field_string(&writer, "name", name);
    TRY(post(mlflow, "/experiments/create", &writer, false, &root, err));
    enum status status =
        keep_experiment(mlflow, json_string_value(json_object_get(root, "experiment_id")), err);
    json_decref(root);
    return status;
}

static enum status find_experiment(struct mlflow *mlflow, struct err *err)
{
    const char *given = getenv(EXPERIMENT_VARIABLE);
    const char *name = given != NULL && given[0] != '\0' ? given : EXPERIMENT;
    long code = 0;
    set_url(mlflow, "/experiments/get-by-name?experiment_name=");
    append_escaped(name, &mlflow->url);
    const struct http_request request = {
        .method = "GET", .url = mlflow->url.data, .is_repeatable = true};
    TRY(http_send(mlflow->http, &request, &code, &mlflow->answer, err));
    if (code == 404)
        return create_experiment(mlflow, name, err);
    if (code != 200)
        return http_send_ok(mlflow->http, &request, &mlflow->answer, err);
    json_t *root = json_loadb(mlflow->answer.data, mlflow->answer.length_bytes, 0, NULL);
    const json_t *found = json_object_get(root, "experiment");
    enum status status =
        keep_experiment(mlflow, json_string_value(json_object_get(found, "experiment_id")), err);
    json_decref(root);
    return status;
}

static enum status set_credentials(struct mlflow *mlflow, struct err *err)
{
    struct buf header CLEANUP(buf_release) = {0};
    const char *token = getenv("MLFLOW_TRACKING_TOKEN");
    const char *user = getenv("MLFLOW_TRACKING_USERNAME");
    const char *password = getenv("MLFLOW_TRACKING_PASSWORD");
    if (user != NULL && password != NULL)
        http_set_user(mlflow->http, user, password);
    if (token == NULL || token[0] == '\0')
        return STATUS_OK;
    buf_init(&header, URL_BYTES_MAX);
    buf_appendf(&header, "Authorization: Bearer %s", token);
    return http_add_header(mlflow->http, header.data, err);
}

static enum status begin(struct export *export, struct err *err)
{
    struct mlflow *mlflow = calloc(1, sizeof(*mlflow));
    if (mlflow == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for MLflow");
    export->state = mlflow;
    buf_init(&mlflow->base, URL_BYTES_MAX);
    buf_init(&mlflow->url, 2 * URL_BYTES_MAX);
    buf_init(&mlflow->request, REQUEST_BYTES_MAX);
    buf_init(&mlflow->answer, HTTP_BODY_BYTES_MAX);
    buf_init(&mlflow->text, TEXT_BYTES_MAX);
    size_t bytes = strlen(export->to);
    while (bytes > 0 && export->to[bytes - 1] == '/')
        bytes--;
    buf_append(&mlflow->base, export->to, bytes);
    TRY(http_open(export->timeout_ns, &mlflow->http, err));
    TRY(set_credentials(mlflow, err));
    return find_experiment(mlflow, err);
}

static void release(struct export *export)
{
    struct mlflow *mlflow = export->state;
    if (mlflow == NULL)
        return;
    http_close(mlflow->http);
    buf_release(&mlflow->base);
    buf_release(&mlflow->url);
    buf_release(&mlflow->request);
    buf_release(&mlflow->answer);
    buf_release(&mlflow->text);
    free(mlflow->experiment_id);
    free(mlflow);
}

/* --- a run --- */

/* Within the length, and no letter cut in half. */
static void cut(struct buf *text, size_t bytes_max)
{
    size_t bytes = text->length_bytes < bytes_max ? text->length_bytes : bytes_max;
    while (bytes > 0 && bytes < text->length_bytes &&
           ((unsigned char)text->data[bytes] & 0xC0U) == 0x80U)
        bytes--;
    text->data[bytes] = '\0';
    text->length_bytes = bytes;
}

static void put_pair(struct json_writer *writer, const char *key, const char *value)
{
    json_begin_object(writer);
    json_field_string(writer, "key", key);
    json_field_string(writer, "value", value);
    json_end_object(writer);
}

static void put_fields(struct mlflow *mlflow, const char *prefix, const struct record *record,
                       const enum fact_id *fields, size_t count, struct json_writer *writer)
{
    char key[96];
    for (size_t i = 0; i < count; i++) {
        if (record_is_null(record, fields[i]))
            continue;
        buf_reset(&mlflow->text);
        identity_append_value(record, fields[i], &mlflow->text);
        cut(&mlflow->text, VALUE_BYTES_MAX);
        (void)snprintf(key, sizeof(key), "%s%s", prefix, fact_of(fields[i])->name);
        put_pair(writer, key, mlflow->text.data);
    }
}

static void format_key(struct hash_wide key, char text[33])
{
    (void)snprintf(text, 33, "%016llx%016llx", (unsigned long long)key.high,
                   (unsigned long long)key.low);
}

/* *ret_run_id is "" where the server has no run of the record. */
static enum status find_run(struct mlflow *mlflow, const char *key, char ret_run_id[RUN_ID_BYTES],
                            bool *ret_is_whole, struct err *err)
{
    json_t *root = NULL;
    char filter[128];
    struct json_writer writer = start(mlflow);
    json_put_key(&writer, "experiment_ids");
    json_begin_array(&writer);
    json_put_string(&writer, mlflow->experiment_id);
    json_end_array(&writer);
    (void)snprintf(filter, sizeof(filter), "tags.`" RECORD_TAG "` = '%s'", key);
    json_field_string(&writer, "filter", filter);
    json_field_u64(&writer, "max_results", 1);
    TRY(post(mlflow, "/runs/search", &writer, true, &root, err));
    const json_t *run = json_array_get(json_object_get(root, "runs"), 0);
    const json_t *info = json_object_get(run, "info");
    const char *run_id = json_string_value(json_object_get(info, "run_id"));
    const char *state = json_string_value(json_object_get(info, "status"));
    (void)snprintf(ret_run_id, RUN_ID_BYTES, "%s", run_id != NULL ? run_id : "");
    *ret_is_whole = state != NULL && strcmp(state, "RUNNING") != 0;
    json_decref(root);
    return STATUS_OK;
}

static enum status create_run(struct mlflow *mlflow, const struct record *record, const char *key,
                              uint64_t start_ns, char ret_run_id[RUN_ID_BYTES], struct err *err)
{
    json_t *root = NULL;
    struct json_writer writer = start(mlflow);
    json_field_string(&writer, "experiment_id", mlflow->experiment_id);
    buf_reset(&mlflow->text);
    identity_append_title(record, &mlflow->text);
    cut(&mlflow->text, NAME_BYTES_MAX);
    json_field_string(&writer, "run_name", mlflow->text.data);
    json_field_u64(&writer, "start_time", start_ns / NS_PER_MS);
    json_put_key(&writer, "tags");
    json_begin_array(&writer);
    put_pair(&writer, RECORD_TAG, key);
    put_fields(mlflow, "tokmark.", record, tags, ARRAY_COUNT(tags), &writer);
    json_end_array(&writer);
    TRY(post(mlflow, "/runs/create", &writer, false, &root, err));
    const json_t *info = json_object_get(json_object_get(root, "run"), "info");
    const char *run_id = json_string_value(json_object_get(info, "run_id"));
    enum status status = run_id != NULL ? STATUS_OK : say_odd(mlflow, "a run without an id", err);
    if (run_id != NULL)
        (void)snprintf(ret_run_id, RUN_ID_BYTES, "%s", run_id);
    json_decref(root);
    return status;
}

static enum status log_values(struct mlflow *mlflow, const struct export *export,
                              const struct record *record, const char *run_id, uint64_t start_ns,
                              struct err *err)
{
    struct json_writer writer = start(mlflow);
    json_field_string(&writer, "run_id", run_id);
    json_put_key(&writer, "metrics");
    json_begin_array(&writer);
    for (size_t i = 0; i < export->fields_count; i++) {
        double value;
        if (!export_number(record, export->fields[i], &value))
            continue;
        json_begin_object(&writer);
        json_field_string(&writer, "key", fact_of(export->fields[i])->name);
        json_field_double(&writer, "value", value);
        json_field_u64(&writer, "timestamp", start_ns / NS_PER_MS);
        json_field_u64(&writer, "step", 0);
        json_end_object(&writer);
    }
    json_end_array(&writer);
    json_put_key(&writer, "params");
    json_begin_array(&writer);
    put_fields(mlflow, "", record, export_identity, export_identity_count, &writer);
    json_end_array(&writer);
    return post(mlflow, "/runs/log-batch", &writer, true, NULL, err);
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct mlflow *mlflow = export->state;
    char run_id[RUN_ID_BYTES] = "";
    char key[33];
    bool is_whole = false;
    uint64_t start_ns = 0;
    double step_ms;
    (void)clock_stamp_ns(record_string(item->record, FACT_STARTED_AT), &start_ns);
    format_key(item->key, key);
    TRY(find_run(mlflow, key, run_id, &is_whole, err));
    if (is_whole) {
        export->counts.had++;
        return STATUS_OK;
    }
    if (run_id[0] == '\0')
        TRY(create_run(mlflow, item->record, key, start_ns, run_id, err));
    TRY(log_values(mlflow, export, item->record, run_id, start_ns, err));
    struct json_writer writer = start(mlflow);
    json_field_string(&writer, "run_id", run_id);
    json_field_string(&writer, "status", item->has_result ? "FINISHED" : "FAILED");
    /* The measured window at least. */
    if (export_number(item->record, FACT_MS_PER_STEP, &step_ms))
        start_ns +=
            (uint64_t)(step_ms * (double)NS_PER_MS * (double)record_u64(item->record, FACT_STEPS));
    json_field_u64(&writer, "end_time", start_ns / NS_PER_MS);
    return post(mlflow, "/runs/update", &writer, true, NULL, err);
}

static enum status end(struct export *export, struct err *err)
{
    (void)export;
    (void)err;
    return STATUS_OK;
}

static const enum fact_id needs[] = {FACT_VERDICT,       FACT_RUN_ID, FACT_ENGINE_VERSION,
                                     FACT_HARNESS,       FACT_STEPS,  FACT_MS_PER_STEP,
                                     FACT_ENVIRONMENT_ID};

const struct exporter exporter_mlflow = {
    .name = "mlflow",
    .says = "MLflow's tracking server: a run a record, in the experiment " EXPERIMENT_VARIABLE
            " (" EXPERIMENT ")",
    .leaves_out = "raw samples, the environment but its id, text behind 500 bytes of a parameter",
    .places = EXPORT_TO_URL,
    .url_variable = URI_VARIABLE,
    .sees_failed = true,
    .shows_failed = true,
    .needs = needs,
    .needs_count = ARRAY_COUNT(needs),
    .begin = begin,
    .add = add,
    .end = end,
    .release = release,
};
