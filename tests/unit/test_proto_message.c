#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/message.h"
#include "small_model.h"

/* Lines are written by hand here, from docs/protocol.md; encoders are read back with jansson. */

static enum status decode_worker(const char *line, struct proto_worker_message *message,
                                 struct err *err)
{
    return proto_decode_worker(line, strlen(line), message, err);
}

static json_t *parse(const struct buf *line)
{
    cr_assert(!line->failed);
    cr_assert_eq(line->data[line->length_bytes - 1], '\n');
    cr_assert_eq(memchr(line->data, '\n', line->length_bytes - 1), NULL, "one line");
    json_t *object = json_loadb(line->data, line->length_bytes, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(json_is_object(object), "%s", line->data);
    return object;
}

static long long number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "%s", key);
    return json_integer_value(value);
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    cr_assert_not_null(value, "%s", key);
    return value;
}

Test(proto_message, worker_messages_are_read_from_hand_written_lines)
{
    struct err err = {0};
    struct proto_worker_message m;
    cr_assert_eq(decode_worker("{\"type\":\"hello\",\"version\":1,\"engine\":\"x\",\"pid\":77,"
                               "\"engine_version\":\"2.0\",\"synthetic\":true,\"later\":{\"a\":1}}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(m.type, PROTO_HELLO);
    cr_assert_eq(m.as.hello.version, 1);
    cr_assert_eq(m.as.hello.pid, 77);
    cr_assert(m.as.hello.is_synthetic);
    cr_assert_str_eq(m.as.hello.engine_version, "2.0");

    cr_assert_eq(decode_worker("{\"type\":\"block\",\"steps\":3,\"sync\":\"step\",\"window_ns\":60,"
                               "\"step_ns\":[10,20,30],\"loss\":2,\"grad_norm\":null,"
                               "\"expert_tokens\":[4,5],\"nonfinite\":0,\"recompiles\":1}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(m.as.block.step_ns[2], 30);
    cr_assert_eq(m.as.block.recompiles_count, 1);
    cr_assert_eq(m.as.block.observation.loss, 2.0);
    cr_assert(isnan(m.as.block.observation.grad_norm), "null is unknown");
    cr_assert(m.as.block.observation.has_nonfinite);
    cr_assert_eq(m.as.block.observation.experts_count, 2);
    cr_assert_eq(m.as.block.observation.expert_tokens[1], 5);
    cr_assert(!m.as.block.observation.has_device_ns);
    proto_worker_message_release(&m);

    cr_assert_eq(decode_worker("{\"type\":\"block\",\"steps\":9,\"sync\":\"block\","
                               "\"window_ns\":60,\"device_ns\":50}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_null(m.as.block.step_ns);
    cr_assert_eq(m.as.block.observation.device_ns, 50);
    cr_assert(isnan(m.as.block.observation.loss));
    proto_worker_message_release(&m);

    cr_assert_eq(decode_worker("{\"type\":\"ready\",\"trace_ns\":5,\"compile_ns\":7,"
                               "\"compiler_flops\":1.5e9}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(m.as.ready.trace_ns, 5);
    cr_assert_eq(m.as.ready.compile_ns, 7);
    cr_assert_eq(m.as.ready.compiler_flops, 1.5e9);
    cr_assert_eq(decode_worker("{\"type\":\"ready\"}", &m, &err), STATUS_OK, "%s", err.text);
    cr_assert(isnan(m.as.ready.compiler_flops), "not known is not 0");

    cr_assert_eq(decode_worker("{\"type\":\"memory\",\"parts\":{\"weights_bytes\":5,"
                               "\"total_bytes\":9},\"rss_bytes\":3,\"rss_baseline_bytes\":1,"
                               "\"rss_peak_bytes\":4,\"device_used_bytes\":6,"
                               "\"device_total_bytes\":8}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert(m.as.memory.parts.is_known && !m.as.memory.has_allocated_bytes);
    cr_assert(m.as.memory.has_device_used_bytes);
    cr_assert_eq(m.as.memory.device_used_bytes, 6);
    cr_assert_eq(m.as.memory.device_total_bytes, 8);
    cr_assert_eq(m.as.memory.parts.total_bytes, 9);
    cr_assert_eq(m.as.memory.rss_peak_bytes, 4);

    cr_assert_eq(decode_worker("{\"type\":\"error\",\"kind\":\"oom\",\"text\":\"no\","
                               "\"needed_bytes\":7,\"available_bytes\":0,\"scope\":\"device\"}",
                               &m, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(m.as.error.kind, PROTO_ERROR_OOM);
    cr_assert(m.as.error.has_bytes);
    cr_assert_eq(m.as.error.needed_bytes, 7);
    cr_assert_str_eq(m.as.error.scope, "device");
}

Test(proto_message, what_breaks_a_rule_is_refused_with_the_rule)
{
    static const struct {
        const char *line;
        const char *says;
    } bad[] = {
        {"", "no JSON object"},
        {"null", "no JSON object"},
        {"[1]", "no JSON object"},
        {"{\"type\":\"bye\"", "no JSON object"},
        {"{\"type\":\"bye\"} x", "no JSON object"},
        {"{\"type\":\"bye\",\"type\":\"bye\"}", "no JSON object"},
        {"{\"steps\":1}", "without a type"},
        {"{\"type\":7}", "without a type"},
        {"{\"type\":\"hug\"}", "unknown type"},
        {"{\"type\":\"run\",\"steps\":1,\"sync\":\"step\"}", "not sent by a worker"},
        {"{\"type\":\"hello\",\"engine\":\"x\",\"pid\":1}", "'version' is missing"},
        {"{\"type\":\"hello\",\"version\":1.0,\"engine\":\"x\",\"pid\":1}", "'version' must be"},
        {"{\"type\":\"hello\",\"version\":\"1\",\"engine\":\"x\",\"pid\":1}", "'version' must be"},
        {"{\"type\":\"hello\",\"version\":1,\"engine\":\"\",\"pid\":1}", "'engine' must be"},
        {"{\"type\":\"hello\",\"version\":1,\"engine\":\"x\",\"pid\":0}", "'pid' must be"},
        {"{\"type\":\"hello\",\"version\":1,\"engine\":\"x\",\"pid\":1,\"synthetic\":1}",
         "'synthetic' must be"},
        {"{\"type\":\"ready\",\"load_ns\":-1}", "'load_ns' must be"},
        {"{\"type\":\"ready\",\"load_ns\":1.5}", "'load_ns' must be"},
        {"{\"type\":\"ready\",\"load_ns\":99999999999999999999}", "no JSON object"},
        {"{\"type\":\"ready\",\"notes\":[]}", "'notes' must be"},
        {"{\"type\":\"ready\",\"memory_predicted\":{\"weights_bytes\":1}}",
         "'total_bytes' is missing"},
        {"{\"type\":\"ready\",\"memory_predicted\":3}", "'memory_predicted' must be"},
        {"{\"type\":\"block\",\"steps\":0,\"sync\":\"step\",\"window_ns\":1,\"step_ns\":[]}",
         "'steps' must be"},
        {"{\"type\":\"block\",\"steps\":10001,\"sync\":\"block\",\"window_ns\":1}",
         "'steps' must be"},
        {"{\"type\":\"block\",\"steps\":2,\"sync\":\"step\",\"window_ns\":9,\"step_ns\":[1]}",
         "exactly"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"step\",\"window_ns\":9,\"step_ns\":[1,2]}",
         "exactly"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"step\",\"window_ns\":9}", "exactly"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"step\",\"window_ns\":9,\"step_ns\":[-1]}",
         "'step_ns' must be"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"step\",\"window_ns\":9,\"step_ns\":[1.0]}",
         "'step_ns' must be"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"step\",\"window_ns\":9,\"step_ns\":[10]}",
         "more than `window_ns`"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":9,\"step_ns\":[1]}",
         "must be left out"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"both\",\"window_ns\":9}", "'sync' must be"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"block\"}", "'window_ns' is missing"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":1000000000000001}",
         "'window_ns' must be"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":1,\"loss\":\"2\"}",
         "'loss' must be"},
        {"{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":1,"
         "\"expert_tokens\":[1,true]}",
         "'expert_tokens' must be"},
        {"{\"type\":\"memory\",\"rss_bytes\":1}", "'rss_baseline_bytes' is missing"},
        {"{\"type\":\"error\",\"kind\":\"bad\"}", "'kind' must be"},
        {"{\"type\":\"check\"}", "'tensors' is missing"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = {0};
        struct proto_worker_message message = {.type = PROTO_BYE};
        cr_expect_eq(decode_worker(bad[i].line, &message, &err), STATUS_PROTOCOL, "%s",
                     bad[i].line);
        cr_expect(strstr(err.text, bad[i].says) != NULL, "%s -> %s", bad[i].line, err.text);
        cr_expect_eq(message.type, PROTO_BYE, "output untouched");
    }
}

Test(proto_message, a_nul_and_control_bytes_never_reach_the_error_text)
{
    const char line[] = "{\"type\":\"bye\"\0\x1b[31m\xff}";
    struct err err = {0};
    struct proto_worker_message message;
    cr_assert_eq(proto_decode_worker(line, sizeof(line) - 1, &message, &err), STATUS_PROTOCOL);
    for (const char *c = err.text; *c != '\0'; c++)
        cr_assert(*c >= 0x20 && *c < 0x7F, "%s", err.text);
    cr_assert(strstr(err.text, "bye") != NULL);
}

/* The line's start is quoted: 92 characters, or all of it, and what is not plain text as dots. */
Test(proto_message, an_error_quotes_the_line)
{
    static const char *const lines[] = {
        "{\"type\":\"memory\",\"rss_bytes\":-1,\"a\":\"\xc3\xa4\"}",
        "{\"type\":\"memory\",\"rss_bytes\":-1,\"a\":\"1234567890123456789012345678901234567"
        "8901234567890\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        struct err err = {0};
        struct proto_worker_message message;
        char wanted[160];
        size_t bytes = strlen(lines[i]);
        (void)snprintf(wanted, sizeof(wanted), ": %.92s%s", lines[i], bytes > 92 ? "..." : "");
        for (char *c = wanted; *c != '\0'; c++)
            *c = (unsigned char)*c < 0x80 ? *c : '.';
        cr_assert_eq(decode_worker(lines[i], &message, &err), STATUS_PROTOCOL);
        cr_assert_geq(strlen(err.text), strlen(wanted));
        cr_expect_str_eq(err.text + strlen(err.text) - strlen(wanted), wanted);
    }
}

Test(proto_message, long_texts_are_cut_at_a_character_and_long_words_refused)
{
    struct buf line;
    buf_init(&line, 1 << 16);
    buf_append_text(&line, "{\"type\":\"error\",\"kind\":\"model\",\"text\":\"x");
    for (int i = 0; i < 2000; i++)
        buf_append_text(&line, "\xc3\xa9");
    buf_append_text(&line, "\"}");
    struct err err = {0};
    struct proto_worker_message message;
    cr_assert_eq(decode_worker(line.data, &message, &err), STATUS_OK, "%s", err.text);
    size_t bytes = strlen(message.as.error.text);
    /* 1 byte and then pairs: of the 1023 bytes that fit, all are whole characters */
    cr_assert_eq(bytes, ERR_TEXT_BYTES - 1);
    cr_assert_eq((unsigned char)message.as.error.text[bytes - 1], 0xA9);
    buf_reset(&line);
    buf_append_text(&line, "{\"type\":\"ready\",\"backend\":\"");
    for (int i = 0; i < PROTO_WORD_BYTES; i++)
        buf_append_char(&line, 'b');
    buf_append_text(&line, "\"}");
    cr_assert_eq(decode_worker(line.data, &message, &err), STATUS_PROTOCOL);
    buf_release(&line);
}

Test(proto_message, what_a_worker_does_not_know_is_left_out)
{
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    struct proto_worker_message message = {.type = PROTO_READY};
    proto_encode_worker(&message, &line);
    cr_assert_str_eq(line.data, "{\"type\":\"ready\"}\n");
    buf_reset(&line);
    message = (struct proto_worker_message){
        .type = PROTO_BLOCK,
        .as.block = {.steps_count = 4,
                     .sync = PROTO_SYNC_BLOCK,
                     .window_ns = 12,
                     .observation = {.loss = NAN, .grad_norm = INFINITY}}};
    proto_encode_worker(&message, &line);
    json_t *object = parse(&line);
    cr_assert_eq(number(object, "steps"), 4);
    cr_assert_str_eq(text(object, "sync"), "block");
    cr_assert_eq(number(object, "window_ns"), 12);
    static const char *const absent[] = {"step_ns", "device_ns", "prepare_ns", "observe_ns",
                                         "loss",    "grad_norm", "nonfinite",  "expert_tokens"};
    for (size_t i = 0; i < ARRAY_COUNT(absent); i++)
        cr_assert_null(json_object_get(object, absent[i]), "%s", absent[i]);
    json_decref(object);
    buf_release(&line);
}

Test(proto_message, worker_messages_survive_the_wire)
{
    uint64_t step_ns[3] = {1, 2, PROTO_NS_MAX / 2};
    struct proto_worker_message sent = {.type = PROTO_BLOCK,
                                        .as.block = {.steps_count = 3,
                                                     .sync = PROTO_SYNC_STEP,
                                                     .window_ns = PROTO_NS_MAX,
                                                     .step_ns = step_ns,
                                                     .recompiles_count = 2,
                                                     .observation = {.loss = 0.1,
                                                                     .grad_norm = 1e-300,
                                                                     .has_device_ns = true,
                                                                     .device_ns = 8,
                                                                     .has_prepare_ns = true,
                                                                     .prepare_ns = 9,
                                                                     .has_observe_ns = true,
                                                                     .observe_ns = PROTO_NS_MAX,
                                                                     .has_nonfinite = true,
                                                                     .nonfinite = 5,
                                                                     .experts_count = 2,
                                                                     .expert_tokens = {10, 11}}}};
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    proto_encode_worker(&sent, &line);
    struct proto_worker_message got;
    struct err err = {0};
    cr_assert_eq(proto_decode_worker(line.data, line.length_bytes, &got, &err), STATUS_OK, "%s",
                 err.text);
    cr_assert_arr_eq(got.as.block.step_ns, step_ns, sizeof(step_ns));
    cr_assert_eq(got.as.block.window_ns, PROTO_NS_MAX);
    cr_assert(got.as.block.observation.has_prepare_ns && got.as.block.observation.has_observe_ns);
    cr_assert_eq(got.as.block.observation.prepare_ns, 9);
    cr_assert_eq(got.as.block.observation.observe_ns, PROTO_NS_MAX);
    cr_assert_eq(got.as.block.observation.loss, 0.1);
    cr_assert_eq(got.as.block.observation.grad_norm, 1e-300);
    cr_assert_eq(got.as.block.observation.nonfinite, 5);
    cr_assert_eq(got.as.block.recompiles_count, 2);
    proto_worker_message_release(&got);
    cr_assert_null(got.as.block.step_ns);
    buf_release(&line);
}

Test(proto_message, the_largest_block_stays_far_under_the_line_limit)
{
    static uint64_t step_ns[PROTO_BLOCK_STEPS_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(step_ns); i++)
        step_ns[i] = PROTO_NS_MAX;
    struct proto_worker_message sent = {.type = PROTO_BLOCK,
                                        .as.block = {.steps_count = PROTO_BLOCK_STEPS_MAX,
                                                     .window_ns = PROTO_NS_MAX,
                                                     .step_ns = step_ns}};
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    proto_encode_worker(&sent, &line);
    cr_assert(!line.failed);
    cr_assert_lt(line.length_bytes, PROTO_LINE_BYTES_MAX / 4);
    buf_release(&line);
}

static struct cell tiny_cell(void)
{
    struct cell cell = {.engine = "null",
                        .model = small_model(),
                        .model_source = "preset",
                        .device = "cpu",
                        .framework = "null",
                        .precision = CELL_PRECISION_FP32,
                        .mode = CELL_MODE_INFER,
                        .seq_len = 8,
                        .batch_size = 2,
                        .seed = UINT64_MAX,
                        .data = CELL_DATA_SYNTHETIC};
    return cell;
}

Test(proto_message, host_messages_survive_the_wire)
{
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    struct err err = {0};
    struct proto_host_message got;
    struct proto_host_message hello = {
        .type = PROTO_HELLO,
        .as.hello = {.versions_count = 2, .versions = {1, 9}, .host = "tokmark 0"}};
    proto_encode_host(&hello, &line);
    cr_assert_str_eq(line.data, "{\"type\":\"hello\",\"versions\":[1,9],\"host\":\"tokmark 0\"}\n");
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes, &got, &err), STATUS_OK);
    cr_assert_eq(got.as.hello.versions[1], 9);

    struct proto_host_message open = {.type = PROTO_OPEN, .as.open = tiny_cell()};
    buf_reset(&line);
    proto_encode_host(&open, &line);
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes, &got, &err), STATUS_OK, "%s",
                 err.text);
    char sent_id[HASH_ID_BYTES];
    char got_id[HASH_ID_BYTES];
    cell_id(&open.as.open, sent_id);
    cell_id(&got.as.open, got_id);
    cr_assert_str_eq(sent_id, got_id);

    struct proto_host_message run = {.type = PROTO_RUN,
                                     .as.run = {.steps_count = 7, .sync = PROTO_SYNC_BLOCK}};
    buf_reset(&line);
    proto_encode_host(&run, &line);
    cr_assert_str_eq(line.data, "{\"type\":\"run\",\"steps\":7,\"sync\":\"block\"}\n");
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes, &got, &err), STATUS_OK);
    cr_assert_eq(got.as.run.sync, PROTO_SYNC_BLOCK);

    struct proto_host_message check = {
        .type = PROTO_CHECK,
        .as.check = {.inputs_path = "/a b\"", .output_path = "o", .train_steps = 3}};
    buf_reset(&line);
    proto_encode_host(&check, &line);
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes, &got, &err), STATUS_OK);
    cr_assert_str_eq(got.as.check.inputs_path, "/a b\"");
    cr_assert_eq(got.as.check.train_steps, 3);
    cr_assert_not(got.as.check.wants_weights);
    cr_assert_null(strstr(line.data, "weights"), "not asked for, not said: older workers");
    check.as.check.wants_weights = true;
    buf_reset(&line);
    proto_encode_host(&check, &line);
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes, &got, &err), STATUS_OK);
    cr_assert(got.as.check.wants_weights);
    buf_release(&line);
}

Test(proto_message, host_lines_that_break_a_rule_are_refused)
{
    static const char *const bad[] = {
        "{\"type\":\"hello\"}",
        "{\"type\":\"hello\",\"versions\":[]}",
        "{\"type\":\"hello\",\"versions\":[\"1\"]}",
        "{\"type\":\"hello\",\"versions\":[0]}",
        "{\"type\":\"hello\",\"versions\":[1,2,3,4,5,6,7,8,9]}",
        "{\"type\":\"run\",\"steps\":10001,\"sync\":\"step\"}",
        "{\"type\":\"run\",\"steps\":-1,\"sync\":\"step\"}",
        "{\"type\":\"run\",\"steps\":true,\"sync\":\"step\"}",
        "{\"type\":\"run\",\"steps\":1}",
        "{\"type\":\"open\"}",
        "{\"type\":\"check\",\"inputs\":\"\",\"output\":\"x\"}",
        "{\"type\":\"check\",\"inputs\":\"x\",\"output\":\"x\",\"train_steps\":-3}",
        "{\"type\":\"check\",\"inputs\":\"x\",\"output\":\"x\",\"weights\":1}",
        "{\"type\":\"bye\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = {0};
        struct proto_host_message message;
        cr_expect_eq(proto_decode_host(bad[i], strlen(bad[i]), &message, &err), STATUS_PROTOCOL,
                     "%s", bad[i]);
        cr_expect(err.text[0] != '\0');
    }
}

/* A list as long as may be, and one value more. */
static enum status read_list(const char *key, int count)
{
    struct buf line;
    struct err err = {0};
    struct proto_worker_message message;
    buf_init(&line, 1 << 16);
    buf_append_text(&line, "{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":5,\"");
    buf_append_text(&line, key);
    buf_append_text(&line, "\":[");
    for (int i = 0; i < count; i++)
        buf_append_text(&line, i > 0 ? ",7" : "7");
    buf_append_text(&line, "]}");
    enum status status = proto_decode_worker(line.data, line.length_bytes, &message, &err);
    buf_release(&line);
    return status;
}

Test(proto_message, lists_are_as_long_as_they_may_be)
{
    cr_expect_eq(read_list("expert_tokens", 0), STATUS_PROTOCOL);
    cr_expect_eq(read_list("expert_tokens", PROTO_EXPERTS_MAX), STATUS_OK);
    cr_expect_eq(read_list("expert_tokens", PROTO_EXPERTS_MAX + 1), STATUS_PROTOCOL);
    cr_expect_eq(read_list("logits", PROTO_LOGITS), STATUS_OK);
    cr_expect_eq(read_list("logits", PROTO_LOGITS + 1), STATUS_PROTOCOL);
    cr_expect_eq(read_list("logits", PROTO_LOGITS - 1), STATUS_PROTOCOL);
}

Test(proto_message, what_a_step_must_give_round_trips)
{
    struct proto_worker_message message = {.type = PROTO_VERIFY};
    struct proto_observation *expected = &message.as.verify.expected;
    struct buf line;
    struct err err = {0};
    struct proto_worker_message again;
    proto_observation_init(expected);
    expected->loss = 2.5;
    expected->has_head_tokens = true;
    expected->head_tokens = 12;
    expected->logits_count = PROTO_LOGITS;
    for (int i = 0; i < PROTO_LOGITS; i++)
        expected->logits[i] = i == 3 ? NAN : i / 8.0;
    buf_init(&line, 1 << 16);
    proto_encode_worker(&message, &line);
    cr_assert_eq(proto_decode_worker(line.data, line.length_bytes - 1, &again, &err), STATUS_OK,
                 "%s", err.text);
    expected = &again.as.verify.expected;
    cr_expect_eq(again.type, PROTO_VERIFY);
    cr_expect_eq(expected->loss, 2.5);
    cr_expect(isnan(expected->grad_norm));
    cr_expect_eq(expected->head_tokens, 12);
    cr_assert_eq(expected->logits_count, PROTO_LOGITS);
    cr_expect(isnan(expected->logits[3]));
    cr_expect_eq(expected->logits[9], 9 / 8.0);
    buf_release(&line);
}

Test(proto_message, a_profile_round_trips)
{
    struct proto_worker_message message = {.type = PROTO_PROFILE};
    struct proto_profiled *profiled = &message.as.profile;
    struct buf line;
    struct err err = {0};
    struct proto_worker_message again;
    *profiled = (struct proto_profiled){.profiler = "a clock",
                                        .steps_count = 5,
                                        .window_ns = 900,
                                        .operators_ns = 700,
                                        .names_count = 70,
                                        .has_exchange = true,
                                        .exchange_ns = 500,
                                        .exchange_alone_ns = 300,
                                        .operators_count = PROTO_OPERATORS_MAX};
    for (uint32_t i = 0; i < PROTO_OPERATORS_MAX; i++) {
        struct proto_operator *one = &profiled->operators[i];
        (void)snprintf(one->name, sizeof(one->name), "operator %u", i);
        one->calls_count = i + 1;
        one->self_ns = 10 * i;
        one->flops = i == 2 ? (double)NAN : 1e12;
    }
    buf_init(&line, 1 << 16);
    proto_encode_worker(&message, &line);
    cr_assert_eq(proto_decode_worker(line.data, line.length_bytes - 1, &again, &err), STATUS_OK,
                 "%s", err.text);
    const struct proto_profiled *read = &again.as.profile;
    cr_expect_str_eq(read->profiler, "a clock");
    cr_expect_eq(read->steps_count, 5);
    cr_expect_eq(read->window_ns, 900);
    cr_expect_eq(read->operators_ns, 700);
    cr_expect_eq(read->names_count, 70);
    cr_expect(read->has_exchange);
    cr_expect_eq(read->exchange_ns, 500);
    cr_expect_eq(read->exchange_alone_ns, 300);
    cr_assert_eq(read->operators_count, PROTO_OPERATORS_MAX);
    cr_expect_str_eq(read->operators[3].name, "operator 3");
    cr_expect_eq(read->operators[3].calls_count, 4);
    cr_expect_eq(read->operators[3].self_ns, 30);
    cr_expect_eq(read->operators[3].flops, 1e12);
    cr_expect(isnan(read->operators[2].flops));
    buf_release(&line);
    static const char *const bad[] = {
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":1}",
        "{\"type\":\"profile\",\"steps\":0,\"window_ns\":9,\"operators_ns\":7,\"names\":0,"
        "\"operators\":[]}",
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":1,"
        "\"operators\":[{\"name\":\"\",\"calls\":1,\"self_ns\":1}]}",
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":0,"
        "\"exchange_ns\":5,\"operators\":[]}",
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":0,"
        "\"exchange_ns\":5,\"exchange_alone_ns\":6,\"operators\":[]}",
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":1,"
        "\"operators\":[{\"name\":\"a\",\"calls\":0,\"self_ns\":1}]}",
        "{\"type\":\"profile\",\"steps\":5,\"window_ns\":9,\"operators_ns\":7,\"names\":1,"
        "\"operators\":[7]}"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect_eq(decode_worker(bad[i], &again, &err), STATUS_PROTOCOL, "%s", bad[i]);
}

Test(proto_message, what_to_profile_round_trips)
{
    struct proto_host_message message = {
        .type = PROTO_PROFILE, .as.profile = {.steps_count = 7, .trace_path = "/tmp/a trace.json"}};
    struct proto_host_message again;
    struct buf line;
    struct err err = {0};
    buf_init(&line, 1 << 16);
    proto_encode_host(&message, &line);
    cr_assert_eq(proto_decode_host(line.data, line.length_bytes - 1, &again, &err), STATUS_OK, "%s",
                 err.text);
    cr_expect_eq(again.as.profile.steps_count, 7);
    cr_expect_str_eq(again.as.profile.trace_path, "/tmp/a trace.json");
    buf_release(&line);
    static const char long_one[] = "{\"type\":\"profile\",\"steps\":1001,\"trace\":\"/t\"}";
    cr_expect_eq(proto_decode_host(long_one, sizeof(long_one) - 1, &again, &err), STATUS_PROTOCOL);
}
