#include "cli/matrix.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json_write.h"
#include "base/num.h"
#include "cli/version_rule.h"
#include "registry/yaml_tree.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define LINES_MAX      64
#define WHY_BYTES      512
#define LINE_BYTES     512
#define GIB            1073741824.0
/* A card's memory is sold by names: 16 GB is 15 GiB on one card and 16 on another. */
#define MEMORY_TOLERANCE 0.1

/* What is asked, and of whom. Borrowed for a call. */
struct matrix_check {
    const struct yaml_tree *tree;
    const json_t *environment;
    struct json_writer *writer;
    enum matrix_answer worst;
    size_t lines_count;
};

struct matrix_finding {
    enum matrix_answer answer;
    char why[WHY_BYTES];
};

const char *matrix_answer_name(enum matrix_answer answer)
{
    return answer == MATRIX_MET ? "met" : answer == MATRIX_NOT_MET ? "not met" : "cannot tell";
}

static void find(struct matrix_finding *finding, enum matrix_answer answer, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void find(struct matrix_finding *finding, enum matrix_answer answer, const char *format, ...)
{
    finding->answer = answer;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(finding->why, sizeof(finding->why), format, args);
    va_end(args);
}

static const char *text_at(const json_t *object, const char *group, const char *key)
{
    return json_string_value(json_object_get(json_object_get(object, group), key));
}

/* --- cards --- */

/* Does every word of `asked` stand in `name`, letters and digits apart from the rest? */
static bool has_words(const char *name, const char *asked, size_t asked_bytes)
{
    for (size_t at = 0; at < asked_bytes;) {
        size_t length = 0;
        while (at + length < asked_bytes && isalnum((unsigned char)asked[at + length]))
            length++;
        bool is_found = length == 0;
        for (const char *place = name; !is_found && *place != '\0'; place++)
            is_found = strncasecmp(place, asked + at, length) == 0 &&
                       !isalnum((unsigned char)place[length]) &&
                       (place == name || !isalnum((unsigned char)place[-1]));
        if (!is_found)
            return false;
        at += length > 0 ? length : 1;
    }
    return true;
}

/* "RTX 4090 24GB": the bytes of its name without the memory, which is 0 where none is given. */
static size_t split_memory(const char *asked, double *ret_gib)
{
    size_t length = strlen(asked);
    *ret_gib = 0;
    const char *word = strrchr(asked, ' ');
    char *unit = NULL;
    unsigned long gb = word != NULL ? strtoul(word + 1, &unit, 10) : 0;
    if (gb > 0 && (strcasecmp(unit, "GB") == 0 || strcasecmp(unit, "GiB") == 0)) {
        *ret_gib = (double)gb;
        length = (size_t)(word - asked);
    }
    return length;
}

static bool is_card(const json_t *card, const char *asked)
{
    double gib = 0;
    size_t name_bytes = split_memory(asked, &gib);
    const char *name = json_string_value(json_object_get(card, "name"));
    double own = (double)json_integer_value(json_object_get(card, "memory_bytes")) / GIB;
    return name != NULL && has_words(name, asked, name_bytes) &&
           (gib == 0 || fabs(own / gib - 1) <= MEMORY_TOLERANCE);
}

static bool is_cpu_only(const char *asked)
{
    return strcasecmp(asked, "CPU-only") == 0 || strcasecmp(asked, "CPU only") == 0 ||
           strcasecmp(asked, "CPU") == 0 || strcasecmp(asked, "none") == 0;
}

static bool has_nvidia_by_pci(const json_t *gpu)
{
    const json_t *pci = json_object_get(gpu, "pci");
    for (size_t i = 0; i < json_array_size(pci); i++) {
        const char *maker = json_string_value(json_object_get(json_array_get(pci, i), "maker"));
        if (maker != NULL && strcmp(maker, "NVIDIA") == 0)
            return true;
    }
    return false;
}

/* Of one entry of the list; true when it is met. */
static bool match_gpu(const json_t *gpu, const char *asked, struct matrix_finding *finding)
{
    const json_t *cards = json_object_get(gpu, "cards");
    if (is_cpu_only(asked)) {
        if (json_array_size(cards) > 0 || has_nvidia_by_pci(gpu))
            return false;
        find(finding, MATRIX_MET, "%s: no NVIDIA card is here", asked);
        return true;
    }
    for (size_t i = 0; i < json_array_size(cards); i++) {
        const json_t *card = json_array_get(cards, i);
        if (!is_card(card, asked))
            continue;
        find(finding, MATRIX_MET, "%s: %s", asked,
             json_string_value(json_object_get(card, "name")));
        return true;
    }
    return false;
}

/* Any of the list will do. */
static void answer_gpu(const struct matrix_check *matrix, size_t value,
                       struct matrix_finding *finding)
{
    const struct yaml_tree *tree = matrix->tree;
    const json_t *gpu = json_object_get(matrix->environment, "gpu");
    const json_t *cards = json_object_get(gpu, "cards");
    value = yaml_resolve(tree, value);
    bool is_list = value != YAML_NONE && tree->nodes[value].kind == YAML_SEQUENCE;
    for (size_t item = is_list ? tree->nodes[value].first_child : value; item != YAML_NONE;
         item = is_list ? tree->nodes[item].next : YAML_NONE)
        if (tree->nodes[item].kind == YAML_SCALAR && match_gpu(gpu, yaml_text(tree, item), finding))
            return;
    const char *name = json_string_value(json_object_get(json_array_get(cards, 0), "name"));
    const char *why = json_string_value(json_object_get(gpu, "why_none"));
    if (json_array_size(cards) > 0)
        find(finding, MATRIX_NOT_MET, "the first of %zu here is %s", json_array_size(cards),
             name != NULL ? name : "a card without a name");
    else if (has_nvidia_by_pci(gpu))
        find(finding, MATRIX_CANNOT_TELL,
             "an NVIDIA card is here, but its library does not tell (%s)",
             why != NULL ? why : "no_nvml");
    else
        find(finding, MATRIX_NOT_MET, "no NVIDIA card is here");
}

/* --- versions --- */

static const char *const interpreters[] = {"worker", "pytorch", "jax"};

/* `whose`: "torch in /usr/bin/python3". Adds to what other interpreters said: the worse one stays.
 */
static void answer_version(const char *rule, const char *whose, const char *version,
                           struct matrix_finding *finding)
{
    bool is_met = false;
    if (finding->answer == MATRIX_NOT_MET)
        return;
    if (!version_rule_check(rule, version, &is_met))
        find(finding, MATRIX_CANNOT_TELL, "'%.60s' or version '%.60s' (%.200s) cannot be read",
             rule, version, whose);
    else
        find(finding, is_met ? MATRIX_MET : MATRIX_NOT_MET, "%.200s is %.60s", whose, version);
}

static void answer_python(const struct matrix_check *matrix, const char *rule,
                          struct matrix_finding *finding)
{
    find(finding, MATRIX_CANNOT_TELL, "no Python was found");
    for (size_t i = 0; i < ARRAY_COUNT(interpreters); i++) {
        const char *version = text_at(matrix->environment, interpreters[i], "python");
        const char *path = text_at(matrix->environment, interpreters[i], "executable");
        if (version != NULL)
            answer_version(rule, path != NULL ? path : interpreters[i], version, finding);
    }
}

static bool is_missing(const json_t *interpreter, const char *package)
{
    const json_t *missing = json_object_get(interpreter, "missing");
    for (size_t i = 0; i < json_array_size(missing); i++) {
        const char *name = json_string_value(json_array_get(missing, i));
        if (name != NULL && strcmp(name, package) == 0)
            return true;
    }
    return false;
}

static void answer_package(const struct matrix_check *matrix, const char *package, const char *rule,
                           struct matrix_finding *finding)
{
    find(finding, MATRIX_CANNOT_TELL, "tokmark does not look for %.60s here", package);
    for (size_t i = 0; i < ARRAY_COUNT(interpreters); i++) {
        const json_t *interpreter = json_object_get(matrix->environment, interpreters[i]);
        const char *path = json_string_value(json_object_get(interpreter, "executable"));
        const char *version =
            json_string_value(json_object_get(json_object_get(interpreter, "packages"), package));
        char whose[WHY_BYTES];
        (void)snprintf(whose, sizeof(whose), "%.60s in %.200s", package,
                       path != NULL ? path : interpreters[i]);
        if (version != NULL)
            answer_version(rule, whose, version, finding);
        else if (is_missing(interpreter, package))
            find(finding, MATRIX_NOT_MET, "no %s", whose);
    }
}

static void answer_cuda(const struct matrix_check *matrix, const char *rule,
                        struct matrix_finding *finding)
{
    const json_t *gpu = json_object_get(matrix->environment, "gpu");
    const char *version = json_string_value(json_object_get(gpu, "cuda"));
    const char *why = json_string_value(json_object_get(gpu, "why_none"));
    finding->answer = MATRIX_MET;
    if (version != NULL)
        answer_version(rule, "the newest CUDA that the driver runs", version, finding);
    else
        find(finding, MATRIX_CANNOT_TELL, "no NVIDIA driver tells (%s): nothing here uses CUDA",
             why != NULL ? why : "no_nvml");
}

static void answer_software(const struct matrix_check *matrix, const char *key, size_t value,
                            struct matrix_finding *finding)
{
    value = yaml_resolve(matrix->tree, value);
    if (value == YAML_NONE || matrix->tree->nodes[value].kind != YAML_SCALAR) {
        find(finding, MATRIX_CANNOT_TELL, "a version constraint is one text: \">=2.2,<3\"");
        return;
    }
    const char *rule = yaml_text(matrix->tree, value);
    if (strcmp(key, "python") == 0)
        answer_python(matrix, rule, finding);
    else if (strcmp(key, "cuda") == 0)
        answer_cuda(matrix, rule, finding);
    else
        answer_package(matrix, key, rule, finding);
}

/* --- lines --- */

static void put_line(struct matrix_check *matrix, const char *group, size_t key, size_t value)
{
    const struct yaml_tree *tree = matrix->tree;
    const struct yaml_node *node = &tree->nodes[value];
    char line[LINE_BYTES];
    bool is_block = node->kind == YAML_SEQUENCE && !node->is_flow;
    size_t bytes = is_block || node->end < node->start ? 0 : node->end - node->start;
    (void)snprintf(line, sizeof(line), "%s.%.100s: %.*s", group, yaml_text(tree, key),
                   (int)(bytes < 300 ? bytes : 300), is_block ? "" : tree->bytes + node->start);
    struct matrix_finding finding = {.answer = MATRIX_CANNOT_TELL};
    if (strcmp(group, "software") == 0)
        answer_software(matrix, yaml_text(tree, key), value, &finding);
    else if (strcmp(group, "hardware") == 0 && yaml_has_text(tree, key, "gpu"))
        answer_gpu(matrix, value, &finding);
    else
        find(&finding, MATRIX_CANNOT_TELL, "tokmark does not look for this");
    json_begin_object(matrix->writer);
    json_field_string(matrix->writer, "line", line);
    json_field_string(matrix->writer, "answer", matrix_answer_name(finding.answer));
    json_field_string(matrix->writer, "why", finding.why);
    json_end_object(matrix->writer);
    if (matrix->worst == MATRIX_MET || finding.answer == MATRIX_NOT_MET)
        matrix->worst = finding.answer;
    matrix->lines_count++;
}

static enum status put_lines(struct matrix_check *matrix, const char *path, struct err *err)
{
    const struct yaml_tree *tree = matrix->tree;
    size_t root = tree->first_root;
    if (root == YAML_NONE || tree->nodes[root].kind != YAML_MAPPING)
        return ERR(err, STATUS_INVALID, "'%.300s' is no matrix: hardware and software, a list each",
                   path);
    for (size_t key = tree->nodes[root].first_child; key != YAML_NONE;) {
        size_t value = tree->nodes[key].next;
        size_t group = yaml_resolve(tree, value);
        if (group == YAML_NONE || tree->nodes[group].kind != YAML_MAPPING)
            return ERR(err, STATUS_INVALID, "'%.300s': what is asked of '%.60s' is no mapping",
                       path, yaml_text(tree, key));
        for (size_t name = tree->nodes[group].first_child;
             name != YAML_NONE && matrix->lines_count < LINES_MAX;) {
            size_t asked = tree->nodes[name].next;
            put_line(matrix, yaml_text(tree, key), name, asked);
            name = tree->nodes[asked].next;
        }
        key = tree->nodes[value].next;
    }
    if (matrix->lines_count == 0)
        return ERR(err, STATUS_INVALID, "'%.300s' asks for nothing", path);
    return STATUS_OK;
}

static enum status answer_text(const char *path, const struct buf *text, const json_t *environment,
                               struct buf *ret_json, enum matrix_answer *ret_answer,
                               struct err *err)
{
    struct yaml_tree tree CLEANUP(yaml_release) = {0};
    struct err cause = {0};
    if (yaml_parse(text->data, text->length_bytes, &tree, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "'%.300s': %.600s", path, cause.text);
    char id[HASH_ID_BYTES];
    hash_id(text->data, text->length_bytes, id);
    const char *name = strrchr(path, '/');
    struct buf json CLEANUP(buf_release) = {0};
    buf_init(&json, MATRIX_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &json);
    struct matrix_check matrix = {.tree = &tree, .environment = environment, .writer = &writer};
    json_begin_object(&writer);
    json_field_string(&writer, "file", name != NULL ? name + 1 : path);
    json_field_string(&writer, "hash", id);
    json_put_key(&writer, "lines");
    json_begin_array(&writer);
    TRY(put_lines(&matrix, path, err));
    json_end_array(&writer);
    json_field_string(&writer, "answer", matrix_answer_name(matrix.worst));
    json_end_object(&writer);
    buf_append(ret_json, json.data, json.length_bytes);
    if (json.failed || ret_json->failed)
        return ERR(err, STATUS_LIMIT, "'%.300s' asks for too much", path);
    *ret_answer = matrix.worst;
    return STATUS_OK;
}

enum status matrix_answer_file(const char *path, const char *environment, struct buf *ret_json,
                               enum matrix_answer *ret_answer, struct err *err)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, FILE_BYTES_MAX);
    TRY(file_read_all(path, &text, err));
    json_t *object = json_loads(environment, 0, NULL);
    enum status status = answer_text(path, &text, object, ret_json, ret_answer, err);
    json_decref(object);
    return status;
}

enum status matrix_check_file(const char *path, struct err *err)
{
    struct buf json CLEANUP(buf_release) = {0};
    enum matrix_answer answer = MATRIX_MET;
    buf_init(&json, MATRIX_BYTES_MAX);
    return matrix_answer_file(path, "{}", &json, &answer, err);
}
