/* OpenMetrics 1.0: as Prometheus reads it over HTTP, and promtool for samples of the past. */
#include "export/exposition.h"

static enum status end(struct export *export, struct err *err)
{
    return exposition_write(export, true, err);
}

const struct exporter exporter_openmetrics = {
    .name = "openmetrics",
    .says = "OpenMetrics 1.0 with the time of each measurement: scrapers, `promtool tsdb "
            "create-blocks-from openmetrics`",
    .leaves_out = "runs but the newest of a cell, fields that are no numbers, raw samples",
    .places = EXPORT_TO_STREAM,
    .sees_failed = true,
    .shows_failed = true,
    .needs = exposition_needs,
    .needs_count = EXPOSITION_NEEDS_COUNT,
    .begin = exposition_begin,
    .add = exposition_add,
    .end = end,
    .release = exposition_release,
};
