/* Prometheus' text format 0.0.4: for node_exporter's textfile collector, and for a Pushgateway. */
#include "export/exposition.h"
#include "export/http.h"

/* The group of metrics that is replaced, where the URL names none. */
#define GROUP_PATH    "/metrics/job/tokmark"
#define URL_BYTES_MAX 8192

/* PUT takes the place of all that the group had. */
static enum status push(struct export *export, struct err *err)
{
    struct http *http CLEANUP(http_release) = NULL;
    struct buf url CLEANUP(buf_release) = {0};
    struct buf body CLEANUP(buf_release) = {0};
    buf_init(&url, URL_BYTES_MAX);
    buf_init(&body, HTTP_BODY_BYTES_MAX);
    http_append_url(export->to, GROUP_PATH, &url);
    const struct http_request request = {.method = "PUT",
                                         .url = url.data,
                                         .content_type = "text/plain; version=0.0.4",
                                         .body = &export->text,
                                         .is_repeatable = true};
    TRY(http_open(export->timeout_ns, &http, err));
    return http_send_ok(http, &request, &body, err);
}

static enum status end(struct export *export, struct err *err)
{
    TRY(exposition_write(export, false, err));
    return export->place == EXPORT_TO_URL ? push(export, err) : STATUS_OK;
}

const struct exporter exporter_prometheus = {
    .name = "prometheus",
    .says =
        "Prometheus text 0.0.4: the textfile collector of node_exporter; a Pushgateway by its URL",
    .leaves_out =
        "runs but the newest of a cell, fields that are no numbers, raw samples; no time "
        "stamps, which these readers refuse: when a result is from is a metric of its own",
    .places = EXPORT_TO_STREAM | EXPORT_TO_URL,
    .sees_failed = true,
    .shows_failed = true,
    .needs = exposition_needs,
    .needs_count = EXPOSITION_NEEDS_COUNT,
    .begin = exposition_begin,
    .add = exposition_add,
    .end = end,
    .release = exposition_release,
};
