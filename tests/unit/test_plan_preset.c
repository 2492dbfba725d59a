#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "paths.h"
#include "plan/embedded.h"
#include "plan/preset.h"

static struct model_spec load(const char *name)
{
    struct model_spec spec = {0};
    struct err err = {0};
    cr_assert_eq(preset_load(name, &spec, &err), STATUS_OK, "%s: %s", name, err.text);
    return spec;
}

static uint64_t millions(uint64_t count)
{
    return (count + 500000) / 1000000;
}

/* The published counts are of the sequence length that the benchmark sets, 128. */
Test(plan_preset, parameter_counts_are_the_published_ones)
{
    const struct {
        const char *name;
        uint64_t millions;
    } published[] = {{"superintelligence", 10333},
                     {"superintelligence-1b", 971},
                     {"superintelligence-190m", 190}};
    for (size_t i = 0; i < ARRAY_COUNT(published); i++) {
        struct model_spec spec = load(published[i].name);
        spec.max_seq_len = 128;
        cr_assert_eq(millions(model_params_total(&spec)), published[i].millions, "%s: %llu",
                     published[i].name, (unsigned long long)model_params_total(&spec));
    }
    struct model_spec gpt2 = load("gpt2-124m");
    cr_assert_eq(model_params_total(&gpt2), 124439808);
    /* 4 * (attention 4 * 256^2 + 4 * 256, experts 8 * (3 * 256 * 1024 + 2 * 1024 + 256), gate
     * 8 * 256, two norms 2 * 256), two tables 2 * 8192 * 256, positions 128 * 256, last norm. */
    struct model_spec tiny = load("superintelligence-tiny");
    tiny.max_seq_len = 128;
    uint64_t layer = 4 * 65536 + 4 * 256 + 8 * (3 * 262144 + 2048 + 256) + 2048 + 512;
    cr_assert_eq(model_params_total(&tiny), 4 * layer + 2 * 8192 * 256 + 128 * 256 + 256);
}

Test(plan_preset, every_preset_loads_under_its_name_with_a_summary)
{
    cr_assert_geq(preset_count(), 6);
    for (unsigned i = 0; i < preset_count(); i++) {
        struct model_spec spec = load(preset_name(i));
        cr_assert_str_eq(spec.name, preset_name(i));
        cr_assert_geq(strlen(preset_summary(i)), 10);
        if (i > 0)
            cr_assert_neq(strcmp(preset_name(i), preset_name(i - 1)), 0);
    }
}

Test(plan_preset, summaries_and_texts_are_the_files_own)
{
    for (unsigned i = 0; i < preset_count(); i++) {
        char path[FILE_PATH_BYTES];
        (void)snprintf(path, sizeof(path), "%s/models/%s.json", TOKMARK_SOURCE_DIR, preset_name(i));
        struct buf text;
        buf_init(&text, 1 << 16);
        struct err err = {0};
        cr_assert_eq(file_read_all(path, &text, &err), STATUS_OK, "%s", err.text);
        cr_assert_str_eq(embedded_models[i].text, text.data);
        json_t *object = json_loads(text.data, 0, NULL);
        cr_assert_str_eq(preset_summary(i), json_string_value(json_object_get(object, "summary")));
        json_decref(object);
        buf_release(&text);
    }
}

Test(plan_preset, the_causal_twin_differs_in_the_mask_alone)
{
    struct model_spec tiny = load("superintelligence-tiny");
    struct model_spec twin = load("superintelligence-tiny-causal");
    cr_assert_not(tiny.is_causal);
    cr_assert(twin.is_causal);
    cr_assert_eq(twin.dim, tiny.dim);
    cr_assert_eq(twin.experts_count, tiny.experts_count);
    cr_assert_eq(model_params_total(&twin), model_params_total(&tiny));
}

Test(plan_preset, unknown_names_are_told_the_nearest)
{
    const struct {
        const char *name;
        const char *nearest;
    } wrong[] = {{"superinteligence", "'superintelligence'"},
                 {"gpt2", "'gpt2-124m'"},
                 {"superintelligence-1B", "'superintelligence-1b'"},
                 {"", "there are"},
                 {".json", "there are"},
                 {"Llama-3-8B", "there are"},
                 {"../models/gpt2-124m", "there are"}};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct model_spec spec = {.dim = 99};
        struct err err = {0};
        cr_assert_eq(preset_load(wrong[i].name, &spec, &err), STATUS_NOT_FOUND);
        cr_assert(strstr(err.text, wrong[i].nearest) != NULL, "%s", err.text);
        cr_assert_eq(spec.dim, 99, "untouched");
    }
}

Test(plan_preset, a_file_of_one_s_own_is_a_preset)
{
    struct model_spec spec = load(TOKMARK_SOURCE_DIR "/models/gpt2-124m.json");
    cr_assert_str_eq(spec.name, "gpt2-124m", "the name is the file's, on any machine");
    cr_assert_eq(spec.dim, 768);
    struct err err = {0};
    cr_assert_eq(preset_load("no/such/model.json", &spec, &err), STATUS_NOT_FOUND);
    cr_assert(strstr(err.text, "no/such/model.json") != NULL, "%s", err.text);
}

/* Writes `text` as a model file, loads it, and removes it. */
static enum status load_text(const char *text, size_t bytes, struct err *err)
{
    char dir[] = "/tmp/tokmark_preset_XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    char path[FILE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/mine.json", dir);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
    struct model_spec spec = {.dim = 99};
    enum status status = preset_load(path, &spec, err);
    cr_assert_eq(spec.dim != 99, status == STATUS_OK, "untouched on failure");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
    return status;
}

/* The gpt2 preset with `from` replaced by `to`. */
static enum status load_changed(const char *from, const char *to, struct err *err)
{
    const char *text = NULL;
    for (unsigned i = 0; i < preset_count(); i++)
        if (strcmp(preset_name(i), "gpt2-124m") == 0)
            text = embedded_models[i].text;
    const char *at = strstr(text, from);
    cr_assert_not_null(at, "the preset has no %s", from);
    char changed[4096];
    int bytes = snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to,
                         at + strlen(from));
    return load_text(changed, (size_t)bytes, err);
}

Test(plan_preset, files_are_read_strictly)
{
    const struct {
        const char *from, *to, *names;
    } cases[] = {
        {"\"dim\": 768,", "", "lacks the key 'dim'"},
        {"\"is_causal\": true,", "", "lacks the key 'is_causal'"},
        {"\"dropout\": 0.1,", "", "lacks the key 'dropout'"},
        {"\"dim\": 768", "\"dimm\": 768", "'dim'"},
        {"\"dim\": 768", "\"dim\": \"768\"", "number"},
        {"\"dim\": 768", "\"dim\": 768, \"dim\": 512", "duplicate"},
        {"\"dim\": 768", "\"dim\": 769", "heads_count"},
        {"\"dim\": 768", "\"dim\": -1", "nearest"},
        {"\"dim\": 768", "\"dim\": 1e400", "line"},
        {"\"layer\"", "\"rmsnorm\"", "did you mean"},
        {"\"is_head_tied\": true", "\"is_head_tied\": 1", "boolean"},
        {"}", "", "line"},
        {"}", "} x", "line"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = {0};
        cr_assert_neq(load_changed(cases[i].from, cases[i].to, &err), STATUS_OK, "%s",
                      cases[i].names);
        cr_assert(strstr(err.text, cases[i].names) != NULL, "'%s' lacks '%s'", err.text,
                  cases[i].names);
        cr_assert(strstr(err.text, "mine.json") != NULL, "the file is named: %s", err.text);
    }
    struct err err = {0};
    cr_assert_eq(load_changed("\"dim\": 768", "\"dim\": 1536", &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(load_changed("  \"summary\": \"GPT-2 124M: LayerNorm, GELU, learned positions, "
                              "causal, tied head\",\n",
                              "", &err),
                 STATUS_OK, "a summary is not needed: %s", err.text);
}

Test(plan_preset, hostile_files_are_errors)
{
    struct err err = {0};
    cr_assert_eq(load_text("", 0, &err), STATUS_INVALID);
    err = (struct err){0};
    cr_assert_eq(load_text("[]", 2, &err), STATUS_INVALID);
    err = (struct err){0};
    cr_assert_eq(load_text("{\"dim\":\0 1}", 11, &err), STATUS_INVALID);
    char *large = malloc(100000);
    memset(large, '[', 100000);
    err = (struct err){0};
    cr_assert_eq(load_text(large, 60000, &err), STATUS_INVALID, "deep nesting");
    err = (struct err){0};
    cr_assert_eq(load_text(large, 100000, &err), STATUS_LIMIT, "size");
    free(large);
}
