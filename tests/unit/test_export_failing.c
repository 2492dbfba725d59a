#include "export/export.h"
#include "failing_calls.h"
#include "scratch.h"

static const char record[] =
    "{\"framework\":\"native\",\"device\":\"cpu\",\"precision\":\"fp32\",\"mode\":\"infer\","
    "\"seq_len\":8,\"batch_size\":1,\"steps\":9,\"tokens_per_step\":8,\"ms_per_step\":1.5,"
    "\"tokens_per_sec\":5333.25,\"peak_mem_mb\":null,\"params_millions\":2.5,\"schema\":1,"
    "\"run_id\":\"r1\",\"cell_id\":\"h0123456789abcdef\",\"policy_id\":\"hfedcba9876543210\","
    "\"trial\":0,\"started_at\":\"2026-11-28T10:00:00.000Z\",\"verdict\":\"ok\",\"ms_p50\":1.5,"
    "\"model\":\"m\",\"environment_id\":\"h00000000000000aa\",\"environment\":{\"cpu\":"
    "{\"model\":\"x\",\"cores\":2}},\"null_reasons\":{\"peak_mem_mb\":\"not_reported\"}}\n";

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_write_text(dir, "records.jsonl", record);
    scratch_path(path, dir, "records.jsonl");
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(export_failing, .init = set_up, .fini = tear_down);

/* Owned, the bytes. */
struct export_case {
    const struct exporter *exporter;
    const char *to; /* NULL: `taken` */
    struct buf taken;
};

static enum status take(void *context, const char *bytes, size_t bytes_count, struct err *err)
{
    struct buf *taken = context;
    buf_append(taken, bytes, bytes_count);
    return taken->failed ? ERR(err, STATUS_NOMEM, "no memory for what is taken") : STATUS_OK;
}

static void empty(void *context)
{
    struct export_case *each = context;
    buf_reset(&each->taken);
    if (each->to != NULL)
        scratch_free(each->to);
}

static enum status export_records(void *context, struct err *err)
{
    struct export_case *each = context;
    const char *const sources[] = {path};
    enum fact_id fields[FACTS_COUNT];
    /* one that reads a direction at a time is told which */
    const char *names =
        strcmp(each->exporter->name, "github-action-benchmark") == 0 ? "tokens_per_sec" : NULL;
    struct export_request request = {.exporter = each->exporter,
                                     .sources = sources,
                                     .sources_count = 1,
                                     .to = each->to,
                                     .fields = fields,
                                     .sink = take,
                                     .sink_context = &each->taken};
    struct export_counts counts;
    request.includes[ADMIT_SANDBOX] = request.includes[ADMIT_INVALID] = true;
    request.includes[ADMIT_UNSTEADY] = true;
    TRY(export_choose_fields(each->exporter, names, fields, &request.fields_count, err));
    return export_run(&request, &counts, err);
}

/* A file is there whole, as an export without a fault writes it, or not at all. */
static void export_each(enum failing_kind kind)
{
    for (size_t i = 0; i < exporter_list_count; i++) {
        struct export_case one = {.exporter = exporter_list[i]};
        char folder[FILE_PATH_BYTES];
        if ((one.exporter->places & EXPORT_TO_STREAM) == 0) {
            if ((one.exporter->places & EXPORT_TO_FOLDER) == 0)
                continue;
            one.to = scratch_path(folder, dir, one.exporter->name);
        }
        buf_init(&one.taken, 16U << 20);
        const struct failing_work work = {empty, export_records, NULL, &one};
        cr_expect_geq(failing_calls(kind, &work), 3, "%s", one.exporter->name);
        cr_expect(one.to != NULL || one.taken.length_bytes > 0, "%s", one.exporter->name);
        buf_release(&one.taken);
    }
}

Test(export_failing, without_memory_it_says_so)
{
    export_each(FAILING_MEMORY);
}

Test(export_failing, calls_that_fail_are_told)
{
    export_each(FAILING_SYSTEM);
}
