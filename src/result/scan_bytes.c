#include "result/scan_bytes.h"

#include <stddef.h>

#include "result/scan.h"

#define FAULT_ESCAPE "a string has an escape that JSON does not know"
#define FAULT_STRING "a string does not end, or has a control character in it"
#define FAULT_VALUE  "a value is missing, or is none that JSON knows"
#define FAULT_DEPTH  "it nests too deep"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The place behind an escape; `at` is its backslash. */
static const char *escape_end(const char *at)
{
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return at + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (!is_hex(at[i]))
                return NULL;
        return at + 6;
    default: return NULL;
    }
}

const char *scan_escaped_string_end(const char *at, const char **fault)
{
    while (*at == '\\') {
        at = escape_end(at);
        if (at == NULL) {
            *fault = FAULT_ESCAPE;
            return NULL;
        }
        at = scan_find_special(at);
    }
    if (*at == '"')
        return at + 1;
    *fault = FAULT_STRING;
    return NULL;
}

static const char *number_end(const char *at, bool *ret_is_plain, const char **fault)
{
    const char *first = *at == '-' ? at + 1 : at;
    const char *end = scan_digits_end(first);
    bool is_sound = end > first && (*first != '0' || end == first + 1);
    *ret_is_plain = first == at && *end != '.' && *end != 'e' && *end != 'E';
    if (*end == '.') {
        first = end + 1;
        end = scan_digits_end(first);
        is_sound &= end > first;
    }
    if (*end == 'e' || *end == 'E') {
        first = end[1] == '+' || end[1] == '-' ? end + 2 : end + 1;
        end = scan_digits_end(first);
        is_sound &= end > first;
    }
    if (is_sound)
        return end;
    *fault = FAULT_VALUE;
    return NULL;
}

/* What is open around the place where the scan stands. */
struct nest {
    size_t depth, depth_max;
    bool is_plain;
    bool is_object;                        /* the innermost is one, else an array */
    uint64_t objects[SCAN_DEPTH_MAX / 64]; /* a bit a level */
};

static const char *skip_space(struct nest *nest, const char *at)
{
    const char *end = scan_space_end(at);
    nest->is_plain &= end == at;
    return end;
}

static void open_level(struct nest *nest, bool is_object)
{
    uint64_t bit = 1ULL << nest->depth % 64;
    uint64_t *word = &nest->objects[nest->depth / 64];
    uint64_t above = nest->depth % 64 == 0 ? 0 : *word & (bit - 1);
    *word = is_object ? above | bit : above;
    nest->is_object = is_object;
    nest->depth++;
    if (nest->depth > nest->depth_max)
        nest->depth_max = nest->depth;
}

static void close_level(struct nest *nest)
{
    nest->depth--;
    if (nest->depth > 0)
        nest->is_object = nest->objects[(nest->depth - 1) / 64] >> (nest->depth - 1) % 64 & 1;
}

/* A key of an object and its colon. */
static const char *key_end(struct nest *nest, const char *at, const char **fault)
{
    bool is_plain;
    if (*at != '"') {
        *fault = "a key is missing";
        return NULL;
    }
    at = scan_string_end(at + 1, &is_plain, fault);
    if (at == NULL)
        return NULL;
    at = skip_space(nest, at);
    if (*at != ':') {
        *fault = "a colon is missing behind a key";
        return NULL;
    }
    return skip_space(nest, at + 1);
}

const char *scan_scalar_end(const char *at, bool *ret_is_plain, const char **fault)
{
    switch (*at) {
    case '"': return scan_string_end(at + 1, ret_is_plain, fault);
    case 'n':
        if (memcmp(at, "null", 4) == 0)
            return at + 4;
        break;
    case 't':
        if (memcmp(at, "true", 4) == 0)
            return at + 4;
        break;
    case 'f':
        if (memcmp(at, "false", 5) == 0)
            return at + 5;
        break;
    default: return number_end(at, ret_is_plain, fault);
    }
    *fault = FAULT_VALUE;
    return NULL;
}

/* Behind a value: closes what ends here; then to the next value, or the end of all. */
static const char *next_value(struct nest *nest, const char *at, const char **fault)
{
    at = skip_space(nest, at);
    while (*at == (nest->is_object ? '}' : ']')) {
        at++;
        close_level(nest);
        if (nest->depth == 0)
            return at;
        at = skip_space(nest, at);
    }
    if (*at != ',') {
        *fault = "a comma or a closing bracket is missing";
        return NULL;
    }
    at = skip_space(nest, at + 1);
    return nest->is_object ? key_end(nest, at, fault) : at;
}

/* Goes into an object or array: to its first value, or to its closing bracket. */
static const char *enter(struct nest *nest, const char *at, bool *ret_is_empty, const char **fault)
{
    bool is_object = *at == '{';
    if (nest->depth == SCAN_DEPTH_MAX) {
        *fault = FAULT_DEPTH;
        return NULL;
    }
    open_level(nest, is_object);
    at = skip_space(nest, at + 1);
    *ret_is_empty = *at == (is_object ? '}' : ']');
    return is_object && !*ret_is_empty ? key_end(nest, at, fault) : at;
}

const char *scan_nested_end(const char *at, bool *ret_is_plain, uint16_t *ret_depth,
                            const char **fault)
{
    struct nest nest; /* a level's bit is written before it is read */
    nest.depth = nest.depth_max = 0;
    nest.is_plain = true;
    nest.is_object = false;
    do {
        bool is_at_value = false;
        bool is_plain;
        if (*at == '{' || *at == '[') {
            bool is_empty = false;
            at = enter(&nest, at, &is_empty, fault);
            is_at_value = !is_empty;
        } else {
            at = scan_scalar_end(at, &is_plain, fault);
        }
        if (at != NULL && !is_at_value)
            at = next_value(&nest, at, fault);
    } while (at != NULL && nest.depth > 0);
    *ret_is_plain = nest.is_plain;
    *ret_depth = (uint16_t)nest.depth_max;
    return at;
}
