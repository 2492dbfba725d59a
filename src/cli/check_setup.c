#include "cli/check_setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/run_setup.h"
#include "cli/run_words.h"

/* Bytes of the first engine of a list: a command goes on to the end, commas and all. */
static size_t first_length(const char *list)
{
    return strncmp(list, "exec:", 5) == 0 ? strlen(list) : strcspn(list, ",");
}

/* The rule that `tokmark run` has for the value of its flag of that name. */
static enum status check_as_run(const char *flag, const char *own_flag, const char *text,
                                struct err *err)
{
    struct err cause = {0};
    for (size_t i = 0; i < command_run.options_count; i++) {
        const struct option *row = &command_run.options[i];
        if (strcmp(row->name, flag) != 0)
            continue;
        enum status status = row->check(text, &cause);
        return status == STATUS_OK ? status : ERR(err, status, "--%s: %s", own_flag, cause.text);
    }
    UNREACHABLE("`run` has a flag of that name");
}

static enum status add_side(struct check_setup *setup, const char *text, size_t length,
                            struct err *err)
{
    if (setup->sides_count == CHECK_SIDES_MAX)
        return ERR(err, STATUS_LIMIT, "--engines: the most is %d", CHECK_SIDES_MAX);
    struct check_side *side = &setup->sides[setup->sides_count];
    ASSERT(length < sizeof(side->engine));
    memcpy(side->engine, text, length);
    side->engine[length] = '\0';
    for (size_t i = 0; i < setup->sides_count; i++)
        if (strcmp(setup->sides[i].engine, side->engine) == 0)
            return ERR(err, STATUS_INVALID, "--engines: '%.80s' is there twice; leave one out",
                       side->engine);
    setup->sides_count++;
    return check_as_run("engine", "engines", side->engine, err);
}

static enum status take_engines(struct check_setup *setup, struct err *err)
{
    const struct option_texts *engines = &setup->options.engines;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < engines->count; i++) {
        const char *list = engines->items[i];
        for (;;) {
            size_t length = first_length(list);
            status = add_side(setup, list, length, err);
            list += length;
            if (status != STATUS_OK)
                return status;
            if (*list == '\0')
                break;
            list++;
        }
    }
    if (setup->sides_count == 0)
        return ERR(err, STATUS_INVALID, "needs engines; try '--engines native,pytorch'");
    bool has_low = setup->options.precisions.count > 1 ||
                   setup->options.precisions.values[0] != CELL_PRECISION_FP32;
    if (setup->sides_count == 1 && !has_low && !setup->options.is_stability)
        return ERR(err, STATUS_INVALID,
                   "one engine in fp32 has nothing to be compared with; name a second one, or "
                   "another --precision");
    return STATUS_OK;
}

/* Of values "V" and "ENGINE=V": the last that is about this engine, NULL when there is none. */
static const char *value_for(const struct check_setup *setup, const struct option_texts *values,
                             const char *engine)
{
    const char *for_all = NULL;
    const char *for_it = NULL;
    for (size_t i = 0; i < values->count; i++) {
        const char *value = values->items[i];
        const char *name = NULL;
        for (size_t side = 0; side < setup->sides_count; side++) {
            size_t length = strlen(setup->sides[side].engine);
            if (strncmp(value, setup->sides[side].engine, length) == 0 && value[length] == '=')
                name = setup->sides[side].engine;
        }
        if (name == NULL)
            for_all = value;
        else if (strcmp(name, engine) == 0)
            for_it = value + strlen(name) + 1;
    }
    return for_it != NULL ? for_it : for_all;
}

/* Weights of equal value can be made for models only whose tensors are known. */
static enum status take_preset(const struct check_setup *setup, struct cell *cell, struct err *err)
{
    if (check_setup_is_preset(cell)) {
        cell->model.dropout = 0.0;
        cell->options.keeps_defaults = false; /* a preset is always named here */
        return STATUS_OK;
    }
    if (setup->options.is_stability && setup->sides_count == 1)
        return STATUS_OK;
    return ERR(err, STATUS_INVALID,
               "--model: engines are compared on presets only, whose tensors are known");
}

static bool has_layout(const struct check_options *options)
{
    return options->parallel != NULL && strcmp(options->parallel, "none") != 0;
}

/* The cell is the one that `tokmark run` would measure, so that every rule of it holds here too. */
static enum status take_cell(struct check_setup *setup, struct check_side *side, struct err *err)
{
    const struct check_options *options = &setup->options;
    struct options_table table = command_options(&command_run, &program_list[0]);
    const struct options_seen seen = {0};
    struct run_options run = {0};
    enum status status = options_set_defaults(&table, &run, err);
    if (status != STATUS_OK)
        return status;
    const char *device = value_for(setup, &options->devices, side->engine);
    run.engine = side->engine;
    run.model = options->model;
    run.settings = options->run.settings;
    run.cell = options->run.cell;
    run.weights = value_for(setup, &options->weights, side->engine);
    /* A device of several is one only for what lays a cell out over it. */
    struct err no_list = {0};
    bool is_several =
        device != NULL && has_layout(options) && run_check_devices(device, &no_list) == STATUS_OK;
    if (is_several)
        run.devices = device;
    run.device = device != NULL && !is_several ? device : "cpu";
    if (options->data != NULL) {
        run.data = options->data;
        run.data_format = options->run.data_format;
    }
    status = check_as_run("device", "device", run.device, err);
    run.modes = (struct option_picks){.values = {options->mode}, .count = 1};
    run.precisions = (struct option_picks){.values = {CELL_PRECISION_FP32}, .count = 1};
    if (is_several)
        run.parallels = (struct option_texts){.items = {options->parallel}, .count = 1};
    run.seq_lens.count = 0;
    run.batch_sizes.count = 0;
    char number[32];
    (void)snprintf(number, sizeof(number), "%" PRIu64, options->seq_len);
    if (status == STATUS_OK)
        status = plan_axis_add(&run.seq_lens, number, UINT32_MAX, err);
    (void)snprintf(number, sizeof(number), "%" PRIu64, options->batch_size);
    if (status == STATUS_OK)
        status = plan_axis_add(&run.batch_sizes, number, UINT32_MAX, err);
    run.out = options->out;
    struct run_setup made = {0};
    if (status == STATUS_OK)
        status = run_setup_make(&run, &table, &seen, &made, err);
    if (status == STATUS_OK) {
        ASSERT(made.plan.cells_count == 1);
        side->cell = made.plan.cells[0];
        memcpy(setup->out, made.out, sizeof(setup->out));
        status = take_preset(setup, &side->cell, err);
    }
    run_setup_release(&made);
    return status;
}

enum status check_setup_make(const struct check_options *options, struct check_setup *ret_setup,
                             struct err *err)
{
    struct check_setup *setup = ret_setup;
    *setup = (struct check_setup){.options = *options};
    if (options->train_steps > 0 && options->mode != CELL_MODE_TRAIN)
        return ERR(err, STATUS_INVALID, "--train-steps needs --mode train");
    enum status status = take_engines(setup, err);
    for (size_t i = 0; status == STATUS_OK && i < setup->sides_count; i++)
        status = take_cell(setup, &setup->sides[i], err);
    bool is_laid_out = !has_layout(options);
    for (size_t i = 0; status == STATUS_OK && i < setup->sides_count; i++)
        is_laid_out |= setup->sides[i].cell.parallel[0] != '\0';
    if (status == STATUS_OK && !is_laid_out)
        return ERR(err, STATUS_INVALID,
                   "--parallel needs an engine on several devices: --device pytorch=cpu:2");
    return status;
}

bool check_setup_is_preset(const struct cell *cell)
{
    return strcmp(cell->model_source, "preset") == 0;
}

bool check_setup_wants(const struct check_setup *setup, enum cell_precision precision)
{
    for (size_t i = 0; i < setup->options.precisions.count; i++)
        if (setup->options.precisions.values[i] == (uint64_t)precision)
            return true;
    return false;
}
