#include "cli/run_words.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"
#include "base/words.h"
#include "cli/options.h"
#include "cli/run_layouts.h"
#include "engines/engine.h"
#include "plan/preset.h"
#include "spec/cell.h"

#define DEVICE_INDEX_MAX 1023
#define DEVICES_MAX      1024

const char *run_engine_at(unsigned index)
{
    if (index < engine_list_count)
        return engine_list[index]->name;
    return index == engine_list_count ? "exec:" : NULL;
}

static enum status check_word(const char *what, const char *text,
                              const char *(*word_at)(unsigned index), struct err *err)
{
    const char *words[OPTIONS_MAX];
    size_t count = 0;
    for (; count < ARRAY_COUNT(words) && word_at((unsigned)count) != NULL; count++) {
        words[count] = word_at((unsigned)count);
        if (strcmp(words[count], text) == 0)
            return STATUS_OK;
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "unknown %s '%.80s'; %s", what, text,
               nearest_hint(&hint, "", text, words, count));
}

enum status run_check_command(const char *text, struct err *err)
{
    struct words words;
    words_init(&words);
    enum status status = words_split(&words, text, err);
    if (status == STATUS_OK && words.count == 0)
        status = ERR(err, STATUS_INVALID, "'%s' has no words; try 'numactl -N 0'", text);
    words_release(&words);
    return status;
}

enum status run_check_engine(const char *text, struct err *err)
{
    const size_t prefix = strlen("exec:");
    if (strncmp(text, "exec:", prefix) != 0)
        return check_word("engine", text, run_engine_at, err);
    if (text[prefix + strspn(text + prefix, " \t")] == '\0')
        return ERR(err, STATUS_INVALID, "'%s' has no command; try 'exec:./my_worker'", text);
    return run_check_command(text + prefix, err);
}

const char *run_preset_at(unsigned index)
{
    return index < preset_count() ? preset_name(index) : NULL;
}

const char *run_device_at(unsigned index)
{
    static const char *const words[] = {"cpu", "cuda", "cuda:0", "gpu", "tpu"};
    return index < ARRAY_COUNT(words) ? words[index] : NULL;
}

enum status run_check_device(const char *text, struct err *err)
{
    const char *colon = strncmp(text, "cuda:", 5) == 0 ? text + 4 : NULL;
    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return check_word("device", text, run_device_at, err);
    struct err cause = {0};
    uint64_t index = 0;
    enum status status = num_parse_u64(colon + 1, 0, DEVICE_INDEX_MAX, &index, &cause);
    if (status != STATUS_OK)
        return ERR(err, status, "unknown device '%.80s': %s", text, cause.text);
    /* "cuda:00" would be another cell than "cuda:0". */
    if (colon[1] == '0' && colon[2] != '\0')
        return ERR(err, STATUS_INVALID, "unknown device '%.80s'; did you mean 'cuda:%u'?", text,
                   (unsigned)index);
    return STATUS_OK;
}

/* "0-3" of "cuda:0-3", "4" or "cpu:4" as first and last device. */
static enum status parse_devices(const char *text, uint64_t *ret_first, uint64_t *ret_last,
                                 struct err *err)
{
    const char *cuda = "cuda:", *cpu = "cpu:";
    bool is_span = strncmp(text, cuda, strlen(cuda)) == 0;
    const char *number = text;
    if (is_span)
        number += strlen(cuda);
    else if (strncmp(text, cpu, strlen(cpu)) == 0)
        number += strlen(cpu);
    char first[CELL_WORD_BYTES];
    const char *dash = strchr(number, '-');
    if (is_span != (dash != NULL) || strlen(number) >= sizeof(first))
        return STATUS_INVALID;
    uint64_t count = 0;
    if (!is_span) {
        enum status status = num_parse_u64(number, 2, DEVICES_MAX, &count, err);
        *ret_first = 0;
        *ret_last = count - 1;
        return status;
    }
    (void)snprintf(first, sizeof(first), "%.*s", (int)(dash - number), number);
    enum status status = num_parse_u64(first, 0, DEVICE_INDEX_MAX, ret_first, err);
    if (status == STATUS_OK)
        status =
            num_parse_u64(dash + 1, *ret_first + 1, *ret_first + DEVICES_MAX - 1, ret_last, err);
    return status;
}

enum status run_check_devices(const char *text, struct err *err)
{
    struct err cause = {0};
    uint64_t first = 0, last = 0;
    if (run_layouts_are_found(text) || parse_devices(text, &first, &last, &cause) == STATUS_OK)
        return STATUS_OK;
    return ERR(err, STATUS_INVALID,
               "'%.80s' is no list of several devices%s%s; there are cuda:0-3, 4 (the first four "
               "cards), cpu:2, and min or cpu:min for as many as a cell needs",
               text, cause.text[0] != '\0' ? ": " : "", cause.text);
}

void run_take_devices(const char *text, char *ret_device)
{
    struct err cause = {0};
    uint64_t first = 0, last = 0;
    if (run_layouts_are_found(text)) {
        (void)snprintf(ret_device, CELL_WORD_BYTES, "%s", text[0] == 'c' ? "cpu" : "cuda:0");
        return;
    }
    if (parse_devices(text, &first, &last, &cause) != STATUS_OK)
        UNREACHABLE("checked before");
    if (strncmp(text, "cpu", 3) == 0)
        (void)snprintf(ret_device, CELL_WORD_BYTES, "cpu:%u", (unsigned)last + 1);
    else
        (void)snprintf(ret_device, CELL_WORD_BYTES, "cuda:%u-%u", (unsigned)first, (unsigned)last);
}

const char *run_platform_at(unsigned index)
{
    static const char *const words[] = {"cpu", "gpu", "cuda", "tpu"};
    return index < ARRAY_COUNT(words) ? words[index] : NULL;
}

enum status run_check_platform(const char *text, struct err *err)
{
    return check_word("platform", text, run_platform_at, err);
}

enum status run_check_learning_rate(const char *text, struct err *err)
{
    double rate = 0;
    return cell_parse_learning_rate(text, &rate, err);
}

enum status run_check_setting(const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        return ERR(err, STATUS_INVALID, "'%.80s' is not KEY=VALUE; try 'layers_count=2'", text);
    return STATUS_OK;
}
