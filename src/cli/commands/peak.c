#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/user_folder.h"
#include "cli/command.h"
#include "cli/run_words.h"
#include "client/preflight.h"
#include "engines/engine.h"
#include "engines/native/ceiling.h"
#include "spec/device.h"
#include "store/machine.h"
#include "telemetry/cpuinfo.h"
#include "telemetry/environment.h"

#define OUTPUT_BYTES_MAX (256 * 1024)
#define PEAKS_MAX        16
#define TIMEOUT_NS       (300 * NS_PER_S)

enum peak_format { PEAK_TEXT, PEAK_JSON };

/* Texts are borrowed: from the command line. */
struct peak_options {
    const char *engine; /* NULL = by the device */
    const char *device;
    const char *python; /* NULL = the engine chooses */
    uint64_t format;    /* enum peak_format */
    bool is_show;
};

static const struct option_choice format_choices[] = {
    {"text", PEAK_TEXT}, {"json", PEAK_JSON}, {NULL, 0}};
static const struct option_choice engine_choices[] = {
    {"native", 0}, {"pytorch", 1}, {"jax", 2}, {NULL, 0}};

static enum status check_engine(const char *text, struct err *err)
{
    for (const struct option_choice *choice = engine_choices; choice->name != NULL; choice++)
        if (strcmp(choice->name, text) == 0)
            return STATUS_OK;
    return ERR(err, STATUS_INVALID, "'%.60s' measures no peaks: native, pytorch and jax do", text);
}

static const struct option peak_rows[] = {
    {.name = "device",
     .type = OPTION_TEXT,
     .offset = offsetof(struct peak_options, device),
     .arg = "DEVICE",
     .def = "cpu",
     .max = CELL_WORD_BYTES - 1,
     .group = "What to measure",
     .check = run_check_device,
     .word_at = run_device_at,
     .help = "cpu or cuda:N; gpu is cuda:0"},
    {.name = "engine",
     .type = OPTION_TEXT,
     .offset = offsetof(struct peak_options, engine),
     .arg = "NAME",
     .max = CELL_PATH_BYTES - 1,
     .group = "What to measure",
     .check = check_engine,
     .help = "by whose kernels: native, pytorch or jax; otherwise native on a CPU, and pytorch, or "
             "jax where there is no pytorch, elsewhere"},
    {.name = "python",
     .type = OPTION_TEXT,
     .offset = offsetof(struct peak_options, python),
     .arg = "PATH",
     .max = CELL_PATH_BYTES - 1,
     .group = "What to measure",
     .help = "pytorch, jax: the interpreter, or a virtual environment's folder"},
    {.name = "show",
     .type = OPTION_FLAG,
     .offset = offsetof(struct peak_options, is_show),
     .group = "Output",
     .help = "print what was measured on this machine, and measure nothing"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct peak_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "text, or one line of JSON"},
    COMMAND_HELP_ROW,
};

/* What was found. */
struct peaks {
    struct machine_peak items[PEAKS_MAX];
    size_t count;
};

static struct machine_peak *add(struct peaks *peaks, const struct machine_peak *common)
{
    if (peaks->count == PEAKS_MAX)
        return NULL;
    peaks->items[peaks->count] = *common;
    return &peaks->items[peaks->count++];
}

/* --- measuring --- */

static enum status measure_host(const struct machine_peak *common, struct peaks *peaks,
                                struct err *err)
{
    struct cpuinfo *info = malloc(sizeof(*info));
    if (info == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    cpuinfo_read("", info);
    unsigned threads = info->cpus_usable_count > 0 ? info->cpus_usable_count : 1;
    free(info);
    struct ceiling_effort effort = ceiling_effort();
    struct ceiling ceiling;
    TRY(ceiling_measure(threads, &effort, &ceiling, err));
    struct machine_peak *peak = add(peaks, common);
    (void)snprintf(peak->precision, sizeof(peak->precision), "fp32");
    peak->matmul_flops = ceiling.matmul_flops;
    peak->fma_flops = ceiling.fma_flops;
    peak->read_bytes = ceiling.read_bytes;
    peak->write_bytes = ceiling.write_bytes;
    peak->triad_bytes = ceiling.triad_bytes;
    peak->launch_ns = ceiling.launch_ns;
    return STATUS_OK;
}

static double number_at(const json_t *object, const char *key)
{
    double value = json_number_value(json_object_get(object, key));
    return value > 0 ? value : 0;
}

static void take_answer(const json_t *answer, const struct machine_peak *common,
                        struct peaks *peaks)
{
    const char *precision = NULL;
    json_t *rate = NULL;
    json_object_foreach(json_object_get(answer, "matmul_flops"), precision, rate)
    {
        struct machine_peak *peak = add(peaks, common);
        if (peak == NULL)
            return;
        (void)snprintf(peak->precision, sizeof(peak->precision), "%.60s", precision);
        peak->matmul_flops = json_number_value(rate) > 0 ? json_number_value(rate) : 0;
        peak->read_bytes = number_at(answer, "read_bytes");
        peak->write_bytes = number_at(answer, "write_bytes");
        peak->triad_bytes = number_at(answer, "triad_bytes");
        peak->launch_ns = number_at(answer, "launch_ns");
    }
}

static enum status ask_framework(const struct peak_options *options,
                                 const struct machine_peak *common, struct peaks *peaks,
                                 struct err *err)
{
    char self_path[FILE_PATH_BYTES];
    TRY(file_self(self_path, err));
    const struct client_options client = {
        .self_path = self_path, .python = options->python, .phase_timeout_ns = TIMEOUT_NS};
    struct buf json CLEANUP(buf_release) = {0};
    struct buf found CLEANUP(buf_release) = {0};
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    buf_init(&found, ENVIRONMENT_BYTES_MAX);
    TRY(preflight_require(&client, common->engine, &found, err));
    TRY(preflight_peak(&client, common->engine, options->device, &json, err));
    json_t *answer = json_loads(json.data, 0, NULL);
    take_answer(answer, common, peaks);
    json_decref(answer);
    return peaks->count > 0 ? STATUS_OK
                            : ERR(err, STATUS_NOT_FOUND, "%s measured nothing on %s",
                                  common->engine, options->device);
}

/* Of the engines that are there the first; *ret_why: why pytorch is not. */
static enum status measure(const struct peak_options *options, struct machine_peak *common,
                           struct peaks *peaks, struct err *err)
{
    if (options->engine != NULL)
        (void)snprintf(common->engine, sizeof(common->engine), "%s", options->engine);
    else
        (void)snprintf(common->engine, sizeof(common->engine), "%s",
                       device_is_host(options->device) ? "native" : "pytorch");
    if (strcmp(common->engine, "native") == 0 && !device_is_host(options->device))
        return ERR(err, STATUS_INVALID, "engine native runs on the CPU: choose pytorch or jax");
    if (strcmp(common->engine, "native") == 0)
        return measure_host(common, peaks, err);
    struct err why = {0};
    if (ask_framework(options, common, peaks, &why) == STATUS_OK)
        return STATUS_OK;
    if (options->engine != NULL)
        return ERR(err, why.status, "%s", why.text);
    (void)snprintf(common->engine, sizeof(common->engine), "jax");
    struct err second = {0};
    if (ask_framework(options, common, peaks, &second) == STATUS_OK)
        return STATUS_OK;
    return ERR(err, why.status, "%.400s; %.400s", why.text, second.text);
}

/* --- output --- */

static void put_rate(struct json_writer *writer, const char *key, double rate)
{
    if (rate > 0)
        json_field_double(writer, key, rate);
    else
        json_field_null(writer, key);
}

static void write_json(const struct peaks *peaks, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_put_key(&writer, "peaks");
    json_begin_array(&writer);
    for (size_t i = 0; i < peaks->count; i++) {
        const struct machine_peak *peak = &peaks->items[i];
        json_begin_object(&writer);
        json_field_string(&writer, "at", peak->at);
        json_field_string(&writer, "hardware_id", peak->hardware_id);
        json_field_string(&writer, "device", peak->device);
        json_field_string(&writer, "engine", peak->engine);
        json_field_string(&writer, "precision", peak->precision);
        put_rate(&writer, "matmul_flops", peak->matmul_flops);
        put_rate(&writer, "fma_flops", peak->fma_flops);
        put_rate(&writer, "read_bytes", peak->read_bytes);
        put_rate(&writer, "write_bytes", peak->write_bytes);
        put_rate(&writer, "triad_bytes", peak->triad_bytes);
        put_rate(&writer, "launch_ns", peak->launch_ns);
        json_end_object(&writer);
    }
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

static void append_rate(double rate, const char *unit, const char *name, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    if (rate <= 0)
        return;
    num_format_count(rate, text);
    buf_appendf(out, "  %-18s %9s%s\n", name, text, unit);
}

static void write_text(const struct peaks *peaks, struct buf *out)
{
    for (size_t i = 0; i < peaks->count; i++) {
        const struct machine_peak *peak = &peaks->items[i];
        const struct machine_peak *last = i > 0 ? peak - 1 : NULL;
        bool is_new = last == NULL || strcmp(last->engine, peak->engine) != 0 ||
                      strcmp(last->device, peak->device) != 0;
        char name[MACHINE_WORD_BYTES + 16];
        if (is_new) {
            buf_appendf(out, "%s by %s, %s\n", peak->device, peak->engine, peak->at);
            append_rate(peak->read_bytes, "B/s", "memory read", out);
            append_rate(peak->write_bytes, "B/s", "memory write", out);
            append_rate(peak->triad_bytes, "B/s", "memory triad", out);
            if (peak->launch_ns > 0)
                buf_appendf(out, "  %-18s %9.3g us\n", "launch", peak->launch_ns / 1e3);
        }
        (void)snprintf(name, sizeof(name), "%s multiply-adds", peak->precision);
        append_rate(peak->fma_flops, "FLOP/s", name, out);
        (void)snprintf(name, sizeof(name), "%s matmul", peak->precision);
        append_rate(peak->matmul_flops, "FLOP/s", name, out);
    }
    if (peaks->count == 0)
        buf_append_text(out, "Nothing was measured on this machine yet: `tokmark peak` does.\n");
}

/* --- the command --- */

static enum status show_known(const char *dir, const char *hardware_id, struct peaks *peaks,
                              struct err *err)
{
    struct machine_book book = {0};
    TRY(machine_book_read(dir, &book, err));
    for (size_t i = 0; i < book.peaks_count; i++)
        if (hash_id_is_same(book.peaks[i].hardware_id, hardware_id))
            (void)add(peaks, &book.peaks[i]);
    machine_book_release(&book);
    return STATUS_OK;
}

static enum status keep(const char *dir, const struct peaks *peaks, struct err *err)
{
    for (size_t i = 0; i < peaks->count; i++)
        TRY(machine_append_peak(dir, &peaks->items[i], err));
    return STATUS_OK;
}

static enum status find_peaks(const struct peak_options *options, struct peaks *peaks,
                              struct err *err)
{
    char dir[FILE_PATH_BYTES];
    struct machine_peak common = {0};
    struct buf environment CLEANUP(buf_release) = {0};
    buf_init(&environment, ENVIRONMENT_BYTES_MAX);
    TRY(environment_write(&environment, err));
    environment_hardware(environment.data, common.hardware_id);
    TRY(user_folder_data(NULL, dir, err));
    if (options->is_show)
        return show_known(dir, common.hardware_id, peaks, err);
    clock_stamp(common.at);
    (void)snprintf(common.device, sizeof(common.device), "%s", options->device);
    TRY(measure(options, &common, peaks, err));
    return keep(dir, peaks, err);
}

static enum exit_code run_peak(const struct invocation *call)
{
    struct peak_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    if (strcmp(options.device, "gpu") == 0 || strcmp(options.device, "cuda") == 0)
        options.device = "cuda:0";
    struct err err = {0};
    struct peaks *peaks = calloc(1, sizeof(*peaks));
    if (peaks == NULL)
        return EXIT_CODE_IO;
    enum status status = find_peaks(&options, peaks, &err);
    if (status != STATUS_OK) {
        command_complain(call, "%s", err.text);
        free(peaks);
        return status == STATUS_INVALID                                 ? EXIT_CODE_USAGE
               : status == STATUS_NOT_FOUND || status == STATUS_TIMEOUT ? EXIT_CODE_NOTHING
                                                                        : EXIT_CODE_IO;
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (options.format == PEAK_JSON)
        write_json(peaks, &out);
    else
        write_text(peaks, &out);
    free(peaks);
    return command_print(call, &out);
}

const struct command command_peak = {
    .name = "peak",
    .summary = "Measures what a device can do at best: matmuls, memory, launches.",
    .description =
        "Kept in the user's data folder with the hardware; from then on records say how near to it "
        "they came (mfu_percent, bandwidth_percent). Rates are the best of many looks, some 3 s "
        "for a CPU and 1.5 s for each precision elsewhere. Nothing else should run meanwhile.",
    .examples = "\n--device cuda:0\n--device cpu --engine pytorch\n--show",
    .options = peak_rows,
    .options_count = ARRAY_COUNT(peak_rows),
    .run = run_peak,
};
