#include "export/origin.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static uint64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    return number > 0 ? (uint64_t)number : 0;
}

struct origin origin_of(const struct record *record)
{
    struct origin origin = {0};
    json_t *root = json_loads(record_string(record, FACT_ENVIRONMENT), 0, NULL);
    const json_t *cpu = json_object_get(root, "cpu");
    const char *model = json_string_value(json_object_get(cpu, "model"));
    (void)snprintf(origin.cpu, sizeof(origin.cpu), "%s", model != NULL ? model : "");
    origin.cpus_usable = number_of(cpu, "cpus_usable");
    origin.memory_bytes = number_of(json_object_get(root, "memory"), "total_bytes");
    json_decref(root);
    return origin;
}

bool origin_is_cpu(const struct record *record)
{
    return strcmp(record_string(record, FACT_DEVICE), "cpu") == 0;
}
