/* proto/encode.c - structs to lines. What is not known is left out (docs/protocol.md). */
#include <math.h>

#include "base/json_write.h"
#include "proto/fields.h"
#include "proto/message.h"

static void put_text_if(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(writer, key, text);
}

static void put_u64_if(struct json_writer *writer, const char *key, uint64_t value, bool is_known)
{
    if (is_known)
        json_field_u64(writer, key, value);
}

static void put_double_if(struct json_writer *writer, const char *key, double value)
{
    if (isfinite(value))
        json_field_double(writer, key, value);
}

static const char *sync_name(enum proto_sync sync)
{
    return sync == PROTO_SYNC_STEP ? "step" : "block";
}

static void put_u64_array(struct json_writer *writer, const char *key, const uint64_t *values,
                          size_t values_count)
{
    json_put_key(writer, key);
    json_begin_array(writer);
    for (size_t i = 0; i < values_count; i++)
        json_put_u64(writer, values[i]);
    json_end_array(writer);
}

static void put_parts(struct json_writer *writer, const char *key,
                      const struct proto_memory_parts *parts)
{
    if (!parts->is_known)
        return;
    json_put_key(writer, key);
    json_begin_object(writer);
    json_field_u64(writer, "weights_bytes", parts->weights_bytes);
    json_field_u64(writer, "gradients_bytes", parts->gradients_bytes);
    json_field_u64(writer, "optimizer_bytes", parts->optimizer_bytes);
    json_field_u64(writer, "activations_bytes", parts->activations_bytes);
    json_field_u64(writer, "kv_cache_bytes", parts->kv_cache_bytes);
    json_field_u64(writer, "workspace_bytes", parts->workspace_bytes);
    json_field_u64(writer, "other_bytes", parts->other_bytes);
    json_field_u64(writer, "total_bytes", parts->total_bytes);
    json_end_object(writer);
}

static void begin_line(struct json_writer *writer, enum proto_type type, struct buf *out)
{
    json_writer_init(writer, out);
    json_begin_object(writer);
    json_field_string(writer, "type", proto_type_name(type));
}

static void end_line(struct json_writer *writer, struct buf *out)
{
    json_end_object(writer);
    buf_append_char(out, '\n');
}

static void put_host_hello(struct json_writer *writer, const struct proto_host_hello *hello)
{
    json_put_key(writer, "versions");
    json_begin_array(writer);
    for (uint32_t i = 0; i < hello->versions_count; i++)
        json_put_u64(writer, hello->versions[i]);
    json_end_array(writer);
    json_field_string(writer, "host", hello->host);
}

void proto_encode_host(const struct proto_host_message *message, struct buf *out)
{
    struct json_writer writer;
    begin_line(&writer, message->type, out);
    switch (message->type) {
    case PROTO_HELLO: put_host_hello(&writer, &message->as.hello); break;
    case PROTO_OPEN: cell_write(&message->as.open, &writer); break;
    case PROTO_RUN:
        json_field_u64(&writer, "steps", message->as.run.steps_count);
        json_field_string(&writer, "sync", sync_name(message->as.run.sync));
        break;
    case PROTO_CHECK:
        json_field_string(&writer, "inputs", message->as.check.inputs_path);
        json_field_string(&writer, "output", message->as.check.output_path);
        json_field_u64(&writer, "train_steps", message->as.check.train_steps);
        if (message->as.check.wants_weights)
            json_field_bool(&writer, "weights", true);
        break;
    case PROTO_VERIFY: json_field_u64(&writer, "step", message->as.verify.step); break;
    case PROTO_PROFILE:
        json_field_u64(&writer, "steps", message->as.profile.steps_count);
        json_field_string(&writer, "trace", message->as.profile.trace_path);
        break;
    case PROTO_MEMORY:
    case PROTO_CLOSE: break;
    case PROTO_READY:
    case PROTO_BLOCK:
    case PROTO_BYE:
    case PROTO_ERROR:
    case PROTO_TYPES_COUNT: UNREACHABLE("a host does not send this");
    }
    end_line(&writer, out);
}

static void put_worker_hello(struct json_writer *writer, const struct proto_worker_hello *hello)
{
    json_field_u64(writer, "version", hello->version);
    json_field_string(writer, "engine", hello->engine);
    json_field_string(writer, "engine_version", hello->engine_version);
    json_field_u64(writer, "pid", (uint64_t)hello->pid);
    json_field_bool(writer, "synthetic", hello->is_synthetic);
    if (hello->verifies)
        json_field_bool(writer, "verifies", true);
    if (hello->profiles)
        json_field_bool(writer, "profiles", true);
}

static void put_fact(struct json_writer *writer, const struct proto_field *field, const void *body)
{
    const struct fact *fact = fact_of(field->id);
    switch (fact->wire) {
    case FACT_WIRE_COUNT:
    case FACT_WIRE_COUNT_OR_NONE:
    case FACT_WIRE_NS:
    case FACT_WIRE_NS_OR_NONE:
    case FACT_WIRE_BYTES: json_field_u64(writer, fact->key, proto_field_u64(field, body)); break;
    case FACT_WIRE_NUMBER:
    case FACT_WIRE_NUMBER_OR_NONE:
        json_field_double(writer, fact->key, proto_field_double(field, body));
        break;
    case FACT_WIRE_FLAG: json_field_bool(writer, fact->key, proto_field_flag(field, body)); break;
    case FACT_WIRE_TEXT:
    case FACT_WIRE_LONG_TEXT:
        json_field_string(writer, fact->key, proto_field_text(field, body));
        break;
    case FACT_WIRE_JSON: json_field_raw(writer, fact->key, proto_field_text(field, body)); break;
    case FACT_WIRE_NONE:
    case FACT_WIRES_COUNT: UNREACHABLE("a row without a kind");
    }
}

static void put_facts(struct json_writer *writer, enum fact_giver giver, const void *body)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(giver, &count);
    for (size_t i = 0; i < count; i++) {
        if (proto_field_is_known(&fields[i], body))
            put_fact(writer, &fields[i], body);
    }
}

static void put_ready(struct json_writer *writer, const struct proto_ready *ready)
{
    put_facts(writer, FACT_GIVER_READY, ready);
    put_parts(writer, "memory_predicted", &ready->memory_predicted);
}

static void put_logits(struct json_writer *writer, const struct proto_observation *seen)
{
    if (seen->logits_count == 0)
        return;
    json_put_key(writer, "logits");
    json_begin_array(writer);
    for (uint32_t i = 0; i < seen->logits_count; i++)
        json_put_double(writer, seen->logits[i]);
    json_end_array(writer);
}

static void put_block(struct json_writer *writer, const struct proto_block *block)
{
    const struct proto_observation *seen = &block->observation;
    json_field_u64(writer, "steps", block->steps_count);
    json_field_string(writer, "sync", sync_name(block->sync));
    json_field_u64(writer, "window_ns", block->window_ns);
    if (block->sync == PROTO_SYNC_STEP)
        put_u64_array(writer, "step_ns", block->step_ns, block->steps_count);
    json_field_u64(writer, "recompiles", block->recompiles_count);
    put_facts(writer, FACT_GIVER_BLOCK, seen);
    if (seen->experts_count > 0)
        put_u64_array(writer, "expert_tokens", seen->expert_tokens, seen->experts_count);
    put_logits(writer, seen);
}

static void put_verified(struct json_writer *writer, const struct proto_verified *verified)
{
    put_facts(writer, FACT_GIVER_BLOCK, &verified->expected);
    put_logits(writer, &verified->expected);
    put_text_if(writer, "why_not", verified->why_not);
}

static void put_profiled(struct json_writer *writer, const struct proto_profiled *profiled)
{
    put_text_if(writer, "profiler", profiled->profiler);
    json_field_u64(writer, "steps", profiled->steps_count);
    json_field_u64(writer, "window_ns", profiled->window_ns);
    json_field_u64(writer, "operators_ns", profiled->operators_ns);
    json_field_u64(writer, "names", profiled->names_count);
    put_u64_if(writer, "exchange_ns", profiled->exchange_ns, profiled->has_exchange);
    put_u64_if(writer, "exchange_alone_ns", profiled->exchange_alone_ns, profiled->has_exchange);
    json_put_key(writer, "operators");
    json_begin_array(writer);
    for (uint32_t i = 0; i < profiled->operators_count; i++) {
        const struct proto_operator *one = &profiled->operators[i];
        json_begin_object(writer);
        json_field_string(writer, "name", one->name);
        json_field_u64(writer, "calls", one->calls_count);
        json_field_u64(writer, "self_ns", one->self_ns);
        put_double_if(writer, "flops", one->flops);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_memory(struct json_writer *writer, const struct proto_memory *memory)
{
    put_parts(writer, "parts", &memory->parts);
    put_facts(writer, FACT_GIVER_MEMORY, memory);
    put_u64_if(writer, "rss_bytes", memory->rss_bytes, memory->has_rss);
    put_u64_if(writer, "rss_baseline_bytes", memory->rss_baseline_bytes, memory->has_rss);
    put_u64_if(writer, "rss_peak_bytes", memory->rss_peak_bytes, memory->has_rss);
}

static void put_error(struct json_writer *writer, const struct proto_error *error)
{
    json_field_string(writer, "kind", proto_error_kind_name(error->kind));
    json_field_string(writer, "text", error->text);
    put_u64_if(writer, "needed_bytes", error->needed_bytes, error->has_bytes);
    put_u64_if(writer, "available_bytes", error->available_bytes, error->has_bytes);
    put_text_if(writer, "scope", error->scope);
}

void proto_encode_worker(const struct proto_worker_message *message, struct buf *out)
{
    struct json_writer writer;
    begin_line(&writer, message->type, out);
    switch (message->type) {
    case PROTO_HELLO: put_worker_hello(&writer, &message->as.hello); break;
    case PROTO_READY: put_ready(&writer, &message->as.ready); break;
    case PROTO_BLOCK: put_block(&writer, &message->as.block); break;
    case PROTO_MEMORY: put_memory(&writer, &message->as.memory); break;
    case PROTO_CHECK:
        put_double_if(&writer, "loss", message->as.check.loss);
        json_field_u64(&writer, "tensors", message->as.check.tensors_count);
        break;
    case PROTO_VERIFY: put_verified(&writer, &message->as.verify); break;
    case PROTO_PROFILE: put_profiled(&writer, &message->as.profile); break;
    case PROTO_BYE: break;
    case PROTO_ERROR: put_error(&writer, &message->as.error); break;
    case PROTO_OPEN:
    case PROTO_RUN:
    case PROTO_CLOSE:
    case PROTO_TYPES_COUNT: UNREACHABLE("a worker does not send this");
    }
    end_line(&writer, out);
}
