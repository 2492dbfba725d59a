#include "spec/cell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_dump.h"
#include "base/nearest.h"
#include "base/num.h"

static const char *const mode_names[] = {
#define X(name, text) text,
    CELL_MODE_MAP(X)
#undef X
};

static const char *const precision_names[] = {
#define X(name, text) text,
    CELL_PRECISION_MAP(X)
#undef X
};

static const char *const data_names[] = {
#define X(name, text) text,
    CELL_DATA_MAP(X)
#undef X
};

static const char *const moe_names[] = {
#define X(name, text) text,
    CELL_MOE_MAP(X)
#undef X
};

static const char *const compile_names[] = {
#define X(name, text) text,
    CELL_COMPILE_MAP(X)
#undef X
};

static const char *const source_names[] = {
#define X(name, text) text,
    CELL_SOURCE_MAP(X)
#undef X
};

const char *cell_mode_name(enum cell_mode mode)
{
    ASSERT((size_t)mode < ARRAY_COUNT(mode_names));
    return mode_names[mode];
}

const char *cell_precision_name(enum cell_precision precision)
{
    ASSERT((size_t)precision < ARRAY_COUNT(precision_names));
    return precision_names[precision];
}

const char *cell_data_name(enum cell_data data)
{
    ASSERT((size_t)data < ARRAY_COUNT(data_names));
    return data_names[data];
}

static enum status word_parse(const char *what, const char *text, const char *const *names,
                              size_t names_count, int *ret_index, struct err *err)
{
    for (size_t i = 0; i < names_count; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_index = (int)i;
            return STATUS_OK;
        }
    }
    return ERR(err, STATUS_INVALID, "there is no %s '%.60s'; did you mean '%s'?", what, text,
               nearest_word(text, names, names_count));
}

enum status cell_mode_parse(const char *text, enum cell_mode *ret, struct err *err)
{
    int index = 0;
    enum status status = word_parse("mode", text, mode_names, ARRAY_COUNT(mode_names), &index, err);
    if (status == STATUS_OK)
        *ret = (enum cell_mode)index;
    return status;
}

enum status cell_precision_parse(const char *text, enum cell_precision *ret, struct err *err)
{
    int index = 0;
    enum status status =
        word_parse("precision", text, precision_names, ARRAY_COUNT(precision_names), &index, err);
    if (status == STATUS_OK)
        *ret = (enum cell_precision)index;
    return status;
}

enum status cell_data_parse(const char *text, enum cell_data *ret, struct err *err)
{
    int index = 0;
    enum status status =
        word_parse("data format", text, data_names, ARRAY_COUNT(data_names), &index, err);
    if (status == STATUS_OK)
        *ret = (enum cell_data)index;
    return status;
}

uint64_t cell_tokens_per_step(const struct cell *cell)
{
    uint64_t rows = cell->batch_size;
    return cell->mode == CELL_MODE_DECODE ? rows : rows * cell->seq_len;
}

/* By keeps_defaults. */
static const char *const figures_names[] = {"preset", "own"};

static bool has_options(const struct cell_options *options)
{
    return options->moe != CELL_MOE_ROUTED || options->compile != CELL_COMPILE_OFF ||
           options->source != CELL_SOURCE_AUTO || options->keeps_defaults ||
           options->settings_json[0] != '\0';
}

static void write_options(const struct cell_options *options, struct json_writer *writer)
{
    json_put_key(writer, "options");
    json_begin_object(writer);
    json_field_string(writer, "moe", moe_names[options->moe]);
    json_field_string(writer, "compile", compile_names[options->compile]);
    json_field_string(writer, "source", source_names[options->source]);
    json_field_string(writer, "figures", figures_names[options->keeps_defaults ? 1 : 0]);
    json_t *settings = json_loads(options->settings_json, 0, NULL);
    if (settings != NULL) {
        json_put_key(writer, "set");
        if (!json_dump_value(settings, writer))
            json_put_null(writer);
    }
    json_decref(settings);
    json_end_object(writer);
}

bool cell_needs_memory_of(const struct cell *cell, const struct cell *smaller)
{
    bool is_same_mode = cell->mode == smaller->mode;
    bool is_training = cell->mode == CELL_MODE_TRAIN && smaller->mode == CELL_MODE_INFER;
    if (cell->seq_len < smaller->seq_len || cell->batch_size < smaller->batch_size ||
        !(is_same_mode || is_training))
        return false;
    /* Alike in all else? Their ids are the same once shape and mode are. */
    struct cell like = *cell;
    like.mode = smaller->mode;
    like.seq_len = smaller->seq_len;
    like.batch_size = smaller->batch_size;
    like.model.max_seq_len = smaller->model.max_seq_len;
    char id[HASH_ID_BYTES];
    char smaller_id[HASH_ID_BYTES];
    cell_id(&like, id);
    cell_id(smaller, smaller_id);
    return strcmp(id, smaller_id) == 0;
}

/* What is measured, without paths. `is_canonical` is the form that is hashed. */
static void write_fields(const struct cell *cell, struct json_writer *writer, bool is_canonical)
{
    json_field_string(writer, "engine", cell->engine);
    json_field_string(writer, "framework", cell->framework);
    json_put_key(writer, "model");
    model_spec_write(&cell->model, writer);
    json_field_string(writer, "model_source", cell->model_source);
    if (cell->model_ref[0] != '\0')
        json_field_string(writer, "model_ref", cell->model_ref);
    if (has_options(&cell->options))
        write_options(&cell->options, writer);
    json_field_string(writer, "device", cell->device);
    json_field_string(writer, "precision", cell_precision_name(cell->precision));
    json_field_string(writer, "mode", cell_mode_name(cell->mode));
    json_field_u64(writer, "seq_len", cell->seq_len);
    json_field_u64(writer, "batch_size", cell->batch_size);
    json_field_u64(writer, "threads", cell->threads_count);
    /* as text: JSON readers in other languages round integers past 2^53 */
    char seed[24];
    (void)snprintf(seed, sizeof(seed), "%" PRIu64, cell->seed);
    json_field_string(writer, "seed", seed);
    json_field_string(writer, "data", cell_data_name(cell->data));
    if (is_canonical) {
        json_field_string(writer, "data_hash", hash_id_digits(cell->data_hash));
        json_field_string(writer, "weights_hash", hash_id_digits(cell->weights_hash));
    } else {
        json_field_string(writer, "data_hash", cell->data_hash);
        json_field_string(writer, "weights_hash", cell->weights_hash);
        json_field_string(writer, "data_path", cell->data_path);
        json_field_string(writer, "weights_path", cell->weights_path);
    }
}

void cell_write(const struct cell *cell, struct json_writer *writer)
{
    write_fields(cell, writer, false);
}

void cell_id(const struct cell *cell, char id[HASH_ID_BYTES])
{
    /* A string can at most grow sixfold when escaped; a cell's strings are bounded. */
    struct buf text;
    buf_init(&text, 64 * 1024);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    write_fields(cell, &writer, true);
    json_end_object(&writer);
    ASSERT(!text.failed);
    hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
}

static enum status read_string(const json_t *object, const char *key, char *ret, size_t ret_bytes,
                               struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return ERR(err, STATUS_INVALID, "open: '%s' must be a string", key);
    if (json_string_length(value) >= ret_bytes)
        return ERR(err, STATUS_LIMIT, "open: '%s' is longer than %zu bytes", key, ret_bytes - 1);
    memcpy(ret, json_string_value(value), json_string_length(value) + 1);
    return STATUS_OK;
}

static enum status read_u32(const json_t *object, const char *key, uint32_t min, uint32_t *ret,
                            struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > UINT32_MAX)
        return ERR(err, STATUS_INVALID, "open: '%s' must be a whole number of at least %" PRIu32,
                   key, min);
    *ret = (uint32_t)json_integer_value(value);
    return STATUS_OK;
}

static enum status read_seed(const json_t *object, uint64_t *ret_seed, struct err *err)
{
    char text[24] = "";
    enum status status = read_string(object, "seed", text, sizeof(text), err);
    return status == STATUS_OK ? num_parse_u64(text, 0, UINT64_MAX, ret_seed, err) : status;
}

static enum status read_words(const json_t *object, struct cell *cell, struct err *err)
{
    char word[CELL_WORD_BYTES];
    enum status status = read_string(object, "precision", word, sizeof(word), err);
    if (status == STATUS_OK)
        status = cell_precision_parse(word, &cell->precision, err);
    if (status == STATUS_OK)
        status = read_string(object, "mode", word, sizeof(word), err);
    if (status == STATUS_OK)
        status = cell_mode_parse(word, &cell->mode, err);
    if (status == STATUS_OK)
        status = read_string(object, "data", word, sizeof(word), err);
    if (status == STATUS_OK)
        status = cell_data_parse(word, &cell->data, err);
    return status;
}

static enum status read_strings(const json_t *object, struct cell *cell, struct err *err)
{
    const struct {
        const char *key;
        char *into;
        size_t into_bytes;
    } strings[] = {
        {"engine", cell->engine, sizeof(cell->engine)},
        {"framework", cell->framework, sizeof(cell->framework)},
        {"model_source", cell->model_source, sizeof(cell->model_source)},
        {"device", cell->device, sizeof(cell->device)},
        {"data_hash", cell->data_hash, sizeof(cell->data_hash)},
        {"weights_hash", cell->weights_hash, sizeof(cell->weights_hash)},
        {"data_path", cell->data_path, sizeof(cell->data_path)},
        {"weights_path", cell->weights_path, sizeof(cell->weights_path)},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(strings) && status == STATUS_OK; i++)
        status = read_string(object, strings[i].key, strings[i].into, strings[i].into_bytes, err);
    return status;
}

static enum status read_option(const json_t *options, const char *key, const char *const *names,
                               size_t names_count, int *ret_index, struct err *err)
{
    const json_t *value = json_object_get(options, key);
    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    if (!json_is_string(value))
        return ERR(err, STATUS_INVALID, "open: 'options.%s' must be a string", key);
    return word_parse(key, json_string_value(value), names, names_count, ret_index, err);
}

/* Compactly, so that equal settings are equal text. */
static enum status read_settings(const json_t *options, struct cell_options *ret_options,
                                 struct err *err)
{
    const json_t *value = json_object_get(options, "set");
    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    if (!json_is_object(value))
        return ERR(err, STATUS_INVALID, "open: 'options.set' must be an object");
    struct buf text;
    buf_init(&text, sizeof(ret_options->settings_json) - 1);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    bool is_whole = json_dump_value(value, &writer) && !text.failed;
    if (is_whole)
        memcpy(ret_options->settings_json, text.data, text.length_bytes + 1);
    buf_release(&text);
    return is_whole ? STATUS_OK
                    : ERR(err, STATUS_LIMIT, "open: 'options.set' is longer than %zu bytes",
                          sizeof(ret_options->settings_json) - 1);
}

/* Both keys may be absent: most cells have neither. */
static enum status read_model_options(const json_t *object, struct cell *cell, struct err *err)
{
    if (json_object_get(object, "model_ref") != NULL) {
        enum status status =
            read_string(object, "model_ref", cell->model_ref, sizeof(cell->model_ref), err);
        if (status != STATUS_OK)
            return status;
    }
    const json_t *options = json_object_get(object, "options");
    if (options == NULL || json_is_null(options))
        return STATUS_OK;
    if (!json_is_object(options))
        return ERR(err, STATUS_INVALID, "open: 'options' must be an object");
    int moe = 0;
    int compile = 0;
    int source = 0;
    int figures = 0;
    enum status status = read_option(options, "moe", moe_names, ARRAY_COUNT(moe_names), &moe, err);
    if (status == STATUS_OK)
        status = read_option(options, "compile", compile_names, ARRAY_COUNT(compile_names),
                             &compile, err);
    if (status == STATUS_OK)
        status =
            read_option(options, "source", source_names, ARRAY_COUNT(source_names), &source, err);
    if (status == STATUS_OK)
        status = read_option(options, "figures", figures_names, ARRAY_COUNT(figures_names),
                             &figures, err);
    cell->options.keeps_defaults = figures == 1;
    cell->options.moe = (enum cell_moe)moe;
    cell->options.compile = (enum cell_compile)compile;
    cell->options.source = (enum cell_source)source;
    return status == STATUS_OK ? read_settings(options, &cell->options, err) : status;
}

enum status cell_read(const json_t *object, struct cell *ret_cell, struct err *err)
{
    struct cell cell = {0};
    if (!json_is_object(object))
        return ERR(err, STATUS_INVALID, "open: must be a JSON object");
    enum status status = read_strings(object, &cell, err);
    if (status == STATUS_OK)
        status = model_spec_read(json_object_get(object, "model"), &cell.model, err);
    if (status == STATUS_OK)
        status = model_spec_validate(&cell.model, err);
    if (status == STATUS_OK)
        status = read_model_options(object, &cell, err);
    if (status == STATUS_OK)
        status = read_words(object, &cell, err);
    if (status == STATUS_OK)
        status = read_u32(object, "seq_len", 1, &cell.seq_len, err);
    if (status == STATUS_OK)
        status = read_u32(object, "batch_size", 1, &cell.batch_size, err);
    if (status == STATUS_OK)
        status = read_u32(object, "threads", 0, &cell.threads_count, err);
    if (status == STATUS_OK)
        status = read_seed(object, &cell.seed, err);
    if (status == STATUS_OK && cell.seq_len > cell.model.max_seq_len)
        status = ERR(err, STATUS_INVALID,
                     "open: 'seq_len' %" PRIu32 " is over the model's max_seq_len %" PRIu32,
                     cell.seq_len, cell.model.max_seq_len);
    if (status == STATUS_OK)
        *ret_cell = cell;
    return status;
}
