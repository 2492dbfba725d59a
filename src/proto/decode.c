/* proto/decode.c - lines to structs. Strict about types and ranges, because the peer may be any
 * program; blind to keys it does not know, so that a later minor change breaks nobody. */
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_dump.h"
#include "proto/fields.h"
#include "proto/message.h"

#define QUOTED_BYTES 96 /* how much of a bad line an error quotes */
#define BYTES_MAX    (1ULL << 60)
#define COUNT_MAX    (1ULL << 60)

/* One line being taken apart. The first error is kept; later reads do nothing. All borrowed for the
 * call. */
struct fields {
    const json_t *object; /* borrowed */
    const char *message;  /* borrowed: "block" */
    const char *line;     /* borrowed */
    size_t line_bytes;
    enum status status;
    struct err *err;
};

/* Start of the line with everything that is not plain ASCII made visible as '.'. */
static void quote_line(const char *line, size_t line_bytes, char quoted[QUOTED_BYTES])
{
    size_t count = line_bytes < QUOTED_BYTES - 4 ? line_bytes : QUOTED_BYTES - 4;
    for (size_t i = 0; i < count; i++)
        quoted[i] = isprint((unsigned char)line[i]) ? line[i] : '.';
    memcpy(quoted + count, count < line_bytes ? "..." : "", count < line_bytes ? 4 : 1);
}

static void fail(struct fields *fields, const char *key, const char *must)
{
    if (fields->status != STATUS_OK)
        return;
    char quoted[QUOTED_BYTES];
    quote_line(fields->line, fields->line_bytes, quoted);
    fields->status = ERR(fields->err, STATUS_PROTOCOL, "message '%s': '%s' %s: %s", fields->message,
                         key, must, quoted);
}

/* NULL when absent; null on the wire is the same as absent. */
static const json_t *get(const struct fields *fields, const char *key)
{
    const json_t *value = json_object_get(fields->object, key);
    return json_is_null(value) ? NULL : value;
}

/* Whole number in [min, max]; false (and failed) otherwise. */
static bool read_u64(struct fields *fields, const char *key, const json_t *value, uint64_t min,
                     uint64_t max, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) < min || (uint64_t)json_integer_value(value) > max) {
        char must[96];
        (void)snprintf(must, sizeof(must), "must be a whole number from %" PRIu64 " to %" PRIu64,
                       min, max);
        fail(fields, key, must);
        return false;
    }
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static uint64_t need_u64(struct fields *fields, const char *key, uint64_t min, uint64_t max)
{
    uint64_t number = 0;
    const json_t *value = get(fields, key);
    if (value == NULL)
        fail(fields, key, "is missing");
    else
        (void)read_u64(fields, key, value, min, max, &number);
    return number;
}

/* False and 0 when absent. */
static bool may_u64(struct fields *fields, const char *key, uint64_t max, uint64_t *ret)
{
    const json_t *value = get(fields, key);
    return value != NULL && read_u64(fields, key, value, 0, max, ret);
}

/* NaN when absent. */
static double may_double(struct fields *fields, const char *key)
{
    const json_t *value = get(fields, key);
    if (value == NULL)
        return NAN;
    if (!json_is_number(value))
        fail(fields, key, "must be a number");
    return json_number_value(value);
}

static bool may_bool(struct fields *fields, const char *key, bool *ret)
{
    const json_t *value = get(fields, key);
    if (value == NULL)
        return false;
    if (!json_is_boolean(value))
        fail(fields, key, "must be true or false");
    *ret = json_is_true(value);
    return true;
}

/* Copies at most `size - 1` bytes, not cutting through a character. */
static void copy_cut(char *to, size_t size, const char *text, size_t text_bytes)
{
    size_t bytes = text_bytes < size ? text_bytes : size - 1;
    while (bytes < text_bytes && bytes > 0 && ((unsigned char)text[bytes] & 0xC0) == 0x80)
        bytes--;
    memcpy(to, text, bytes);
    to[bytes] = '\0';
}

enum text_rule { TEXT_FITS, TEXT_MAY_BE_CUT };

/* False and "" when absent. */
static bool may_text(struct fields *fields, const char *key, char *to, size_t size,
                     enum text_rule rule)
{
    const json_t *value = get(fields, key);
    to[0] = '\0';
    if (value == NULL)
        return false;
    if (!json_is_string(value)) {
        fail(fields, key, "must be a string");
        return false;
    }
    if (rule == TEXT_FITS && json_string_length(value) >= size) {
        char must[64];
        (void)snprintf(must, sizeof(must), "must be shorter than %zu bytes", size);
        fail(fields, key, must);
        return false;
    }
    copy_cut(to, size, json_string_value(value), json_string_length(value));
    return true;
}

static void need_text(struct fields *fields, const char *key, char *to, size_t size)
{
    if (!may_text(fields, key, to, size, TEXT_FITS) || to[0] == '\0')
        fail(fields, key, "must be a string that is not empty");
}

static enum proto_sync need_sync(struct fields *fields)
{
    char word[PROTO_WORD_BYTES];
    need_text(fields, "sync", word, sizeof(word));
    if (strcmp(word, "step") == 0)
        return PROTO_SYNC_STEP;
    if (strcmp(word, "block") != 0)
        fail(fields, "sync", "must be \"step\" or \"block\"");
    return PROTO_SYNC_BLOCK;
}

static void read_parts(struct fields *fields, const char *key, struct proto_memory_parts *parts)
{
    const json_t *object = get(fields, key);
    if (object == NULL)
        return;
    if (!json_is_object(object)) {
        fail(fields, key, "must be an object");
        return;
    }
    struct fields inner = *fields;
    inner.object = object;
    parts->is_known = true;
    (void)may_u64(&inner, "weights_bytes", BYTES_MAX, &parts->weights_bytes);
    (void)may_u64(&inner, "gradients_bytes", BYTES_MAX, &parts->gradients_bytes);
    (void)may_u64(&inner, "optimizer_bytes", BYTES_MAX, &parts->optimizer_bytes);
    (void)may_u64(&inner, "activations_bytes", BYTES_MAX, &parts->activations_bytes);
    (void)may_u64(&inner, "kv_cache_bytes", BYTES_MAX, &parts->kv_cache_bytes);
    (void)may_u64(&inner, "workspace_bytes", BYTES_MAX, &parts->workspace_bytes);
    (void)may_u64(&inner, "other_bytes", BYTES_MAX, &parts->other_bytes);
    parts->total_bytes = need_u64(&inner, "total_bytes", 0, BYTES_MAX);
    fields->status = inner.status;
}

static void read_host_hello(struct fields *fields, struct proto_host_hello *hello)
{
    const json_t *versions = get(fields, "versions");
    size_t count = json_array_size(versions); /* 0 for what is no array */
    if (count < 1 || count > ARRAY_COUNT(hello->versions)) {
        fail(fields, "versions", "must be a list of 1 to 8 whole numbers");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t version = 0;
        (void)read_u64(fields, "versions", json_array_get(versions, i), 1, UINT32_MAX, &version);
        hello->versions[i] = (uint32_t)version;
    }
    hello->versions_count = (uint32_t)count;
    (void)may_text(fields, "host", hello->host, sizeof(hello->host), TEXT_MAY_BE_CUT);
}

static void read_open(struct fields *fields, struct cell *cell)
{
    struct err why = {0};
    if (cell_read(fields->object, cell, &why) != STATUS_OK)
        fields->status = ERR(fields->err, STATUS_PROTOCOL, "message 'open': %s", why.text);
}

static void read_check(struct fields *fields, struct proto_check *check)
{
    need_text(fields, "inputs", check->inputs_path, sizeof(check->inputs_path));
    need_text(fields, "output", check->output_path, sizeof(check->output_path));
    uint64_t train_steps = 0;
    (void)may_u64(fields, "train_steps", 1000000, &train_steps);
    check->train_steps = (uint32_t)train_steps;
    (void)may_bool(fields, "weights", &check->wants_weights);
}

static void read_host_body(struct fields *fields, struct proto_host_message *message)
{
    switch (message->type) {
    case PROTO_HELLO: read_host_hello(fields, &message->as.hello); break;
    case PROTO_OPEN: read_open(fields, &message->as.open); break;
    case PROTO_RUN:
        message->as.run.steps_count = (uint32_t)need_u64(fields, "steps", 1, PROTO_BLOCK_STEPS_MAX);
        message->as.run.sync = need_sync(fields);
        break;
    case PROTO_CHECK: read_check(fields, &message->as.check); break;
    case PROTO_VERIFY: message->as.verify.step = need_u64(fields, "step", 0, COUNT_MAX); break;
    case PROTO_PROFILE:
        message->as.profile.steps_count =
            (uint32_t)need_u64(fields, "steps", 1, PROTO_PROFILE_STEPS_MAX);
        need_text(fields, "trace", message->as.profile.trace_path,
                  sizeof(message->as.profile.trace_path));
        break;
    case PROTO_MEMORY:
    case PROTO_CLOSE: break;
    case PROTO_READY:
    case PROTO_BLOCK:
    case PROTO_BYE:
    case PROTO_ERROR:
    case PROTO_TYPES_COUNT: fail(fields, "type", "is not sent by a host");
    }
}

static void read_worker_hello(struct fields *fields, struct proto_worker_hello *hello)
{
    hello->version = (uint32_t)need_u64(fields, "version", 1, UINT32_MAX);
    need_text(fields, "engine", hello->engine, sizeof(hello->engine));
    (void)may_text(fields, "engine_version", hello->engine_version, sizeof(hello->engine_version),
                   TEXT_FITS);
    hello->pid = (int64_t)need_u64(fields, "pid", 1, INT32_MAX);
    (void)may_bool(fields, "synthetic", &hello->is_synthetic);
    (void)may_bool(fields, "verifies", &hello->verifies);
    (void)may_bool(fields, "profiles", &hello->profiles);
}

/* An object or a list, as compact text that the caller owns; NULL when absent. */
static char *may_json(struct fields *fields, const char *key)
{
    const json_t *value = get(fields, key);
    if (value == NULL)
        return NULL;
    if (!json_is_object(value) && !json_is_array(value)) {
        fail(fields, key, "must be an object or a list");
        return NULL;
    }
    struct buf text;
    struct json_writer writer;
    buf_init(&text, PROTO_JSON_BYTES);
    json_writer_init(&writer, &text);
    char *owned = NULL;
    if (!json_dump_value(value, &writer) || text.failed)
        fail(fields, key, "is too long or too deep: at most 64 KiB of text and 15 levels");
    else if ((owned = strdup(text.data)) == NULL && fields->status == STATUS_OK)
        fields->status = ERR(fields->err, STATUS_NOMEM, "no memory for '%s'", key);
    buf_release(&text);
    return owned;
}

static void read_fact(struct fields *fields, const struct proto_field *field, void *body)
{
    const struct fact *fact = fact_of(field->id);
    void *to = (char *)body + field->offset;
    bool is_there = false;
    switch (fact->wire) {
    case FACT_WIRE_COUNT:
    case FACT_WIRE_COUNT_OR_NONE: is_there = may_u64(fields, fact->key, COUNT_MAX, to); break;
    case FACT_WIRE_NS:
    case FACT_WIRE_NS_OR_NONE: is_there = may_u64(fields, fact->key, PROTO_NS_MAX, to); break;
    case FACT_WIRE_BYTES: is_there = may_u64(fields, fact->key, BYTES_MAX, to); break;
    case FACT_WIRE_NUMBER:
    case FACT_WIRE_NUMBER_OR_NONE: *(double *)to = may_double(fields, fact->key); break;
    case FACT_WIRE_FLAG: is_there = may_bool(fields, fact->key, to); break;
    case FACT_WIRE_TEXT: (void)may_text(fields, fact->key, to, PROTO_WORD_BYTES, TEXT_FITS); break;
    case FACT_WIRE_LONG_TEXT:
        (void)may_text(fields, fact->key, to, PROTO_TEXT_BYTES, TEXT_MAY_BE_CUT);
        break;
    case FACT_WIRE_JSON: *(char **)to = may_json(fields, fact->key); break;
    case FACT_WIRE_NONE:
    case FACT_WIRES_COUNT: UNREACHABLE("a row without a kind");
    }
    if (field->has_offset != SIZE_MAX)
        *(bool *)((char *)body + field->has_offset) = is_there;
}

/* All that the table of facts says this reply may give. */
static void read_facts(struct fields *fields, enum fact_giver giver, void *body)
{
    size_t count = 0;
    const struct proto_field *table = proto_fields_of(giver, &count);
    for (size_t i = 0; i < count; i++)
        read_fact(fields, &table[i], body);
}

static void read_ready(struct fields *fields, struct proto_ready *ready)
{
    read_facts(fields, FACT_GIVER_READY, ready);
    read_parts(fields, "memory_predicted", &ready->memory_predicted);
}

/* step_ns: exactly steps_count durations that together are no longer than the window. */
static void read_step_ns(struct fields *fields, struct proto_block *block)
{
    const json_t *array = get(fields, "step_ns");
    if (block->sync == PROTO_SYNC_BLOCK) {
        if (array != NULL)
            fail(fields, "step_ns", "must be left out of a block with \"sync\": \"block\"");
        return;
    }
    if (json_array_size(array) != block->steps_count) {
        fail(fields, "step_ns", "must be a list of exactly `steps` whole numbers");
        return;
    }
    if (fields->status != STATUS_OK)
        return; /* steps_count may be out of range then */
    block->step_ns = calloc(block->steps_count, sizeof(*block->step_ns));
    if (block->step_ns == NULL) {
        fields->status = ERR(fields->err, STATUS_NOMEM, "no memory for a block");
        return;
    }
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < block->steps_count; i++) {
        if (!read_u64(fields, "step_ns", json_array_get(array, i), 0, PROTO_NS_MAX,
                      &block->step_ns[i]))
            return;
        sum_ns += block->step_ns[i];
    }
    if (sum_ns > block->window_ns)
        fail(fields, "step_ns", "adds up to more than `window_ns`");
}

static void read_expert_tokens(struct fields *fields, struct proto_observation *seen)
{
    const json_t *array = get(fields, "expert_tokens");
    if (array == NULL)
        return;
    size_t count = json_array_size(array);
    if (count < 1 || count > PROTO_EXPERTS_MAX) {
        fail(fields, "expert_tokens", "must be a list of 1 to 64 whole numbers");
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (!read_u64(fields, "expert_tokens", json_array_get(array, i), 0, COUNT_MAX,
                      &seen->expert_tokens[i]))
            return;
    seen->experts_count = (uint32_t)count;
}

/* A number that is none, such as a NaN, which JSON has not, is null. */
static void read_logits(struct fields *fields, struct proto_observation *seen)
{
    const json_t *array = get(fields, "logits");
    if (array == NULL)
        return;
    if (json_array_size(array) != PROTO_LOGITS) {
        fail(fields, "logits", "must be a list of 32 numbers");
        return;
    }
    for (size_t i = 0; i < PROTO_LOGITS; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value) && !json_is_null(value))
            fail(fields, "logits", "must be a list of 32 numbers");
        seen->logits[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    seen->logits_count = PROTO_LOGITS;
}

static void read_block(struct fields *fields, struct proto_block *block)
{
    struct proto_observation *seen = &block->observation;
    block->steps_count = (uint32_t)need_u64(fields, "steps", 1, PROTO_BLOCK_STEPS_MAX);
    block->sync = need_sync(fields);
    block->window_ns = need_u64(fields, "window_ns", 0, PROTO_NS_MAX);
    uint64_t recompiles = 0;
    (void)may_u64(fields, "recompiles", UINT32_MAX, &recompiles);
    block->recompiles_count = (uint32_t)recompiles;
    read_facts(fields, FACT_GIVER_BLOCK, seen);
    read_expert_tokens(fields, seen);
    read_logits(fields, seen);
    read_step_ns(fields, block);
}

static void read_verified(struct fields *fields, struct proto_verified *verified)
{
    proto_observation_init(&verified->expected);
    read_facts(fields, FACT_GIVER_BLOCK, &verified->expected);
    read_logits(fields, &verified->expected);
    (void)may_text(fields, "why_not", verified->why_not, sizeof(verified->why_not),
                   TEXT_MAY_BE_CUT);
}

static void read_operator(struct fields *fields, const json_t *object, struct proto_operator *one)
{
    struct fields inner = *fields;
    inner.object = object;
    (void)may_text(&inner, "name", one->name, sizeof(one->name), TEXT_MAY_BE_CUT);
    if (one->name[0] == '\0')
        fail(&inner, "name", "must be a string that is not empty");
    one->calls_count = need_u64(&inner, "calls", 1, COUNT_MAX);
    one->self_ns = need_u64(&inner, "self_ns", 0, PROTO_NS_MAX);
    one->flops = may_double(&inner, "flops");
    fields->status = inner.status;
}

static void read_profiled(struct fields *fields, struct proto_profiled *profiled)
{
    (void)may_text(fields, "profiler", profiled->profiler, sizeof(profiled->profiler),
                   TEXT_MAY_BE_CUT);
    profiled->steps_count = (uint32_t)need_u64(fields, "steps", 1, PROTO_PROFILE_STEPS_MAX);
    profiled->window_ns = need_u64(fields, "window_ns", 0, PROTO_NS_MAX);
    profiled->operators_ns = need_u64(fields, "operators_ns", 0, PROTO_NS_MAX);
    profiled->names_count = need_u64(fields, "names", 0, COUNT_MAX);
    profiled->has_exchange = may_u64(fields, "exchange_ns", PROTO_NS_MAX, &profiled->exchange_ns);
    if (profiled->has_exchange)
        profiled->exchange_alone_ns =
            need_u64(fields, "exchange_alone_ns", 0, profiled->exchange_ns);
    const json_t *array = get(fields, "operators");
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > PROTO_OPERATORS_MAX) {
        fail(fields, "operators", "must be a list of at most 64 objects");
        return;
    }
    for (size_t i = 0; i < count; i++)
        read_operator(fields, json_array_get(array, i), &profiled->operators[i]);
    profiled->operators_count = (uint32_t)count;
}

static void read_memory(struct fields *fields, struct proto_memory *memory)
{
    read_parts(fields, "parts", &memory->parts);
    read_facts(fields, FACT_GIVER_MEMORY, memory);
    if (memory->has_device_used_bytes && !memory->has_device_total_bytes)
        fail(fields, "device_total_bytes", "is missing");
    memory->has_device_total_bytes = memory->has_device_used_bytes;
    memory->has_rss = may_u64(fields, "rss_bytes", BYTES_MAX, &memory->rss_bytes);
    if (memory->has_rss) {
        memory->rss_baseline_bytes = need_u64(fields, "rss_baseline_bytes", 0, BYTES_MAX);
        memory->rss_peak_bytes = need_u64(fields, "rss_peak_bytes", 0, BYTES_MAX);
    }
}

static void read_error(struct fields *fields, struct proto_error *error)
{
    char kind[PROTO_WORD_BYTES];
    need_text(fields, "kind", kind, sizeof(kind));
    error->kind = PROTO_ERROR_KINDS_COUNT;
    for (int i = 0; i < PROTO_ERROR_KINDS_COUNT; i++)
        if (strcmp(kind, proto_error_kind_name((enum proto_error_kind)i)) == 0)
            error->kind = (enum proto_error_kind)i;
    if (error->kind == PROTO_ERROR_KINDS_COUNT)
        fail(fields, "kind", "must be oom, unsupported, model or internal");
    (void)may_text(fields, "text", error->text, sizeof(error->text), TEXT_MAY_BE_CUT);
    bool has_needed = may_u64(fields, "needed_bytes", BYTES_MAX, &error->needed_bytes);
    bool has_available = may_u64(fields, "available_bytes", BYTES_MAX, &error->available_bytes);
    error->has_bytes = has_needed && has_available;
    (void)may_text(fields, "scope", error->scope, sizeof(error->scope), TEXT_FITS);
}

static void read_worker_body(struct fields *fields, struct proto_worker_message *message)
{
    switch (message->type) {
    case PROTO_HELLO: read_worker_hello(fields, &message->as.hello); break;
    case PROTO_READY: read_ready(fields, &message->as.ready); break;
    case PROTO_BLOCK: read_block(fields, &message->as.block); break;
    case PROTO_MEMORY: read_memory(fields, &message->as.memory); break;
    case PROTO_CHECK:
        message->as.check.loss = may_double(fields, "loss");
        message->as.check.tensors_count = need_u64(fields, "tensors", 0, COUNT_MAX);
        break;
    case PROTO_VERIFY: read_verified(fields, &message->as.verify); break;
    case PROTO_PROFILE: read_profiled(fields, &message->as.profile); break;
    case PROTO_BYE: break;
    case PROTO_ERROR: read_error(fields, &message->as.error); break;
    case PROTO_OPEN:
    case PROTO_RUN:
    case PROTO_CLOSE:
    case PROTO_TYPES_COUNT: fail(fields, "type", "is not sent by a worker");
    }
}

/* Parses the line and finds its type. *ret_object is the caller's to json_decref. */
static enum status begin_fields(const char *line, size_t line_bytes, struct fields *fields,
                                json_t **ret_object, enum proto_type *ret_type, struct err *err)
{
    char quoted[QUOTED_BYTES];
    quote_line(line, line_bytes, quoted);
    if (line_bytes > PROTO_LINE_BYTES_MAX)
        return ERR(err, STATUS_PROTOCOL, "a line of %zu bytes; the limit is %d: %s", line_bytes,
                   PROTO_LINE_BYTES_MAX, quoted);
    json_error_t why;
    json_t *object = json_loadb(line, line_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(object)) {
        json_decref(object);
        return ERR(err, STATUS_PROTOCOL, "a line that is no JSON object%s%s: %s",
                   object == NULL ? ": " : "", object == NULL ? why.text : "", quoted);
    }
    const char *name = json_string_value(json_object_get(object, "type"));
    int type = 0;
    while (name != NULL && type < PROTO_TYPES_COUNT &&
           strcmp(name, proto_type_name((enum proto_type)type)) != 0)
        type++;
    if (name == NULL || type == PROTO_TYPES_COUNT) {
        json_decref(object);
        return ERR(err, STATUS_PROTOCOL, "a message %s: %s",
                   name == NULL ? "without a type" : "of an unknown type", quoted);
    }
    *fields = (struct fields){.object = object,
                              .message = proto_type_name((enum proto_type)type),
                              .line = line,
                              .line_bytes = line_bytes,
                              .err = err};
    *ret_object = object;
    *ret_type = (enum proto_type)type;
    return STATUS_OK;
}

enum status proto_decode_host(const char *line, size_t line_bytes,
                              struct proto_host_message *ret_message, struct err *err)
{
    struct fields fields = {0};
    json_t *object = NULL;
    struct proto_host_message message;
    memset(&message, 0, sizeof(message));
    enum status status = begin_fields(line, line_bytes, &fields, &object, &message.type, err);
    if (status != STATUS_OK)
        return status;
    read_host_body(&fields, &message);
    json_decref(object);
    if (fields.status == STATUS_OK)
        *ret_message = message;
    return fields.status;
}

enum status proto_decode_worker(const char *line, size_t line_bytes,
                                struct proto_worker_message *ret_message, struct err *err)
{
    struct fields fields = {0};
    json_t *object = NULL;
    struct proto_worker_message message;
    memset(&message, 0, sizeof(message));
    enum status status = begin_fields(line, line_bytes, &fields, &object, &message.type, err);
    if (status != STATUS_OK)
        return status;
    read_worker_body(&fields, &message);
    json_decref(object);
    if (fields.status == STATUS_OK)
        *ret_message = message;
    else
        proto_worker_message_release(&message);
    return fields.status;
}
