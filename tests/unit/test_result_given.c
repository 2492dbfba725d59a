#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "result/given.h"

TestSuite(result_given);

static struct proto_block block_of(uint32_t steps)
{
    struct proto_block block = {.steps_count = steps};
    proto_observation_init(&block.observation);
    return block;
}

static const struct given_why unfinished = {.missing = "timeout"};

static void expect_null(const struct record *record, enum fact_id id, const char *reason)
{
    cr_expect(record_is_null(record, id), "%s", fact_of(id)->name);
    cr_expect_str_eq(record_null_reason(record, id), reason, "%s: %s", fact_of(id)->name,
                     record_null_reason(record, id));
}

Test(result_given, sums_and_means_need_every_measured_block)
{
    struct given_blocks blocks = {0};
    struct proto_block warmup = block_of(5);
    struct proto_block block = block_of(2);
    block.observation.has_device_ns = block.observation.has_prepare_ns = true;
    block.observation.device_ns = 4000000;
    block.observation.prepare_ns = 500000;
    given_blocks_add(&blocks, &warmup, false);
    given_blocks_add(&blocks, &block, true);
    given_blocks_add(&blocks, &block, true);
    struct record *record = record_new();
    given_put_blocks(&blocks, &unfinished, record);
    cr_expect_eq(record_double(record, FACT_DEVICE_MS_PER_STEP), 2.0);
    cr_expect_eq(record_double(record, FACT_PREPARE_MS), 1.0);
    expect_null(record, FACT_OBSERVE_MS, "not_reported");
    cr_expect_eq(given_blocks_u64(&blocks, FACT_PREPARE_MS), 1000000);

    block.observation.has_device_ns = false;
    given_blocks_add(&blocks, &block, true);
    given_put_blocks(&blocks, &unfinished, record);
    expect_null(record, FACT_DEVICE_MS_PER_STEP, "not_reported");
    cr_expect_eq(record_double(record, FACT_PREPARE_MS), 1.5);
    record_free(record);
}

Test(result_given, totals_take_warmup_in_and_the_last_block_alone_says_the_loss)
{
    struct given_blocks blocks = {0};
    struct proto_block block = block_of(1);
    block.observation.has_nonfinite = true;
    block.observation.nonfinite = 3;
    block.observation.loss = 7;
    given_blocks_add(&blocks, &block, false);
    struct record *record = record_new();
    given_put_blocks(&blocks, &unfinished, record);
    cr_expect_eq(record_u64(record, FACT_NONFINITE), 3);
    expect_null(record, FACT_LOSS_LAST, "timeout");

    given_blocks_add(&blocks, &block, true);
    struct proto_block silent = block_of(1);
    given_put_blocks(&blocks, &unfinished, record);
    cr_expect_eq(record_double(record, FACT_LOSS_LAST), 7);
    given_blocks_add(&blocks, &silent, true);
    given_put_blocks(&blocks, &unfinished, record);
    expect_null(record, FACT_LOSS_LAST, "not_reported");
    cr_expect_eq(record_u64(record, FACT_NONFINITE), 6);
    record_free(record);
}

Test(result_given, a_reply_that_never_came_is_null_for_the_verdict_and_a_silent_one_for_the_worker)
{
    struct record *record = record_new();
    given_put_ready(NULL, &unfinished, record);
    expect_null(record, FACT_BACKEND, "timeout");
    expect_null(record, FACT_COMPILE_MS, "timeout");
    struct proto_ready ready = {.load_ns = 1500000, .backend = "kernels"};
    given_put_ready(&ready, &unfinished, record);
    cr_expect_str_eq(record_string(record, FACT_BACKEND), "kernels");
    cr_expect_eq(record_double(record, FACT_LOAD_MS), 1.5);
    expect_null(record, FACT_COMPILE_MS, "none_reported");
    expect_null(record, FACT_PARAMS_TOTAL, "not_reported");
    struct given_why made_up = {.is_synthetic = true, .missing = "ok"};
    given_put_ready(&ready, &made_up, record);
    expect_null(record, FACT_LOAD_MS, "synthetic");
    cr_expect_str_eq(record_string(record, FACT_BACKEND), "kernels");
    struct proto_memory memory = {.has_allocated_bytes = true, .allocated_bytes = 3 << 19};
    given_put_memory(&memory, &unfinished, record);
    cr_expect_eq(record_double(record, FACT_MEM_ALLOC_MB), 1.5);
    expect_null(record, FACT_MEM_RESERVED_MB, "not_reported");
    record_free(record);
}

/* --- a row is all that a field needs --- */

/* A value of the kind as JSON in a message, and as the record writes it. */
static const struct sample {
    const char *sent, *recorded;
} samples[FACT_WIRES_COUNT] = {
    [FACT_WIRE_COUNT] = {"3", "3"},
    [FACT_WIRE_COUNT_OR_NONE] = {"3", "3"},
    [FACT_WIRE_NS] = {"2500000", "2.5"},
    [FACT_WIRE_NS_OR_NONE] = {"2500000", "2.5"},
    [FACT_WIRE_BYTES] = {"1572864", "1.5"},
    [FACT_WIRE_NUMBER] = {"0.25", "0.25"},
    [FACT_WIRE_NUMBER_OR_NONE] = {"0.25", "0.25"},
    [FACT_WIRE_FLAG] = {"true", "true"},
    [FACT_WIRE_TEXT] = {"\"a word\"", "\"a word\""},
    [FACT_WIRE_LONG_TEXT] = {"\"a word\"", "\"a word\""},
    [FACT_WIRE_JSON] = {"{\"a\":[1]}", "{\"a\":[1]}"},
};

static void put_message(const struct proto_worker_message *message, struct record *record)
{
    struct given_blocks blocks = {0};
    if (message->type == PROTO_READY)
        given_put_ready(&message->as.ready, &unfinished, record);
    if (message->type == PROTO_MEMORY)
        given_put_memory(&message->as.memory, &unfinished, record);
    if (message->type != PROTO_BLOCK)
        return;
    given_blocks_add(&blocks, &message->as.block, true);
    given_put_blocks(&blocks, &unfinished, record);
}

/* From the worker's line to the record's, and back again over the wire, for each row of the table:
 * there is no code for a single field. */
Test(result_given, a_row_of_the_table_is_all_that_a_worker_s_field_needs)
{
    static const char *const starts[FACT_GIVERS_COUNT] = {
        [FACT_GIVER_READY] = "{\"type\":\"ready\"",
        [FACT_GIVER_BLOCK] = "{\"type\":\"block\",\"steps\":1,\"sync\":\"block\",\"window_ns\":9",
        [FACT_GIVER_MEMORY] = "{\"type\":\"memory\"",
    };
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        const struct fact *fact = fact_of(id);
        if (fact->wire == FACT_WIRE_NONE)
            continue;
        /* The one pair of keys that come together. */
        const char *pair = strcmp(fact->key, "device_used_bytes") == 0    ? "device_total_bytes"
                           : strcmp(fact->key, "device_total_bytes") == 0 ? "device_used_bytes"
                                                                          : "other";
        char line[512], wanted[128];
        (void)snprintf(line, sizeof(line), "%s,\"%s\":%s,\"%s\":1}", starts[fact->giver], fact->key,
                       samples[fact->wire].sent, pair);
        (void)snprintf(wanted, sizeof(wanted), "\"%s\":%s", fact->name,
                       samples[fact->wire].recorded);
        struct proto_worker_message message;
        struct err err = {0};
        cr_assert_eq(proto_decode_worker(line, strlen(line), &message, &err), STATUS_OK, "%s",
                     err.text);
        struct record *record = record_new();
        struct buf json, again;
        buf_init(&json, RECORD_LINE_BYTES_MAX);
        buf_init(&again, PROTO_LINE_BYTES_MAX);
        put_message(&message, record);
        record_format_json(record, &json);
        cr_expect_not_null(strstr(json.data, wanted), "%s", wanted);
        proto_encode_worker(&message, &again);
        (void)snprintf(wanted, sizeof(wanted), "\"%s\":%s", fact->key, samples[fact->wire].sent);
        cr_expect_not_null(strstr(again.data, wanted), "%s: %s", wanted, again.data);
        buf_release(&json);
        buf_release(&again);
        record_free(record);
        proto_worker_message_release(&message);
    }
}
