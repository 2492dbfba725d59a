#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/run_options.h"
#include "cli/run_setup.h"
#include "engines/engine.h"

/* The words a row's flag takes when it is not at its default, and how the cell then says it. */
struct flag_case {
    char flag[OPTION_WORD_BYTES];
    char value[OPTION_WORD_BYTES]; /* "" = none */
    char engine[32];
};

static struct flag_case case_of(const struct option *row)
{
    struct flag_case flag = {.engine = "native"};
    (void)snprintf(flag.flag, sizeof(flag.flag), "--%s", row->name);
    if (row->engines != NULL)
        (void)snprintf(flag.engine, sizeof(flag.engine), "%.*s", (int)strcspn(row->engines, " "),
                       row->engines);
    for (const struct option_choice *c = row->choices; c != NULL && c->name != NULL; c++)
        (void)snprintf(flag.value, sizeof(flag.value), "%s", c->name);
    if (row->type == OPTION_NUMBER)
        (void)snprintf(flag.value, sizeof(flag.value), "%u", 7U);
    if (row->type == OPTION_TEXT && row->bytes != 0)
        (void)snprintf(flag.value, sizeof(flag.value), "0.5"); /* of --lr; any text for others */
    return flag;
}

/* Does the `open` message of the cell say `value` under a key of the row's member? */
static void check_sent(const struct option *row, const char *value, const struct cell *cell)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    json_begin_object(&writer);
    cell_write(cell, &writer);
    json_end_object(&writer);
    json_t *sent = json_loads(out.data, 0, NULL);
    cr_assert_not_null(sent);
    const struct cell_field *field = NULL;
    size_t offset = row->offset - offsetof(struct run_options, cell);
    for (size_t i = 0; field == NULL || field->offset != offset || field->kind == CELL_KIND_OPTIONS;
         i++) {
        field = cell_field_at(i);
        cr_assert_not_null(field, "--%s writes into the cell but not to a field of it", row->name);
    }
    const json_t *object = field->is_option ? json_object_get(sent, "options") : sent;
    const json_t *found = json_object_get(object, field->key);
    if (json_is_integer(found))
        cr_assert_eq(json_integer_value(found), 7, "--%s", row->name);
    else
        cr_assert_str_eq(json_string_value(found), value, "--%s", row->name);
    json_decref(sent);
    buf_release(&out);
}

/* The setup of `tokmark run` with these words, which are all known. */
static enum status make_setup(const char *const *words, int count, struct run_setup *ret_setup,
                              struct err *err)
{
    struct options_table table = command_options(&command_run, &program_list[0]);
    struct run_options options = {0};
    struct options_seen seen;
    *ret_setup = (struct run_setup){0};
    cr_assert_eq(options_set_defaults(&table, &options, err), STATUS_OK, "%s", err->text);
    cr_assert_eq(options_parse(&table, count, words, &options, &seen, err), STATUS_OK, "%s",
                 err->text);
    return run_setup_make(&options, &table, &seen, ret_setup, err);
}

/* An option row and a row of spec/cell.def are all that a flag of a worker needs on this side. */
Test(cli_run_setup, a_row_of_options_is_all_that_a_workers_flag_needs)
{
    const size_t cell_start = offsetof(struct run_options, cell);
    struct options_table table = command_options(&command_run, &program_list[0]);
    size_t checked_count = 0;
    for (size_t i = 0; i < options_rows_count(&table); i++) {
        const struct option *row = options_row(&table, i);
        if (row->bytes == 0 || row->offset < cell_start ||
            row->offset >= cell_start + sizeof(struct cell) || row->type == OPTION_FLAG)
            continue;
        struct flag_case flag = case_of(row);
        const char *words[] = {"--engine", flag.engine, flag.flag, flag.value};
        struct err err = {0};
        struct run_setup setup;
        cr_assert_eq(make_setup(words, 4, &setup, &err), STATUS_OK, "%s", err.text);
        check_sent(row, flag.value, &setup.plan.cells[0]);
        run_setup_release(&setup);
        checked_count++;
    }
    cr_assert_geq(checked_count, 5);
}

/* What a cell is, is asked for in the same way by all that measure or explain one. */
Test(cli_run_setup, commands_that_open_a_cell_take_every_flag_of_a_worker)
{
    const struct command *const commands[] = {&command_ab, &command_noise, &command_explain,
                                              &command_profile};
    for (size_t k = 0; k < ARRAY_COUNT(commands); k++) {
        struct options_table table = command_options(commands[k], &program_list[0]);
        for (size_t i = commands[k]->options_count; i < options_rows_count(&table); i++) {
            const struct option *row = options_row(&table, i);
            if (row->bytes != 0)
                cr_assert(option_is_known(&table, row), "%s: --%s", commands[k]->name, row->name);
        }
    }
}

Test(cli_run_setup, an_engines_flag_is_refused_for_the_others)
{
    struct options_table table = command_options(&command_run, &program_list[0]);
    for (size_t i = 0; i < options_rows_count(&table); i++) {
        const struct option *row = options_row(&table, i);
        struct flag_case flag = case_of(row);
        if (row->engines == NULL)
            continue;
        for (unsigned e = 0; e < engine_list_count; e++) {
            const char *name = engine_list[e]->name;
            /* One needs the other. */
            bool is_layout =
                strcmp(row->name, "devices") == 0 || strcmp(row->name, "parallel") == 0;
            const char *words[] = {"--engine",   name,
                                   flag.flag,    flag.value[0] != '\0' ? flag.value : "/bin/python",
                                   "--devices",  "cpu:2",
                                   "--parallel", "ddp"};
            struct run_setup setup;
            struct err err = {0};
            const char *const *given = is_layout ? words + 2 : words;
            words[2] = is_layout ? "--engine" : words[2];
            words[3] = is_layout ? name : words[3];
            enum status status = make_setup(given, is_layout ? 6 : 4, &setup, &err);
            bool is_taken = strstr(row->engines, name) != NULL;
            cr_assert_eq(status == STATUS_OK, is_taken, "--%s, %s: %s", row->name, name, err.text);
            run_setup_release(&setup);
        }
    }
}

/* Makes the setup of a model of the user's own with these settings; its first cell's. */
static enum status take_settings(const char *const *settings, size_t count,
                                 char ret_json[CELL_PATH_BYTES], struct err *err)
{
    const char *words[16] = {"--engine", "exec:true", "--model", "mine:Model", "--set"};
    struct run_setup setup;
    memcpy(words + 5, settings, count * sizeof(*settings));
    TRY(make_setup(words, count > 0 ? (int)count + 5 : 4, &setup, err));
    (void)snprintf(ret_json, CELL_PATH_BYTES, "%s", setup.plan.cells[0].options.settings_json);
    run_setup_release(&setup);
    return STATUS_OK;
}

Test(cli_run_setup, a_worker_gets_the_settings_of_an_own_model_as_they_are_given)
{
    const char *given[] = {"alpha=3", "beta=two \"words\"", "alpha=0x4="};
    char json[CELL_PATH_BYTES];
    struct err err = {0};
    cr_assert_eq(take_settings(given, 3, json, &err), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(json, "{\"alpha\":\"0x4=\",\"beta\":\"two \\\"words\\\"\"}");
    cr_assert_eq(take_settings(given, 0, json, &err), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(json, "");
    /* nine texts that make 1023 bytes together, and then one more */
    char long_ones[9][128];
    const char *longest[9];
    for (int i = 0; i < 9; i++) {
        (void)snprintf(long_ones[i], sizeof(long_ones[i]), "k%d=%0*d", i, i < 8 ? 105 : 110, 0);
        longest[i] = long_ones[i];
    }
    cr_assert_eq(take_settings(longest, 9, json, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(strlen(json), 1023);
    (void)snprintf(long_ones[8], sizeof(long_ones[8]), "k8=%0*d", 111, 0);
    cr_assert_eq(take_settings(longest, 9, json, &err), STATUS_INVALID);
    cr_assert_str_eq(err.text, "--set: all settings together are over 1023 bytes");
}

/* --lr is a number of the cell: of two spellings there would be two cells, and two results. */
Test(cli_run_setup, a_learning_rate_is_one_cell_however_it_is_written)
{
    const char *const spellings[][2] = {
        {"1e-3", "0.001"}, {"0.00100", "0.001"}, {"0.0003", ""}, {"3e-4", ""}};
    for (size_t i = 0; i < ARRAY_COUNT(spellings); i++) {
        const char *words[] = {"--engine", "native", "--lr", spellings[i][0]};
        struct run_setup setup;
        struct err err = {0};
        cr_assert_eq(make_setup(words, 4, &setup, &err), STATUS_OK, "%s", err.text);
        cr_assert_str_eq(setup.plan.cells[0].options.learning_rate, spellings[i][1], "--lr %s",
                         spellings[i][0]);
        run_setup_release(&setup);
    }
}
