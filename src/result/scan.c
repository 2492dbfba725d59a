#include "result/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "result/scan_bytes.h"

#define LAYOUT_KEYS_MAX 1024
#define LAYOUT_TEXT_MAX 32768U
#define NESTED_TEXT_MAX 65536U
#define NESTED_MAX      16384U /* a longer object or array is not remembered */
#define NAMES_COUNT_MAX 4096
#define KEY_BYTES_MAX   4096
#define NOT_WANTED      (-1)

/* A key as the last line had it in this place: its bytes from the first quote to the value. Writers
 * keep their order, so comparing these bytes mostly replaces reading the key. Of an object or array
 * also the value: the machine's description and the like stay as they are for a whole sweep, and
 * what is equal to something sound is sound. */
struct layout_key {
    uint32_t text_at;
    uint16_t text_bytes;
    int16_t target; /* index of the name, or NOT_WANTED */
    uint16_t nested_depth;
    bool is_nested_plain;
    uint32_t nested_at;
    uint32_t nested_bytes; /* 0 = none is remembered */
    uint32_t nested_room;
};

struct scanner {
    const char *const *names; /* borrowed: for the scanner's life */
    size_t names_count;
    int16_t *slots; /* owned: hash table of names; NOT_WANTED is a free slot */
    size_t slots_count;
    struct buf key; /* scratch: a key without its escapes */
    size_t layout_count;
    struct layout_key layout[LAYOUT_KEYS_MAX];
    char layout_text[LAYOUT_TEXT_MAX + SCAN_PADDING_BYTES];
    size_t nested_used;
    char nested_text[NESTED_TEXT_MAX + SCAN_PADDING_BYTES];
};

/* --- names --- */

static int16_t *find_slot(const struct scanner *scanner, const char *key, size_t key_bytes)
{
    size_t slot = (size_t)hash_u64(key, key_bytes) & (scanner->slots_count - 1);
    for (;; slot = (slot + 1) & (scanner->slots_count - 1)) {
        int16_t index = scanner->slots[slot];
        if (index == NOT_WANTED || (strlen(scanner->names[index]) == key_bytes &&
                                    memcmp(scanner->names[index], key, key_bytes) == 0))
            return &scanner->slots[slot];
    }
}

enum status scanner_new(const char *const *names, size_t names_count, struct scanner **ret_scanner,
                        struct err *err)
{
    ASSERT(names_count <= NAMES_COUNT_MAX);
    struct scanner *scanner = calloc(1, sizeof(*scanner));
    size_t slots_count = 16;
    while (slots_count < 2 * names_count)
        slots_count *= 2;
    int16_t *slots = malloc(slots_count * sizeof(*slots));
    if (scanner == NULL || slots == NULL) {
        free(scanner);
        free(slots);
        return ERR(err, STATUS_NOMEM, "no memory to read lines");
    }
    for (size_t i = 0; i < slots_count; i++)
        slots[i] = NOT_WANTED;
    *scanner = (struct scanner){
        .names = names, .names_count = names_count, .slots = slots, .slots_count = slots_count};
    buf_init(&scanner->key, KEY_BYTES_MAX);
    for (size_t i = 0; i < names_count; i++)
        *find_slot(scanner, names[i], strlen(names[i])) = (int16_t)i;
    *ret_scanner = scanner;
    return STATUS_OK;
}

void scanner_free(struct scanner *scanner)
{
    if (scanner == NULL)
        return;
    free(scanner->slots);
    buf_release(&scanner->key);
    free(scanner);
}

/* --- one member --- */

/* Does the text begin with these bytes? Both sides have SCAN_PADDING_BYTES behind them. */
static inline bool has_prefix(const char *text, const char *prefix, size_t prefix_bytes)
{
#ifdef __SSE2__
    for (;; text += 16, prefix += 16, prefix_bytes -= 16) {
        __m128i left = _mm_loadu_si128((const __m128i *)(const void *)text);
        __m128i right = _mm_loadu_si128((const __m128i *)(const void *)prefix);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(left, right));
        if (prefix_bytes <= 16)
            return (~mask & ((1U << prefix_bytes) - 1)) == 0;
        if (mask != 0xFFFF)
            return false;
    }
#else
    return memcmp(text, prefix, prefix_bytes) == 0;
#endif
}

/* Room for the value of that key. When there is none left all values are forgotten. */
static bool find_room(struct scanner *scanner, struct layout_key *key, size_t bytes)
{
    if (bytes <= key->nested_room)
        return true;
    size_t room = bytes + bytes / 4;
    if (bytes > NESTED_MAX)
        return false;
    if (scanner->nested_used + room > NESTED_TEXT_MAX) {
        for (size_t i = 0; i < scanner->layout_count; i++)
            scanner->layout[i].nested_bytes = scanner->layout[i].nested_room = 0;
        scanner->nested_used = 0;
    }
    key->nested_at = (uint32_t)scanner->nested_used;
    key->nested_room = (uint32_t)room;
    scanner->nested_used += room;
    return true;
}

/* The end of the object or array at `at`, the value of the key at `place`. */
static const char *nested_end(struct scanner *scanner, size_t place, const char *at,
                              bool *ret_is_plain, uint16_t *ret_depth, const char **fault)
{
    bool is_known = scanner != NULL && place < scanner->layout_count;
    struct layout_key *key = is_known ? &scanner->layout[place] : NULL;
    if (key != NULL && key->nested_bytes > 0 &&
        has_prefix(at, scanner->nested_text + key->nested_at, key->nested_bytes)) {
        *ret_is_plain = key->is_nested_plain;
        *ret_depth = key->nested_depth;
        return at + key->nested_bytes;
    }
    const char *end = scan_nested_end(at, ret_is_plain, ret_depth, fault);
    if (end != NULL && key != NULL && find_room(scanner, key, (size_t)(end - at))) {
        memcpy(scanner->nested_text + key->nested_at, at, (size_t)(end - at));
        key->nested_bytes = (uint32_t)(end - at);
        key->is_nested_plain = *ret_is_plain;
        key->nested_depth = *ret_depth;
    }
    return end;
}

/* NaN, Infinity or -Infinity at `at`; 0 when it is none. */
static size_t not_finite_bytes(const char *at)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return strlen(words[i]);
    return 0;
}

static enum scan_kind kind_of(char first)
{
    switch (first) {
    case '{': return SCAN_OBJECT;
    case '[': return SCAN_ARRAY;
    case 'n': return SCAN_NULL;
    case 't': return SCAN_TRUE;
    case 'f': return SCAN_FALSE;
    default: return SCAN_NUMBER;
    }
}

/* A value of the line's own object; NULL and *fault when it is none. Without a scanner: any value.
 */
static const char *read_value(struct scanner *scanner, size_t place, const char *at,
                              struct scan_value *ret_value, const char **fault)
{
    bool is_plain = true;
    if (*at == '"') {
        const char *end = scan_string_end(at + 1, &is_plain, fault);
        if (end != NULL)
            *ret_value =
                (struct scan_value){at + 1, (uint32_t)(end - at - 2), SCAN_STRING, is_plain, 0};
        return end;
    }
    uint16_t depth = 0;
    enum scan_kind kind = kind_of(*at);
    const char *end = kind == SCAN_OBJECT || kind == SCAN_ARRAY
                          ? nested_end(scanner, place, at, &is_plain, &depth, fault)
                          : scan_scalar_end(at, &is_plain, fault);
    if (end == NULL) {
        if (kind != SCAN_NUMBER || not_finite_bytes(at) == 0)
            return NULL;
        *fault = NULL;
        kind = SCAN_NOT_FINITE;
        end = at + not_finite_bytes(at);
    }
    *ret_value = (struct scan_value){at, (uint32_t)(end - at), (uint8_t)kind, is_plain, depth};
    return end;
}

static int16_t find_name(struct scanner *scanner, const char *key, size_t key_bytes, bool is_plain)
{
    if (!is_plain) {
        const struct scan_value value = {key, (uint32_t)key_bytes, SCAN_STRING, false, 0};
        buf_reset(&scanner->key);
        scan_take_text(&value, &scanner->key);
        if (scanner->key.failed) /* no name is so long */
            return NOT_WANTED;
        key = scanner->key.data;
        key_bytes = scanner->key.length_bytes;
    }
    return *find_slot(scanner, key, key_bytes);
}

/* Remembers the key at place `place`; what was known of later places holds no more. */
static void learn_key(struct scanner *scanner, size_t place, const char *text, size_t text_bytes,
                      int16_t target)
{
    if (place > scanner->layout_count || place >= LAYOUT_KEYS_MAX)
        return;
    const struct layout_key *last = place > 0 ? &scanner->layout[place - 1] : NULL;
    size_t text_at = last != NULL ? (size_t)last->text_at + last->text_bytes : 0;
    if (text_at + text_bytes > LAYOUT_TEXT_MAX)
        return;
    memcpy(scanner->layout_text + text_at, text, text_bytes);
    scanner->layout[place] =
        (struct layout_key){(uint32_t)text_at, (uint16_t)text_bytes, target, 0, false, 0, 0, 0};
    scanner->layout_count = place + 1;
}

/* A key that is not where the last line had it. */
static const char *read_key(struct scanner *scanner, size_t place, const char *at,
                            int16_t *ret_target, const char **fault)
{
    bool is_plain;
    if (*at != '"') {
        *fault = "a key is missing";
        return NULL;
    }
    const char *end = scan_string_end(at + 1, &is_plain, fault);
    if (end == NULL)
        return NULL;
    *ret_target = find_name(scanner, at + 1, (size_t)(end - at - 2), is_plain);
    end = scan_space_end(end);
    if (*end != ':') {
        *fault = "a colon is missing behind a key";
        return NULL;
    }
    end = scan_space_end(end + 1);
    learn_key(scanner, place, at, (size_t)(end - at), *ret_target);
    return end;
}

static inline const char *next_key(struct scanner *scanner, size_t place, const char *at,
                                   int16_t *ret_target, const char **fault)
{
    if (place < scanner->layout_count) {
        const struct layout_key *key = &scanner->layout[place];
        if (has_prefix(at, scanner->layout_text + key->text_at, key->text_bytes)) {
            *ret_target = key->target;
            return scan_space_end(at + key->text_bytes);
        }
    }
    return read_key(scanner, place, at, ret_target, fault);
}

/* --- the line --- */

/* From behind the '{' to behind the '}'. */
static const char *read_members(struct scanner *scanner, const char *at,
                                struct scan_value *ret_values, const char **fault)
{
    at = scan_space_end(at);
    if (*at == '}')
        return at + 1;
    for (size_t place = 0;; place++) {
        int16_t target = NOT_WANTED;
        struct scan_value value;
        at = next_key(scanner, place, at, &target, fault);
        if (at == NULL)
            return NULL;
        const char *end = read_value(scanner, place, at, &value, fault);
        if (end == NULL)
            return NULL;
        if (target != NOT_WANTED)
            ret_values[target] = value;
        at = scan_space_end(end);
        if (*at == '}')
            return at + 1;
        if (*at != ',') {
            *fault = "a comma or a closing bracket is missing";
            return NULL;
        }
        at = scan_space_end(at + 1);
    }
}

bool scanner_scan(struct scanner *scanner, const char *line, size_t line_bytes,
                  struct scan_value *ret_values, const char **ret_fault)
{
    ASSERT(line[line_bytes] == '\n' && line_bytes <= UINT32_MAX);
    memset(ret_values, 0, scanner->names_count * sizeof(*ret_values));
    const char *fault = NULL;
    const char *at = scan_space_end(line);
    if (at == line + line_bytes)
        fault = "it is empty";
    else if (*at != '{')
        fault = "it is not a JSON object";
    else
        at = read_members(scanner, at + 1, ret_values, &fault);
    if (fault == NULL && scan_space_end(at) != line + line_bytes)
        fault = "something follows the JSON object";
    if (fault != NULL)
        *ret_fault = fault;
    return fault == NULL;
}

void scanner_scan_nested(struct scanner *scanner, const struct scan_value *object,
                         struct scan_value *ret_values)
{
    ASSERT(object->kind == SCAN_OBJECT);
    const char *fault = NULL;
    memset(ret_values, 0, scanner->names_count * sizeof(*ret_values));
    (void)read_members(scanner, object->text + 1, ret_values, &fault);
}

bool scan_single(const char *text, size_t text_bytes, struct scan_value *ret_value)
{
    const char *fault = NULL;
    const char *at = scan_space_end(text);
    const char *end = read_value(NULL, 0, at, ret_value, &fault);
    return end != NULL && scan_space_end(end) == text + text_bytes;
}
