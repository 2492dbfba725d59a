#include <criterion/criterion.h>
#include <string.h>

#include "proto/fields.h"

TestSuite(proto_fields);

static enum status decode(const char *line, struct proto_worker_message *ret, struct err *err)
{
    return proto_decode_worker(line, strlen(line), ret, err);
}

/* Every row's value survives the wire, and only what was given is there afterwards. */
Test(proto_fields, a_ready_with_everything_survives_the_wire)
{
    struct proto_worker_message sent = {.type = PROTO_READY};
    struct proto_ready *ready = &sent.as.ready;
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_READY, &count);
    cr_assert_gt(count, 20);
    for (size_t i = 0; i < count; i++)
        cr_expect_not(proto_field_is_known(&fields[i], ready), "%s", fact_of(fields[i].id)->name);
    ready->params_total = 7;
    ready->has_params_trainable = true; /* 0 of them: everything is frozen */
    ready->load_ns = PROTO_NS_MAX;
    ready->compiler_flops = 1.5;
    ready->has_tf32 = true;
    (void)snprintf(ready->compiled, sizeof(ready->compiled), "model: \"default\"");
    ready->model_config = strdup("{\"layers\":[1,2.5,null],\"name\":\"x\"}");
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    proto_encode_worker(&sent, &line);
    struct proto_worker_message got;
    struct err err = {0};
    cr_assert_eq(proto_decode_worker(line.data, line.length_bytes, &got, &err), STATUS_OK, "%s",
                 err.text);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(proto_field_is_known(&fields[i], &got.as.ready),
                     proto_field_is_known(&fields[i], ready), "%s", fact_of(fields[i].id)->name);
    cr_expect_eq(got.as.ready.params_total, 7);
    cr_expect(got.as.ready.has_params_trainable && got.as.ready.params_trainable == 0);
    cr_expect_eq(got.as.ready.load_ns, PROTO_NS_MAX);
    cr_expect_str_eq(got.as.ready.compiled, ready->compiled);
    cr_expect_str_eq(got.as.ready.model_config, ready->model_config);
    buf_release(&line);
    proto_worker_message_release(&sent);
    struct proto_ready copy = got.as.ready;
    proto_ready_drop_json(&copy);
    cr_expect_null(copy.model_config);
    cr_expect_eq(copy.params_total, 7);
}

Test(proto_fields, a_value_that_is_no_object_too_long_or_too_deep_is_refused)
{
    struct err err = {0};
    struct proto_worker_message message;
    cr_expect_eq(decode("{\"type\":\"ready\",\"model_config\":\"text\"}", &message, &err),
                 STATUS_PROTOCOL);
    cr_expect_not_null(strstr(err.text, "'model_config' must be an object or a list"));
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    buf_append_text(&line, "{\"type\":\"ready\",\"model_config\":[\"");
    for (size_t i = 0; i < PROTO_JSON_BYTES; i++)
        buf_append_char(&line, 'x');
    buf_append_text(&line, "\"]}");
    err = (struct err){0};
    cr_expect_eq(decode(line.data, &message, &err), STATUS_PROTOCOL);
    cr_expect_not_null(strstr(err.text, "64 KiB"), "%s", err.text);
    buf_reset(&line);
    buf_append_text(&line, "{\"type\":\"ready\",\"model_config\":");
    for (int i = 0; i < 20; i++)
        buf_append_char(&line, '[');
    for (int i = 0; i < 20; i++)
        buf_append_char(&line, ']');
    buf_append_char(&line, '}');
    err = (struct err){0};
    cr_expect_eq(decode(line.data, &message, &err), STATUS_PROTOCOL);
    cr_expect_eq(decode("{\"type\":\"ready\",\"model_config\":null}", &message, &err), STATUS_OK);
    cr_expect_null(message.as.ready.model_config);
    buf_release(&line);
}
