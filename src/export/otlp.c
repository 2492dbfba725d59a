/* OpenTelemetry's metrics as JSON: over HTTP to a collector or another receiver, or a line a
 * request. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/version.h"
#include "export/exporter.h"
#include "export/http.h"
#include "export/identity.h"
#include "export/unit.h"

#define METRICS_PATH         "/v1/metrics"
#define HEADERS_VARIABLE     "OTEL_EXPORTER_OTLP_HEADERS"
#define URL_BYTES_MAX        8192
#define POINTS_BYTES         ((size_t)512 << 10) /* then a request is full */
#define POINTS_BYTES_MAX     (POINTS_BYTES + 8 * (size_t)RECORD_LINE_BYTES_MAX)
#define REQUEST_BYTES_MAX    (2 * POINTS_BYTES_MAX)
#define ATTRIBUTES_BYTES_MAX (8 * (size_t)RECORD_LINE_BYTES_MAX)

static const enum fact_id origin[] = {FACT_VERDICT, FACT_ENGINE_VERSION, FACT_ENVIRONMENT_ID,
                                      FACT_RUN_ID};

struct otlp {
    struct buf points[FACTS_COUNT]; /* of a field, with commas between */
    struct buf attributes, request;
    size_t points_bytes;
    struct http *http; /* owned; NULL: to a stream */
    struct buf url, body;
};

/* "key=value,key=value", as OpenTelemetry's exporters take them. */
static enum status add_headers(struct otlp *otlp, const char *text, struct err *err)
{
    struct buf header CLEANUP(buf_release) = {0};
    buf_init(&header, URL_BYTES_MAX);
    while (text != NULL && *text != '\0') {
        size_t bytes = strcspn(text, ",");
        size_t key_bytes = strcspn(text, "=");
        if (key_bytes == 0 || key_bytes >= bytes)
            return ERR(err, STATUS_INVALID, HEADERS_VARIABLE " is not 'key=value,...'");
        buf_reset(&header);
        buf_append(&header, text, key_bytes);
        buf_append_text(&header, ": ");
        buf_append(&header, text + key_bytes + 1, bytes - key_bytes - 1);
        TRY(http_add_header(otlp->http, header.data, err));
        text += bytes + (text[bytes] == ',' ? 1 : 0);
    }
    return STATUS_OK;
}

static enum status begin(struct export *export, struct err *err)
{
    struct otlp *otlp = calloc(1, sizeof(*otlp));
    if (otlp == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for metrics");
    export->state = otlp;
    for (size_t i = 0; i < FACTS_COUNT; i++)
        buf_init(&otlp->points[i], POINTS_BYTES_MAX);
    buf_init(&otlp->attributes, ATTRIBUTES_BYTES_MAX);
    buf_init(&otlp->request, REQUEST_BYTES_MAX);
    buf_init(&otlp->url, URL_BYTES_MAX);
    buf_init(&otlp->body, HTTP_BODY_BYTES_MAX);
    if (export->place != EXPORT_TO_URL)
        return STATUS_OK;
    http_append_url(export->to, METRICS_PATH, &otlp->url);
    TRY(http_open(export->timeout_ns, &otlp->http, err));
    return add_headers(otlp, getenv(HEADERS_VARIABLE), err);
}

/* --- points --- */

static void put_attribute(struct json_writer *writer, const char *key, const char *kind,
                          const char *value)
{
    json_begin_object(writer);
    json_field_string(writer, "key", key);
    json_put_key(writer, "value");
    json_begin_object(writer);
    json_field_string(writer, kind, value);
    json_end_object(writer);
    json_end_object(writer);
}

/* Whole numbers are text in this JSON. */
static void put_field(struct json_writer *writer, const struct record *record, enum fact_id field,
                      struct buf *value)
{
    bool is_number = fact_of(field)->type == FACT_TYPE_INTEGER;
    if (record_is_null(record, field))
        return;
    buf_reset(value);
    identity_append_value(record, field, value);
    put_attribute(writer, fact_of(field)->name, is_number ? "intValue" : "stringValue",
                  value->data);
}

static void write_attributes(struct otlp *otlp, const struct record *record)
{
    struct buf value CLEANUP(buf_release) = {0};
    struct json_writer writer;
    buf_init(&value, ATTRIBUTES_BYTES_MAX);
    buf_reset(&otlp->attributes);
    json_writer_init(&writer, &otlp->attributes);
    json_begin_array(&writer);
    for (size_t i = 0; i < export_identity_count; i++)
        put_field(&writer, record, export_identity[i], &value);
    for (size_t i = 0; i < ARRAY_COUNT(origin); i++)
        put_field(&writer, record, origin[i], &value);
    json_end_array(&writer);
}

static void append_point(struct otlp *otlp, const struct record *record, enum fact_id field,
                         const char *stamp, struct buf *out)
{
    struct json_writer writer;
    if (out->length_bytes > 0)
        buf_append_char(out, ',');
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "timeUnixNano", stamp);
    if (fact_of(field)->type == FACT_TYPE_INTEGER) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%" PRIu64, record_u64(record, field));
        json_field_string(&writer, "asInt", text);
    } else {
        json_field_double(&writer, "asDouble", record_double(record, field));
    }
    json_field_raw(&writer, "attributes", otlp->attributes.data);
    json_end_object(&writer);
}

/* --- requests --- */

static void put_metrics(const struct export *export, struct json_writer *writer)
{
    struct otlp *otlp = export->state;
    char name[96];
    json_put_key(writer, "metrics");
    json_begin_array(writer);
    for (size_t i = 0; i < export->fields_count; i++) {
        const struct fact *fact = fact_of(export->fields[i]);
        struct buf *points = &otlp->points[export->fields[i]];
        if (points->length_bytes == 0)
            continue;
        (void)snprintf(name, sizeof(name), "tokmark.%s", fact->name);
        json_begin_object(writer);
        json_field_string(writer, "name", name);
        json_field_string(writer, "description", fact->meaning);
        json_field_string(writer, "unit", unit_of(export->fields[i])->ucum);
        json_put_key(writer, "gauge");
        json_begin_object(writer);
        json_put_key(writer, "dataPoints");
        json_begin_array(writer);
        json_put_raw(writer, points->data);
        json_end_array(writer);
        json_end_object(writer);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void write_request(const struct export *export, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_put_key(&writer, "resourceMetrics");
    json_begin_array(&writer);
    json_begin_object(&writer);
    json_put_key(&writer, "resource");
    json_begin_object(&writer);
    json_put_key(&writer, "attributes");
    json_begin_array(&writer);
    put_attribute(&writer, "service.name", "stringValue", "tokmark");
    json_end_array(&writer);
    json_end_object(&writer);
    json_put_key(&writer, "scopeMetrics");
    json_begin_array(&writer);
    json_begin_object(&writer);
    json_put_key(&writer, "scope");
    json_begin_object(&writer);
    json_field_string(&writer, "name", "tokmark");
    json_field_string(&writer, "version", version_text());
    json_end_object(&writer);
    put_metrics(export, &writer);
    json_end_object(&writer);
    json_end_array(&writer);
    json_end_object(&writer);
    json_end_array(&writer);
    json_end_object(&writer);
}

/* An answer of 200 may still say that points were refused. */
static enum status check_answer(const struct otlp *otlp, struct err *err)
{
    const char *message = NULL;
    json_t *root = json_loadb(otlp->body.data, otlp->body.length_bytes, 0, NULL);
    json_t *partial = json_object_get(root, "partialSuccess");
    const json_t *rejected = json_object_get(partial, "rejectedDataPoints");
    const char *text = json_string_value(rejected);
    bool is_refused = (text != NULL && strcmp(text, "0") != 0) ||
                      (json_is_integer(rejected) && json_integer_value(rejected) != 0);
    enum status status = STATUS_OK;
    if (is_refused) {
        message = json_string_value(json_object_get(partial, "errorMessage"));
        status = ERR(err, STATUS_IO, "the server refused some results: %.400s",
                     message != NULL ? message : "it does not say why");
    }
    json_decref(root);
    return status;
}

static enum status flush(struct export *export, struct err *err)
{
    struct otlp *otlp = export->state;
    struct buf *out = export->place == EXPORT_TO_URL ? &otlp->request : &export->text;
    if (otlp->points_bytes == 0)
        return STATUS_OK;
    buf_reset(&otlp->request);
    write_request(export, out);
    for (size_t i = 0; i < export->fields_count; i++) {
        if (otlp->points[export->fields[i]].failed)
            return ERR(err, STATUS_NOMEM, "no memory for metrics");
        buf_reset(&otlp->points[export->fields[i]]);
    }
    otlp->points_bytes = 0;
    if (export->place != EXPORT_TO_URL) {
        buf_append_char(out, '\n');
        return export_flush(export, false, err);
    }
    const struct http_request request = {.method = "POST",
                                         .url = otlp->url.data,
                                         .content_type = "application/json",
                                         .body = out,
                                         .is_repeatable = true};
    if (out->failed)
        return ERR(err, STATUS_NOMEM, "no memory for metrics");
    TRY(http_send_ok(otlp->http, &request, &otlp->body, err));
    return check_answer(otlp, err);
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct otlp *otlp = export->state;
    uint64_t measured_ns = 0;
    char stamp[32];
    if (!clock_stamp_ns(record_string(item->record, FACT_STARTED_AT), &measured_ns)) {
        export->counts.records--;
        export->counts.unfit++;
        return STATUS_OK;
    }
    (void)snprintf(stamp, sizeof(stamp), "%" PRIu64, measured_ns);
    write_attributes(otlp, item->record);
    for (size_t i = 0; i < export->fields_count; i++) {
        struct buf *out = &otlp->points[export->fields[i]];
        size_t before = out->length_bytes;
        if (record_is_null(item->record, export->fields[i]))
            continue;
        append_point(otlp, item->record, export->fields[i], stamp, out);
        otlp->points_bytes += out->length_bytes - before;
    }
    return otlp->points_bytes >= POINTS_BYTES ? flush(export, err) : STATUS_OK;
}

static void release(struct export *export)
{
    struct otlp *otlp = export->state;
    if (otlp == NULL)
        return;
    for (size_t i = 0; i < FACTS_COUNT; i++)
        buf_release(&otlp->points[i]);
    buf_release(&otlp->attributes);
    buf_release(&otlp->request);
    buf_release(&otlp->url);
    buf_release(&otlp->body);
    http_close(otlp->http);
    free(otlp);
}

const struct exporter exporter_otlp = {
    .name = "otlp",
    .says = "OpenTelemetry metrics as JSON over HTTP (" METRICS_PATH "), or a line a request",
    .leaves_out = "fields that are no numbers, raw samples, cells that failed, records without a "
                  "time; a receiver may refuse times that are long past",
    .places = EXPORT_TO_STREAM | EXPORT_TO_URL,
    .needs = origin,
    .needs_count = ARRAY_COUNT(origin),
    .begin = begin,
    .add = add,
    .end = flush,
    .release = release,
};
