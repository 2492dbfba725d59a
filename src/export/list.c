/* Which exporters there are: a line each. */
#include "export/exporter.h"

extern const struct exporter exporter_prometheus, exporter_openmetrics,
    exporter_github_action_benchmark, exporter_bmf, exporter_gobench, exporter_tensorboard,
    exporter_mlflow, exporter_otlp, exporter_llama_bench, exporter_pytorch_benchmark;

const struct exporter *const exporter_list[] = {
    &exporter_prometheus,
    &exporter_openmetrics,
    &exporter_github_action_benchmark,
    &exporter_bmf,
    &exporter_gobench,
    &exporter_tensorboard,
    &exporter_mlflow,
    &exporter_otlp,
    &exporter_llama_bench,
    &exporter_pytorch_benchmark,
};
const size_t exporter_list_count = ARRAY_COUNT(exporter_list);
