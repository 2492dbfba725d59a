#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"
#include "plan/plan.h"

size_t options_rows_count(const struct options_table *table)
{
    return table->rows_count + table->base_count;
}

const struct option *options_row(const struct options_table *table, size_t index)
{
    ASSERT(index < options_rows_count(table));
    return index < table->rows_count ? &table->rows[index]
                                     : &table->base_rows[index - table->rows_count];
}

static bool is_left_out(const struct options_table *table, const struct option *row)
{
    size_t i = 0;
    while (i < table->base_count && &table->base_rows[i] != row)
        i++;
    if (i == table->base_count)
        return false;
    const char *const *name = table->base_names;
    while (*name != NULL && strcmp(*name, row->name) != 0 && strcmp(*name, row->group) != 0)
        name++;
    return *name == NULL;
}

bool option_is_known(const struct options_table *table, const struct option *row)
{
    if (is_left_out(table, row))
        return false;
    return row->programs == 0 || (row->programs & table->program) != 0;
}

bool option_is_list(const struct option *row)
{
    return row->type == OPTION_AXIS || row->type == OPTION_CHOICES || row->type == OPTION_WORDS;
}

const char *option_default_text(const struct options_table *table, const struct option *row)
{
    const struct option_default *other = table->defaults;
    for (; other != NULL && other->name != NULL; other++)
        if (strcmp(other->name, row->name) == 0)
            return other->def;
    return row->def;
}

bool options_given(const struct options_table *table, const struct options_seen *seen,
                   const char *name)
{
    size_t i = 0;
    while (i < options_rows_count(table) && strcmp(options_row(table, i)->name, name) != 0)
        i++;
    ASSERT(i < options_rows_count(table)); /* a flag of this name exists */
    return seen->is_given[i];
}

static bool takes_value(const struct option *row)
{
    return row->type != OPTION_FLAG && row->type != OPTION_HELP;
}

/* "-5" and "-.5" are values (that will be refused as numbers), "-q" and "--x" are flags. */
static bool looks_like_flag(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && !isdigit((unsigned char)word[1]) && word[1] != '.';
}

static const struct option_choice *find_in(const struct option_choice *choice, const char *word)
{
    for (; choice != NULL && choice->name != NULL; choice++)
        if (strcmp(choice->name, word) == 0)
            return choice;
    return NULL;
}

static const struct option_choice *find_choice(const struct option *row, const char *word)
{
    const struct option_choice *choice = find_in(row->choices, word);
    return choice != NULL ? choice : find_in(row->aliases, word);
}

static size_t add_names(const struct option_choice *choice, const char **names, size_t count)
{
    for (; choice != NULL && choice->name != NULL; choice++) {
        ASSERT(count < OPTIONS_MAX);
        names[count++] = choice->name;
    }
    return count;
}

/* Other words for a value are suggested, but not listed. */
static enum status unknown_choice(const struct option *row, const char *word, struct err *err)
{
    const char *names[OPTIONS_MAX];
    size_t own_count = add_names(row->choices, names, 0);
    size_t count = add_names(row->aliases, names, own_count);
    if (nearest_word(word, names, own_count) == NULL && nearest_word(word, names, count) != NULL)
        own_count = count;
    bool takes_number = row->type != OPTION_CHOICE && row->type != OPTION_CHOICES &&
                        nearest_word(word, names, own_count) == NULL;
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "unknown value '%.80s'; %s%s", word,
               nearest_hint(&hint, "", word, names, own_count),
               takes_number ? ", or a number" : "");
}

static enum status pick(const struct option *row, const char *word, struct option_picks *picks,
                        struct err *err)
{
    const struct option_choice *choice = find_choice(row, word);
    if (choice == NULL)
        return unknown_choice(row, word, err);
    for (size_t i = 0; i < picks->count; i++)
        if (picks->values[i] == choice->value)
            return STATUS_OK;
    ASSERT(picks->count < OPTION_PICKS_MAX);
    picks->values[picks->count++] = choice->value;
    return STATUS_OK;
}

static enum status pick_list(const struct option *row, const char *text, struct option_picks *picks,
                             struct err *err)
{
    for (const char *word = text;;) {
        size_t length = strcspn(word, ",");
        char name[OPTION_WORD_BYTES];
        (void)snprintf(name, sizeof(name), "%.*s",
                       (int)(length < sizeof(name) ? length : sizeof(name) - 1), word);
        enum status status = pick(row, name, picks, err);
        if (status != STATUS_OK || word[length] == '\0')
            return status;
        word += length + 1;
    }
}

/* A word in a number's place: one of the row's choices (NULL for a number), or an error. */
static enum status take_choice(const struct option *row, const char *text,
                               const struct option_choice **ret_choice, struct err *err)
{
    *ret_choice = find_choice(row, text);
    if (*ret_choice == NULL && row->choices != NULL && isalpha((unsigned char)text[0]))
        return unknown_choice(row, text, err);
    return STATUS_OK;
}

static enum status set_number(const struct option *row, const char *text, uint64_t *target,
                              struct err *err)
{
    const struct option_choice *choice = NULL;
    enum status status = take_choice(row, text, &choice, err);
    if (choice != NULL)
        *target = choice->value;
    if (choice != NULL || status != STATUS_OK)
        return status;
    if (row->type == OPTION_BYTES)
        return num_parse_bytes(text, target, err);
    return num_parse_u64(text, row->min, row->max, target, err);
}

static enum status set_real(const struct option *row, const char *text, double *target,
                            struct err *err)
{
    const struct option_choice *choice = NULL;
    enum status status = take_choice(row, text, &choice, err);
    if (choice != NULL)
        *target = (double)choice->value;
    if (choice != NULL || status != STATUS_OK)
        return status;
    return num_parse_double(text, (double)row->min / 100.0, (double)row->max / 100.0, target, err);
}

static enum status set_texts(const char *text, struct option_texts *texts, struct err *err)
{
    if (texts->count == OPTION_TEXTS_MAX)
        return ERR(err, STATUS_LIMIT, "given too often: the most is %d", OPTION_TEXTS_MAX);
    texts->items[texts->count++] = text;
    return STATUS_OK;
}

static enum status check_text(const struct option *row, const char *text, struct err *err)
{
    if (text[0] == '\0')
        return ERR(err, STATUS_INVALID, "an empty value; give %s%s%s", row->arg,
                   row->def != NULL ? ", for instance " : "", row->def != NULL ? row->def : "");
    size_t most = row->max != 0 ? (size_t)row->max : OPTION_VALUE_BYTES;
    if (strlen(text) > most)
        return ERR(err, STATUS_INVALID, "'%.40s...' is too long: the most is %zu bytes", text,
                   most);
    return row->check != NULL ? row->check(text, err) : STATUS_OK;
}

/* A number or a choice into its target, which has room for row->max. */
static void store_number(const struct option *row, uint64_t value, void *field)
{
    uint32_t narrow = (uint32_t)value;
    ASSERT(row->bytes == 0 || row->bytes == sizeof(value) || row->bytes == sizeof(narrow));
    ASSERT(row->bytes != sizeof(narrow) || narrow == value);
    memcpy(field, row->bytes == sizeof(narrow) ? (void *)&narrow : (void *)&value,
           row->bytes == sizeof(narrow) ? sizeof(narrow) : sizeof(value));
}

/* A choice stands alone: it is what will take the place of values. */
static enum status add_to_axis(const struct option *row, const char *text, struct plan_axis *axis,
                               struct err *err)
{
    const struct option_choice *choice = NULL;
    TRY(take_choice(row, text, &choice, err));
    if (axis->goal != PLAN_GOAL_NONE || (choice != NULL && axis->count > 0))
        return ERR(err, STATUS_INVALID,
                   "a size that is to be found stands alone; leave '%.40s' out", text);
    if (choice == NULL)
        return plan_axis_add(axis, text, (uint32_t)row->max, err);
    *axis = (struct plan_axis){.goal = (enum plan_goal)choice->value, .values = {1}, .count = 1};
    return STATUS_OK;
}

/* One value of a row into its target. */
static enum status set_value(const struct option *row, const char *text, void *target,
                             struct err *err)
{
    void *field = (char *)target + row->offset;
    enum status status = STATUS_OK;
    if (row->type == OPTION_TEXT || row->type == OPTION_TEXTS || row->type == OPTION_WORDS ||
        text[0] == '\0' || strlen(text) > OPTION_VALUE_BYTES)
        status = check_text(row, text, err);
    if (status != STATUS_OK)
        return status;
    switch (row->type) {
    case OPTION_HELP: break;
    case OPTION_FLAG: *(bool *)field = true; break;
    case OPTION_TEXT:
        if (row->bytes == 0)
            *(const char **)field = text;
        else
            (void)snprintf(field, row->bytes, "%s", text); /* max is less */
        break;
    case OPTION_TEXTS:
    case OPTION_WORDS: return set_texts(text, field, err);
    case OPTION_CHOICE: {
        struct option_picks one = {0};
        status = pick(row, text, &one, err);
        if (status == STATUS_OK)
            store_number(row, one.values[0], field);
        return status;
    }
    case OPTION_CHOICES: return pick_list(row, text, field, err);
    case OPTION_NUMBER:
    case OPTION_BYTES: {
        uint64_t number = 0;
        status = set_number(row, text, &number, err);
        if (status == STATUS_OK)
            store_number(row, number, field);
        return status;
    }
    case OPTION_REAL: return set_real(row, text, field, err);
    case OPTION_DURATION: return num_parse_duration_ns(text, field, err);
    case OPTION_AXIS: return add_to_axis(row, text, field, err);
    }
    return STATUS_OK;
}

/* Makes a list empty before the first value of the user's own: a default is replaced, not added to.
 */
static void clear_list(const struct option *row, void *target)
{
    void *field = (char *)target + row->offset;
    if (row->type == OPTION_AXIS)
        *(struct plan_axis *)field = (struct plan_axis){0};
    else if (row->type == OPTION_CHOICES)
        ((struct option_picks *)field)->count = 0;
}

static enum status set_default(const struct option *row, const char *def, void *target,
                               struct err *err)
{
    if (!option_is_list(row))
        return set_value(row, def, target, err);
    ASSERT(row->type != OPTION_WORDS); /* it borrows its words */
    for (const char *word = def; *word != '\0';) {
        size_t length = strcspn(word, " ");
        char text[OPTION_WORD_BYTES];
        ASSERT(length < sizeof(text));
        memcpy(text, word, length);
        text[length] = '\0';
        enum status status = set_value(row, text, target, err);
        if (status != STATUS_OK)
            return status;
        word += length + strspn(word + length, " ");
    }
    return STATUS_OK;
}

enum status options_set_defaults(const struct options_table *table, void *target, struct err *err)
{
    ASSERT(options_rows_count(table) <= OPTIONS_MAX);
    for (size_t i = 0; i < options_rows_count(table); i++) {
        const struct option *row = options_row(table, i);
        const char *def = option_is_known(table, row) ? option_default_text(table, row) : NULL;
        if (def == NULL)
            continue;
        struct err cause = {0};
        enum status status = set_default(row, def, target, &cause);
        if (status != STATUS_OK)
            return ERR(err, status, "default of --%s: %s", row->name, cause.text);
    }
    return STATUS_OK;
}

static enum status unknown_flag(const struct options_table *table, const char *word,
                                struct err *err)
{
    const char *names[OPTIONS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < options_rows_count(table); i++)
        if (option_is_known(table, options_row(table, i)))
            names[count++] = options_row(table, i)->name;
    size_t dashes = strspn(word, "-");
    size_t length = strcspn(word + dashes, "=");
    char name[OPTION_WORD_BYTES];
    (void)snprintf(name, sizeof(name), "%.*s",
                   (int)(length < sizeof(name) ? length : sizeof(name) - 1), word + dashes);
    struct nearest_hint hint;
    bool is_near = nearest_word(name, names, count) != NULL;
    return ERR(err, STATUS_INVALID, "unknown flag '%.80s'; %s", word,
               is_near ? nearest_hint(&hint, "--", name, names, count) : "--help lists them");
}

static bool row_matches(const struct option *row, const char *word)
{
    if (word[1] != '-')
        return row->short_name != 0 && word[1] == row->short_name && word[2] == '\0';
    size_t length = strcspn(word + 2, "=");
    return strlen(row->name) == length && strncmp(row->name, word + 2, length) == 0;
}

/* The walk over the words. Borrowed: for options_parse(). */
struct options_walk {
    const struct options_table *table;
    int argc;
    const char *const *argv;
    int next;
    void *target;
    struct options_seen *seen;
};

static enum status flag_error(const struct option *row, enum status status, const struct err *cause,
                              struct err *err)
{
    return ERR(err, status, "--%s: %s", row->name, cause->text);
}

/* The flag's value or values: behind '=', or the words that follow. */
static enum status read_values(struct options_walk *walk, const struct option *row,
                               const char *word, struct err *err)
{
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    if (!takes_value(row)) {
        if (equals != NULL)
            return ERR(err, STATUS_INVALID, "--%s takes no value; write '--%s'", row->name,
                       row->name);
        return set_value(row, "yes", walk->target, err);
    }
    if (row->bare != NULL && equals == NULL)
        return set_value(row, row->bare, walk->target, err);
    struct err cause = {0};
    enum status status = STATUS_OK;
    if (equals != NULL) {
        status = set_value(row, equals + 1, walk->target, &cause);
        if (status != STATUS_OK)
            return flag_error(row, status, &cause, err);
        /* `--seq=128 512` goes on like `--seq 128 512`. */
    } else if (walk->next == walk->argc ||
               (looks_like_flag(walk->argv[walk->next]) && !row->takes_flags)) {
        return ERR(err, STATUS_INVALID, "--%s needs a value: --%s %s", row->name, row->name,
                   row->arg);
    } else {
        status = set_value(row, walk->argv[walk->next++], walk->target, &cause);
    }
    while (status == STATUS_OK && option_is_list(row) && walk->next < walk->argc &&
           !looks_like_flag(walk->argv[walk->next]))
        status = set_value(row, walk->argv[walk->next++], walk->target, &cause);
    return status == STATUS_OK ? status : flag_error(row, status, &cause, err);
}

static enum status read_flag(struct options_walk *walk, const char *word, struct err *err)
{
    const struct options_table *table = walk->table;
    for (size_t i = 0; i < options_rows_count(table); i++) {
        const struct option *row = options_row(table, i);
        if (!option_is_known(table, row) || !row_matches(row, word))
            continue;
        if (!walk->seen->is_given[i])
            clear_list(row, walk->target);
        walk->seen->is_given[i] = true;
        walk->seen->wants_help |= row->type == OPTION_HELP;
        return read_values(walk, row, word, err);
    }
    return unknown_flag(table, word, err);
}

static enum status add_operand(struct options_seen *seen, const char *word, struct err *err)
{
    if (seen->operands_count == ARRAY_COUNT(seen->operands))
        return ERR(err, STATUS_LIMIT, "too many arguments: the most is %zu",
                   ARRAY_COUNT(seen->operands));
    seen->operands[seen->operands_count++] = word;
    return STATUS_OK;
}

enum status options_parse(const struct options_table *table, int argc, const char *const *argv,
                          void *target, struct options_seen *ret_seen, struct err *err)
{
    struct options_seen seen = {0};
    struct options_walk walk = {.table = table, .argc = argc, .argv = argv, .target = target};
    walk.seen = &seen;
    bool is_ended = false;
    while (walk.next < argc && !seen.wants_help) {
        const char *word = argv[walk.next++];
        enum status status = STATUS_OK;
        if (!is_ended && strcmp(word, "--") == 0)
            is_ended = true;
        else if (!is_ended && looks_like_flag(word))
            status = read_flag(&walk, word, err);
        else
            status = add_operand(&seen, word, err);
        if (status != STATUS_OK)
            return status;
    }
    *ret_seen = seen;
    return STATUS_OK;
}
