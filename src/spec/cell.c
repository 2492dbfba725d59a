#include "spec/cell.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json_dump.h"
#include "base/nearest.h"
#include "base/num.h"
#include "spec/device.h"

/* MEMBER_words: what the values of a WORD or FLAG are called. */
#define WORDS_OF_TEXT(member, bytes)
#define WORDS_OF_HASH(member, bytes)
#define WORDS_OF_WORD(member, ...) static const char *const member##_words[] = {__VA_ARGS__};
#define WORDS_OF_FLAG(member, ...) WORDS_OF_WORD(member, __VA_ARGS__)
#define WORDS_OF_COUNT(member, least)
#define WORDS_OF_SEED(member, bytes)
#define WORDS_OF_MODEL(member, none)
#define WORDS_OF_SETTINGS(member, bytes)
#define WORDS_OF_OPTIONS(member, none)
#define W(constant, word)                               word,
#define CELL(member, key, kind, need, limit, meaning)   WORDS_OF_##kind(member, limit)
#define OPTION(member, key, kind, need, limit, meaning) WORDS_OF_##kind(member, limit)
#include "spec/cell.def"

/* Over any that could be meant: a run may be made to diverge. */
#define LEARNING_RATE_MIN 1e-12
#define LEARNING_RATE_MAX 1e12

_Static_assert(ARRAY_COUNT(mode_words) == CELL_MODE_COUNT, "cell.h counts other modes");
_Static_assert(ARRAY_COUNT(precision_words) == CELL_PRECISION_COUNT,
               "cell.h counts other precisions");

#define LIMIT_OF_TEXT(member, bytes)     0, NULL, 0
#define LIMIT_OF_HASH(member, bytes)     0, NULL, 0
#define LIMIT_OF_WORD(member, words)     0, member##_words, ARRAY_COUNT(member##_words)
#define LIMIT_OF_FLAG(member, words)     LIMIT_OF_WORD(member, words)
#define LIMIT_OF_COUNT(member, least)    least, NULL, 0
#define LIMIT_OF_SEED(member, bytes)     0, NULL, 0
#define LIMIT_OF_MODEL(member, none)     0, NULL, 0
#define LIMIT_OF_SETTINGS(member, bytes) 0, NULL, 0
#define LIMIT_OF_OPTIONS(member, none)   0, NULL, 0

#define ROW(key, is_option, kind, need, member, limit, meaning)                            \
    {                                                                                      \
        key, is_option, CELL_KIND_##kind, CELL_NEED_##need, offsetof(struct cell, member), \
            sizeof(((struct cell *)NULL)->member), limit, meaning                          \
    }

/* Writing, reading and hashing (so comparing too) go by these rows, in this order. */
static const struct cell_field fields[] = {
#define CELL(member, key, kind, need, limit, meaning) \
    ROW(key, false, kind, need, member, LIMIT_OF_##kind(member, limit), meaning),
#define OPTION(member, key, kind, need, limit, meaning) \
    ROW(key, true, kind, need, options.member, LIMIT_OF_##kind(member, limit), meaning),
#include "spec/cell.def"
};

const struct cell_field *cell_field_at(size_t index)
{
    return index < ARRAY_COUNT(fields) ? &fields[index] : NULL;
}

const char *cell_mode_name(enum cell_mode mode)
{
    ASSERT((size_t)mode < ARRAY_COUNT(mode_words));
    return mode_words[mode];
}

const char *cell_precision_name(enum cell_precision precision)
{
    ASSERT((size_t)precision < ARRAY_COUNT(precision_words));
    return precision_words[precision];
}

struct parallel cell_layout(const struct cell *cell)
{
    return parallel_of(cell->parallel, device_count(cell->device));
}

const char *cell_parallel_name(const struct cell *cell)
{
    return cell->parallel[0] != '\0' ? cell->parallel : "none";
}

static void put_layout(const struct cell *cell, const char *before, char text[2 * CELL_WORD_BYTES])
{
    (void)snprintf(text, 2 * CELL_WORD_BYTES, "%s%s%s", before,
                   cell->parallel[0] != '\0' ? " " : "", cell->parallel);
}

void cell_precision_text(const struct cell *cell, char text[2 * CELL_WORD_BYTES])
{
    put_layout(cell, cell_precision_name(cell->precision), text);
}

void cell_device_text(const struct cell *cell, char text[2 * CELL_WORD_BYTES])
{
    put_layout(cell, cell->device, text);
}

static enum cell_optimizer_dtype param_dtype(const struct cell *cell)
{
    return cell->precision == CELL_PRECISION_BF16_PURE ? CELL_OPTIMIZER_DTYPE_BF16
                                                       : CELL_OPTIMIZER_DTYPE_FP32;
}

void cell_settle(struct cell *cell)
{
    struct cell_options *options = &cell->options;
    bool is_train = cell->mode == CELL_MODE_TRAIN;
    if (!is_train)
        options->recompute = CELL_RECOMPUTE_OFF;
    if (!is_train || options->accumulate_count == 1)
        options->accumulate_count = 0;
    if (!is_train || options->optimizer_dtype == param_dtype(cell))
        options->optimizer_dtype = CELL_OPTIMIZER_DTYPE_AUTO;
}

const char *cell_recompute_name(enum cell_recompute recompute)
{
    ASSERT((size_t)recompute < ARRAY_COUNT(recompute_words));
    return recompute_words[recompute];
}

uint32_t cell_accumulate(const struct cell *cell)
{
    return cell->options.accumulate_count > 0 ? cell->options.accumulate_count : 1;
}

const char *cell_optimizer_dtype_name(const struct cell *cell)
{
    enum cell_optimizer_dtype dtype = cell->options.optimizer_dtype;
    return optimizer_dtype_words[dtype != CELL_OPTIMIZER_DTYPE_AUTO ? dtype : param_dtype(cell)];
}

const char *cell_data_name(enum cell_data data)
{
    ASSERT((size_t)data < ARRAY_COUNT(data_words));
    return data_words[data];
}

uint64_t cell_tokens_per_step(const struct cell *cell)
{
    uint64_t rows = cell->batch_size;
    return cell->mode == CELL_MODE_DECODE ? rows : rows * cell->seq_len;
}

enum status cell_parse_learning_rate(const char *text, double *ret_rate, struct err *err)
{
    return num_parse_double(text, LEARNING_RATE_MIN, LEARNING_RATE_MAX, ret_rate, err);
}

double cell_learning_rate(const struct cell *cell)
{
    double rate = CELL_LEARNING_RATE;
    struct err err = {0};
    if (cell->options.learning_rate[0] != '\0' &&
        cell_parse_learning_rate(cell->options.learning_rate, &rate, &err) != STATUS_OK)
        return CELL_LEARNING_RATE;
    return rate;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_set(const struct cell_field *field, const struct cell *cell)
{
    const char *at = (const char *)cell + field->offset;
    switch (field->kind) {
    case CELL_KIND_TEXT:
    case CELL_KIND_HASH:
    case CELL_KIND_SETTINGS: return at[0] != '\0';
    case CELL_KIND_WORD:
    case CELL_KIND_FLAG:
    case CELL_KIND_COUNT:
    case CELL_KIND_SEED:
        for (size_t i = 0; i < field->bytes; i++)
            if (at[i] != 0)
                return true;
        return false;
    case CELL_KIND_MODEL: return true;
    case CELL_KIND_OPTIONS: return cell_has_options(cell);
    }
    UNREACHABLE("no kind of field");
}

static const char *word_get(const struct cell_field *field, const void *at)
{
    bool truth = false;
    unsigned index = 0;
    if (field->kind == CELL_KIND_FLAG) {
        memcpy(&truth, at, sizeof(truth));
        index = truth ? 1 : 0;
    } else {
        memcpy(&index, at, sizeof(index));
    }
    ASSERT(index < field->words_count);
    return field->words[index];
}

bool cell_has_options(const struct cell *cell)
{
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        if (fields[i].is_option && is_set(&fields[i], cell))
            return true;
    return false;
}

static void write_settings(const char *key, const char *text, struct json_writer *writer)
{
    json_t *settings = json_loads(text, 0, NULL);
    if (settings == NULL)
        return;
    json_put_key(writer, key);
    if (!json_dump_value(settings, writer))
        json_put_null(writer);
    json_decref(settings);
}

static void write_fields(const struct cell *cell, struct json_writer *writer, bool is_option,
                         bool is_canonical);

/* `is_canonical` is the form that is hashed. */
static void write_field(const struct cell_field *field, const struct cell *cell,
                        struct json_writer *writer, bool is_canonical)
{
    const char *at = (const char *)cell + field->offset;
    uint32_t count = 0;
    uint64_t seed = 0;
    char text[CELL_SEED_BYTES];
    bool is_if_set = field->need == CELL_NEED_IF_SET || field->need == CELL_NEED_UNHASHED;
    bool is_unhashed = field->need == CELL_NEED_PATH || field->need == CELL_NEED_UNHASHED;
    if ((is_if_set && !is_set(field, cell)) || (is_unhashed && is_canonical))
        return;
    switch (field->kind) {
    case CELL_KIND_TEXT: json_field_string(writer, field->key, at); break;
    case CELL_KIND_HASH:
        json_field_string(writer, field->key, is_canonical ? hash_id_digits(at) : at);
        break;
    case CELL_KIND_WORD:
    case CELL_KIND_FLAG: json_field_string(writer, field->key, word_get(field, at)); break;
    case CELL_KIND_COUNT:
        memcpy(&count, at, sizeof(count));
        json_field_u64(writer, field->key, count);
        break;
    case CELL_KIND_SEED:
        memcpy(&seed, at, sizeof(seed));
        (void)snprintf(text, sizeof(text), "%" PRIu64, seed);
        json_field_string(writer, field->key, text);
        break;
    case CELL_KIND_MODEL:
        json_put_key(writer, field->key);
        model_spec_write(&cell->model, writer);
        break;
    case CELL_KIND_SETTINGS: write_settings(field->key, at, writer); break;
    case CELL_KIND_OPTIONS:
        json_put_key(writer, field->key);
        json_begin_object(writer);
        write_fields(cell, writer, true, is_canonical);
        json_end_object(writer);
        break;
    }
}

static void write_fields(const struct cell *cell, struct json_writer *writer, bool is_option,
                         bool is_canonical)
{
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        if (fields[i].is_option == is_option)
            write_field(&fields[i], cell, writer, is_canonical);
}

void cell_write(const struct cell *cell, struct json_writer *writer)
{
    write_fields(cell, writer, false, false);
}

void cell_id(const struct cell *cell, char id[HASH_ID_BYTES])
{
    /* A string can at most grow sixfold when escaped; a cell's strings are bounded. */
    struct buf text;
    buf_init(&text, 64 * 1024);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    write_fields(cell, &writer, false, true);
    json_end_object(&writer);
    if (text.failed)
        out_of_memory("a cell's id");
    hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
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

/* --- reading ---------------------------------------------------------------------------------- */

/* One field of the message: what it is called in errors, where its value goes. All borrowed for the
 * call. */
struct cell_reading {
    const struct cell_field *field;
    const char *prefix; /* of the key in errors: "" or "options." */
    const json_t *value;
    char *at;
};

static enum status read_text(const struct cell_reading *r, char *ret, size_t ret_bytes,
                             struct err *err)
{
    if (!json_is_string(r->value))
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be a string", r->prefix, r->field->key);
    size_t length = json_string_length(r->value);
    if (length >= ret_bytes)
        return ERR(err, STATUS_LIMIT, "open: '%s%s' is longer than %zu bytes", r->prefix,
                   r->field->key, ret_bytes - 1);
    memcpy(ret, json_string_value(r->value), length + 1);
    return STATUS_OK;
}

static enum status read_word(const struct cell_reading *r, struct err *err)
{
    const struct cell_field *field = r->field;
    if (!json_is_string(r->value))
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be a string", r->prefix, field->key);
    const char *word = json_string_value(r->value);
    size_t index = 0;
    while (index < field->words_count && strcmp(field->words[index], word) != 0)
        index++;
    if (index == field->words_count) {
        struct nearest_hint hint;
        return ERR(err, STATUS_INVALID, "open: there is no %s%s '%.60s'; %s", r->prefix, field->key,
                   word, nearest_hint(&hint, "", word, field->words, field->words_count));
    }
    bool truth = index == 1;
    unsigned value = (unsigned)index;
    if (field->kind == CELL_KIND_FLAG)
        memcpy(r->at, &truth, sizeof(truth));
    else
        memcpy(r->at, &value, sizeof(value));
    return STATUS_OK;
}

static enum status read_count(const struct cell_reading *r, struct err *err)
{
    if (!json_is_integer(r->value) || json_integer_value(r->value) < r->field->least ||
        json_integer_value(r->value) > UINT32_MAX)
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be a whole number of at least %" PRIu32,
                   r->prefix, r->field->key, r->field->least);
    uint32_t count = (uint32_t)json_integer_value(r->value);
    memcpy(r->at, &count, sizeof(count));
    return STATUS_OK;
}

static enum status read_seed(const struct cell_reading *r, struct err *err)
{
    char text[CELL_SEED_BYTES] = "";
    uint64_t seed = 0;
    enum status status = read_text(r, text, sizeof(text), err);
    if (status == STATUS_OK)
        status = num_parse_u64(text, 0, UINT64_MAX, &seed, err);
    if (status == STATUS_OK)
        memcpy(r->at, &seed, sizeof(seed));
    return status;
}

static enum status read_model(const struct cell_reading *r, struct cell *cell, struct err *err)
{
    enum status status = model_spec_read(r->value, &cell->model, err);
    return status == STATUS_OK ? model_spec_validate(&cell->model, err) : status;
}

/* Compactly, so that equal settings are equal text. */
static enum status read_settings(const struct cell_reading *r, struct err *err)
{
    if (!json_is_object(r->value))
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be an object", r->prefix, r->field->key);
    struct buf text;
    buf_init(&text, r->field->bytes - 1);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    bool is_whole = json_dump_value(r->value, &writer) && !text.failed;
    if (is_whole)
        memcpy(r->at, text.data, text.length_bytes + 1);
    buf_release(&text);
    return is_whole ? STATUS_OK
                    : ERR(err, STATUS_LIMIT, "open: '%s%s' is longer than %zu bytes", r->prefix,
                          r->field->key, r->field->bytes - 1);
}

static enum status read_fields(const json_t *object, struct cell *cell, bool is_option,
                               struct err *err);

static enum status read_field(const struct cell_reading *r, struct cell *cell, struct err *err)
{
    switch (r->field->kind) {
    case CELL_KIND_TEXT:
    case CELL_KIND_HASH: return read_text(r, r->at, r->field->bytes, err);
    case CELL_KIND_WORD:
    case CELL_KIND_FLAG: return read_word(r, err);
    case CELL_KIND_COUNT: return read_count(r, err);
    case CELL_KIND_SEED: return read_seed(r, err);
    case CELL_KIND_MODEL: return read_model(r, cell, err);
    case CELL_KIND_SETTINGS: return read_settings(r, err);
    case CELL_KIND_OPTIONS: break;
    }
    if (!json_is_object(r->value))
        return ERR(err, STATUS_INVALID, "open: '%s' must be an object", r->field->key);
    return read_fields(r->value, cell, true, err);
}

static enum status read_fields(const json_t *object, struct cell *cell, bool is_option,
                               struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        const struct cell_field *field = &fields[i];
        if (field->is_option != is_option)
            continue;
        struct cell_reading r = {.field = field,
                                 .prefix = is_option ? "options." : "",
                                 .value = json_object_get(object, field->key),
                                 .at = (char *)cell + field->offset};
        bool is_optional = field->need != CELL_NEED_ALWAYS && field->need != CELL_NEED_PATH;
        if (is_optional && (r.value == NULL || json_is_null(r.value)))
            continue;
        enum status status = read_field(&r, cell, err);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status cell_read(const json_t *object, struct cell *ret_cell, struct err *err)
{
    struct cell cell = {0};
    if (!json_is_object(object))
        return ERR(err, STATUS_INVALID, "open: must be a JSON object");
    enum status status = read_fields(object, &cell, false, err);
    if (status != STATUS_OK)
        return status;
    if (cell.seq_len > cell.model.max_seq_len)
        return ERR(err, STATUS_INVALID,
                   "open: 'seq_len' %" PRIu32 " is over the model's max_seq_len %" PRIu32,
                   cell.seq_len, cell.model.max_seq_len);
    struct err cause = {0};
    double rate = 0;
    if (cell.options.learning_rate[0] != '\0' &&
        cell_parse_learning_rate(cell.options.learning_rate, &rate, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "open: 'options.lr': %s", cause.text);
    if (cell.parallel[0] != '\0' && parallel_settle(cell.parallel, device_count(cell.device),
                                                    cell.parallel, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "open: 'parallel': %s", cause.text);
    *ret_cell = cell;
    return STATUS_OK;
}
