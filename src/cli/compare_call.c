#include "cli/compare_call.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "cli/forms.h"
#include "compare/baseline.h"
#include "compare/comparison.h"
#include "compare/format.h"

/* --- what is asked for --- */

static struct forms known_forms(void)
{
    struct forms forms = {.count = compare_formats_count};
    ASSERT(compare_formats_count <= FORMS_MAX);
    for (size_t i = 0; i < compare_formats_count; i++)
        forms.names[i] = compare_formats[i].name;
    return forms;
}

static enum status find_fields(const struct option_texts *names,
                               enum fact_id fields[OPTION_TEXTS_MAX], struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *all[FACTS_COUNT];
        struct nearest_hint hint;
        for (enum fact_id id = 0; id < FACTS_COUNT; id++)
            all[id] = fact_of(id)->name;
        if (!fact_find(names->items[i], &fields[i]))
            return ERR(err, STATUS_INVALID, "--by: no field is named '%.100s'; %s", names->items[i],
                       nearest_hint(&hint, "", names->items[i], all, FACTS_COUNT));
    }
    return STATUS_OK;
}

static enum status choose_metrics(const struct compare_call *call, struct metrics *ret_metrics,
                                  struct err *err)
{
    return metrics_choose(call->metrics.items, call->metrics.count,
                          call->has_gate ? call->gate_percent : 0, ret_metrics, err);
}

enum status compare_call_check(const struct compare_call *call, struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum fact_id by[OPTION_TEXTS_MAX];
    struct metrics metrics;
    const struct forms forms = known_forms();
    enum status status = forms_check(&forms, &call->formats, err);
    if (status == STATUS_OK)
        status = find_fields(&call->by, by, err);
    if (status == STATUS_OK)
        status = choose_metrics(call, &metrics, err);
    if (status == STATUS_OK)
        status = baseline_resolve(call->base, path, err);
    if (status == STATUS_OK && call->now != NULL)
        status = baseline_resolve(call->now, path, err);
    return status;
}

/* --- writing --- */

static enum status put(void *context, const char *bytes, size_t bytes_count, struct err *err)
{
    const int *fd = context;
    return forms_put(*fd, bytes, bytes_count, err);
}

/* Borrowed: for the call of write_to(). */
struct file_output {
    const struct compare_format *format;
    struct compare_output *output;
};

/* A file_writer. */
static enum status write_to(void *context, int fd, struct err *err)
{
    struct file_output *writing = context;
    writing->output->sink = put;
    writing->output->sink_context = &fd;
    return writing->format->write(writing->output, err);
}

static enum status write_form(const struct compare_call *call, const struct comparison *comparison,
                              const char *word, struct err *err)
{
    const struct forms forms = known_forms();
    const char *file = NULL;
    struct compare_output output = {
        .comparison = comparison,
        .has_gate = call->has_gate,
        .is_lenient = call->is_lenient,
        .gate_percent = call->gate_percent,
        .comment_id = call->comment_id,
    };
    struct file_output writing = {&compare_formats[forms_find(&forms, word, &file)], &output};
    compare_output_init(&output);
    enum status status = forms_write(file, write_to, &writing, err);
    compare_output_release(&output);
    return status;
}

/* --- the whole --- */

static enum status read_side(const struct compare_call *call, struct comparison *comparison,
                             enum compare_side side, struct err *err)
{
    char path[FILE_PATH_BYTES];
    const char *operand = side == COMPARE_BASE ? call->base : call->now;
    enum status status = baseline_resolve(operand, path, err);
    return status == STATUS_OK ? comparison_read(comparison, side, path, operand, err) : status;
}

static enum status compare(const struct compare_call *call, struct comparison *comparison,
                           enum compare_side *ret_reading, struct err *err)
{
    *ret_reading = COMPARE_BASE;
    enum status status = read_side(call, comparison, COMPARE_BASE, err);
    if (status == STATUS_OK) {
        *ret_reading = COMPARE_NOW;
        status = read_side(call, comparison, COMPARE_NOW, err);
    }
    if (status == STATUS_OK)
        status = comparison_decide(comparison, err);
    if (status == STATUS_OK && call->formats.count == 0)
        status = write_form(call, comparison, "text", err);
    for (size_t i = 0; status == STATUS_OK && i < call->formats.count; i++)
        status = write_form(call, comparison, call->formats.items[i], err);
    return status;
}

static enum exit_code code_of(const struct compare_call *call, const struct comparison *comparison)
{
    if (!call->has_gate)
        return comparison_summary(comparison)->metrics_count > 0 ? EXIT_CODE_OK
                                                                 : EXIT_CODE_SOME_NOT_OK;
    switch (comparison_gate(comparison, call->is_lenient)) {
    case COMPARE_GATE_PASSED: return EXIT_CODE_OK;
    case COMPARE_GATE_FAILED: return EXIT_CODE_GATE_FAILED;
    case COMPARE_GATE_UNDECIDED: break;
    }
    return EXIT_CODE_SOME_NOT_OK;
}

enum exit_code compare_call_run(const struct invocation *invocation,
                                const struct compare_call *call)
{
    struct err err = {0};
    enum fact_id by[OPTION_TEXTS_MAX];
    struct comparison *comparison = NULL;
    enum compare_side reading = COMPARE_BASE;
    struct comparison_options options = {
        .by = call->by.count > 0 ? by : NULL,
        .by_count = call->by.count,
        .takes_newest_run = call->takes_newest_run,
        .includes_sandbox = call->includes_sandbox,
    };
    enum status status = find_fields(&call->by, by, &err);
    if (status == STATUS_OK)
        status = choose_metrics(call, &options.metrics, &err);
    if (status == STATUS_OK)
        status = comparison_new(&options, &comparison, &err);
    if (status == STATUS_OK)
        status = compare(call, comparison, &reading, &err);
    enum exit_code code = status == STATUS_OK ? code_of(call, comparison) : EXIT_CODE_IO;
    /* The first run of a pipeline has none, which is no fault of the machine. */
    if (status == STATUS_NOT_FOUND && reading == COMPARE_BASE) {
        command_complain(invocation, "there is no base to compare with: %s", err.text);
        code = EXIT_CODE_SOME_NOT_OK;
    } else if (status != STATUS_OK) {
        command_complain(invocation, "%s", err.text);
    }
    comparison_free(comparison);
    return code;
}
