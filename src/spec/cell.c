#include "spec/cell.h"

#include <inttypes.h>
#include <stddef.h>
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
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "there is no %s '%.60s'; %s", what, text,
               nearest_hint(&hint, "", text, names, names_count));
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

/* --- the fields: one row each ------------------------------------------------------------------
 *
 * Writing, reading and hashing (so comparing too) go by these rows, in this order: it is part of
 * every id. tokmark_worker/cell.py has the same rows for the Python workers, and docs/protocol.md
 * describes them; tests/protocol/test_open_fields.py compares the three. */

enum field_type {
    FIELD_TEXT,  /* char array */
    FIELD_HASH,  /* char array: hash_id() of a file's content; hashed itself without its letter */
    FIELD_WORD,  /* enum or bool: its value is the index of a word */
    FIELD_COUNT, /* uint32_t, from `least` on */
    FIELD_SEED,  /* uint64_t as text: JSON readers in other languages round integers past 2^53 */
    FIELD_MODEL, /* struct model_spec */
    FIELD_SETTINGS, /* char array: the text of a JSON object; "" = none */
    FIELD_OPTIONS,  /* the object of option_fields */
};

enum field_need {
    NEED_ALWAYS,   /* required */
    NEED_PATH,     /* required, not hashed: where a file lies does not change what is measured */
    NEED_IF_SET,   /* written, and hashed, only where it is not zero; absent or null = zero. New
                    * fields are of this kind, so that the ids of other cells stay as they are */
    NEED_UNHASHED, /* written only where it is not zero, never hashed: not what is measured */
    NEED_BESIDE, /* as NEED_IF_SET, but written too where another field of the same object is set */
};

struct field {
    const char *key;
    enum field_type type;
    enum field_need need;
    size_t offset; /* in struct cell, for options too */
    size_t bytes;  /* of the member; a text is shorter */
    uint32_t least;
    const char *const *words; /* borrowed: static */
    size_t words_count;
    const char *what; /* the field's name in errors about a word; NULL = its key */
};

#define AT(member) \
    .offset = offsetof(struct cell, member), .bytes = sizeof(((struct cell *)NULL)->member)
#define WORDS(names) .words = (names), .words_count = ARRAY_COUNT(names)

/* of keeps_defaults */
static const char *const figures_names[] = {"preset", "own"};
/* of trusts_code */
static const char *const trust_names[] = {"no", "yes"};
/* of skips_memory_check */
static const char *const memory_check_names[] = {"on", "off"};

static const struct field fields[] = {
    {"engine", FIELD_TEXT, NEED_ALWAYS, AT(engine)},
    {"framework", FIELD_TEXT, NEED_ALWAYS, AT(framework)},
    {"model", FIELD_MODEL, NEED_ALWAYS, AT(model)},
    {"model_source", FIELD_TEXT, NEED_ALWAYS, AT(model_source)},
    {"model_ref", FIELD_TEXT, NEED_IF_SET, AT(model_ref)},
    {"options", FIELD_OPTIONS, NEED_IF_SET, AT(options)},
    {"device", FIELD_TEXT, NEED_ALWAYS, AT(device)},
    {"precision", FIELD_WORD, NEED_ALWAYS, AT(precision), WORDS(precision_names)},
    {"mode", FIELD_WORD, NEED_ALWAYS, AT(mode), WORDS(mode_names)},
    {"seq_len", FIELD_COUNT, NEED_ALWAYS, AT(seq_len), .least = 1},
    {"batch_size", FIELD_COUNT, NEED_ALWAYS, AT(batch_size), .least = 1},
    {"threads", FIELD_COUNT, NEED_ALWAYS, AT(threads_count), .least = 0},
    {"seed", FIELD_SEED, NEED_ALWAYS, AT(seed)},
    {"data", FIELD_WORD, NEED_ALWAYS, AT(data), WORDS(data_names), .what = "data format"},
    {"data_hash", FIELD_HASH, NEED_ALWAYS, AT(data_hash)},
    {"weights_hash", FIELD_HASH, NEED_ALWAYS, AT(weights_hash)},
    {"data_path", FIELD_TEXT, NEED_PATH, AT(data_path)},
    {"weights_path", FIELD_TEXT, NEED_PATH, AT(weights_path)},
    {"memory_check", FIELD_WORD, NEED_UNHASHED, AT(skips_memory_check), WORDS(memory_check_names)},
};

static const struct field option_fields[] = {
    {"moe", FIELD_WORD, NEED_BESIDE, AT(options.moe), WORDS(moe_names)},
    {"compile", FIELD_WORD, NEED_BESIDE, AT(options.compile), WORDS(compile_names)},
    {"source", FIELD_WORD, NEED_BESIDE, AT(options.source), WORDS(source_names)},
    {"figures", FIELD_WORD, NEED_BESIDE, AT(options.keeps_defaults), WORDS(figures_names)},
    {"trust_remote_code", FIELD_WORD, NEED_IF_SET, AT(options.trusts_code), WORDS(trust_names)},
    {"set", FIELD_SETTINGS, NEED_IF_SET, AT(options.settings_json)},
};

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_set(const struct field *field, const struct cell *cell)
{
    const char *at = (const char *)cell + field->offset;
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_HASH:
    case FIELD_SETTINGS: return at[0] != '\0';
    case FIELD_WORD:
    case FIELD_COUNT:
    case FIELD_SEED:
        for (size_t i = 0; i < field->bytes; i++)
            if (at[i] != 0)
                return true;
        return false;
    case FIELD_MODEL: return true;
    case FIELD_OPTIONS: break;
    }
    for (size_t i = 0; i < ARRAY_COUNT(option_fields); i++)
        if (is_set(&option_fields[i], cell))
            return true;
    return false;
}

static const char *word_get(const struct field *field, const void *at)
{
    bool truth = false;
    unsigned index = 0;
    if (field->bytes == sizeof(truth)) {
        memcpy(&truth, at, sizeof(truth));
        index = truth ? 1 : 0;
    } else {
        memcpy(&index, at, sizeof(index));
    }
    ASSERT(index < field->words_count);
    return field->words[index];
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

/* `is_canonical` is the form that is hashed. */
static void write_field(const struct field *field, const struct cell *cell,
                        struct json_writer *writer, bool is_canonical)
{
    const char *at = (const char *)cell + field->offset;
    uint32_t count = 0;
    uint64_t seed = 0;
    char text[24];
    bool is_if_set = field->need == NEED_IF_SET || field->need == NEED_UNHASHED;
    bool is_unhashed = field->need == NEED_PATH || field->need == NEED_UNHASHED;
    if ((is_if_set && !is_set(field, cell)) || (is_unhashed && is_canonical))
        return;
    switch (field->type) {
    case FIELD_TEXT: json_field_string(writer, field->key, at); break;
    case FIELD_HASH:
        json_field_string(writer, field->key, is_canonical ? hash_id_digits(at) : at);
        break;
    case FIELD_WORD: json_field_string(writer, field->key, word_get(field, at)); break;
    case FIELD_COUNT:
        memcpy(&count, at, sizeof(count));
        json_field_u64(writer, field->key, count);
        break;
    case FIELD_SEED:
        memcpy(&seed, at, sizeof(seed));
        (void)snprintf(text, sizeof(text), "%" PRIu64, seed);
        json_field_string(writer, field->key, text);
        break;
    case FIELD_MODEL:
        json_put_key(writer, field->key);
        model_spec_write(&cell->model, writer);
        break;
    case FIELD_SETTINGS: write_settings(field->key, at, writer); break;
    case FIELD_OPTIONS:
        json_put_key(writer, field->key);
        json_begin_object(writer);
        for (size_t i = 0; i < ARRAY_COUNT(option_fields); i++)
            write_field(&option_fields[i], cell, writer, is_canonical);
        json_end_object(writer);
        break;
    }
}

static void write_fields(const struct cell *cell, struct json_writer *writer, bool is_canonical)
{
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        write_field(&fields[i], cell, writer, is_canonical);
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

/* One field of the message: what it is called in errors, where its value goes. */
struct reading {
    const struct field *field;
    const char *prefix; /* of the key in errors: "" or "options." */
    const json_t *value;
    char *at;
};

static enum status read_text(const struct reading *r, char *ret, size_t ret_bytes, struct err *err)
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

static enum status read_word(const struct reading *r, struct err *err)
{
    const struct field *field = r->field;
    int index = 0;
    if (!json_is_string(r->value))
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be a string", r->prefix, field->key);
    enum status status =
        word_parse(field->what != NULL ? field->what : field->key, json_string_value(r->value),
                   field->words, field->words_count, &index, err);
    if (status != STATUS_OK)
        return status;
    bool truth = index == 1;
    unsigned value = (unsigned)index;
    if (field->bytes == sizeof(truth))
        memcpy(r->at, &truth, sizeof(truth));
    else
        memcpy(r->at, &value, sizeof(value));
    return STATUS_OK;
}

static enum status read_count(const struct reading *r, struct err *err)
{
    if (!json_is_integer(r->value) || json_integer_value(r->value) < r->field->least ||
        json_integer_value(r->value) > UINT32_MAX)
        return ERR(err, STATUS_INVALID, "open: '%s%s' must be a whole number of at least %" PRIu32,
                   r->prefix, r->field->key, r->field->least);
    uint32_t count = (uint32_t)json_integer_value(r->value);
    memcpy(r->at, &count, sizeof(count));
    return STATUS_OK;
}

static enum status read_seed(const struct reading *r, struct err *err)
{
    char text[24] = "";
    uint64_t seed = 0;
    enum status status = read_text(r, text, sizeof(text), err);
    if (status == STATUS_OK)
        status = num_parse_u64(text, 0, UINT64_MAX, &seed, err);
    if (status == STATUS_OK)
        memcpy(r->at, &seed, sizeof(seed));
    return status;
}

static enum status read_model(const struct reading *r, struct cell *cell, struct err *err)
{
    enum status status = model_spec_read(r->value, &cell->model, err);
    return status == STATUS_OK ? model_spec_validate(&cell->model, err) : status;
}

/* Compactly, so that equal settings are equal text. */
static enum status read_settings(const struct reading *r, struct err *err)
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

static enum status read_fields(const struct field *rows, size_t count, const char *prefix,
                               const json_t *object, struct cell *cell, struct err *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct field *field = &rows[i];
        struct reading r = {.field = field,
                            .prefix = prefix,
                            .value = json_object_get(object, field->key),
                            .at = (char *)cell + field->offset};
        bool is_optional = field->need != NEED_ALWAYS && field->need != NEED_PATH;
        if (is_optional && (r.value == NULL || json_is_null(r.value)))
            continue;
        switch (field->type) {
        case FIELD_TEXT:
        case FIELD_HASH: status = read_text(&r, r.at, field->bytes, err); break;
        case FIELD_WORD: status = read_word(&r, err); break;
        case FIELD_COUNT: status = read_count(&r, err); break;
        case FIELD_SEED: status = read_seed(&r, err); break;
        case FIELD_MODEL: status = read_model(&r, cell, err); break;
        case FIELD_SETTINGS: status = read_settings(&r, err); break;
        case FIELD_OPTIONS:
            if (!json_is_object(r.value))
                return ERR(err, STATUS_INVALID, "open: '%s' must be an object", field->key);
            status = read_fields(option_fields, ARRAY_COUNT(option_fields), "options.", r.value,
                                 cell, err);
            break;
        }
    }
    return status;
}

enum status cell_read(const json_t *object, struct cell *ret_cell, struct err *err)
{
    struct cell cell = {0};
    if (!json_is_object(object))
        return ERR(err, STATUS_INVALID, "open: must be a JSON object");
    enum status status = read_fields(fields, ARRAY_COUNT(fields), "", object, &cell, err);
    if (status != STATUS_OK)
        return status;
    if (cell.seq_len > cell.model.max_seq_len)
        return ERR(err, STATUS_INVALID,
                   "open: 'seq_len' %" PRIu32 " is over the model's max_seq_len %" PRIu32,
                   cell.seq_len, cell.model.max_seq_len);
    *ret_cell = cell;
    return STATUS_OK;
}
