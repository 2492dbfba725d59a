#include "spec/parallel.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"

#define FACTOR_MAX 1024

/* From the outside in: devices that exchange most are next to each other. */
static const char *const names[] = {"ddp", "fsdp", "ep", "tp"};
enum { DDP, FSDP, EP, TP, KINDS };
_Static_assert(ARRAY_COUNT(names) == KINDS, "a name for each");

/* As given: 0 = not there, and of a kind that is alone ALL for all devices. */
#define ALL UINT32_MAX
struct factors {
    uint32_t counts[KINDS];
    unsigned given;
};

static enum status unknown_kind(const char *word, struct err *err)
{
    static const char *const all[] = {"none", "ddp", "fsdp", "tp", "ep"};
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "there is no layout '%.40s'; %s", word,
               nearest_hint(&hint, "", word, all, ARRAY_COUNT(all)));
}

/* One of a product, "tp:2", or a layout by itself, "tp". */
static enum status parse_factor(const char *word, bool is_alone, struct factors *factors,
                                struct err *err)
{
    const char *number = strchr(word, ':');
    size_t length = number != NULL ? (size_t)(number - word) : strlen(word);
    size_t kind = 0;
    while (kind < KINDS &&
           (strlen(names[kind]) != length || strncmp(names[kind], word, length) != 0))
        kind++;
    if (kind == KINDS)
        return unknown_kind(word, err);
    if (factors->counts[kind] != 0)
        return ERR(err, STATUS_INVALID, "%s is there twice; leave one out", names[kind]);
    if (number == NULL && !is_alone)
        return ERR(err, STATUS_INVALID, "a product says over how many devices each divides: %s:2",
                   names[kind]);
    uint64_t count = ALL;
    struct err cause = {0};
    if (number != NULL && num_parse_u64(number + 1, 2, FACTOR_MAX, &count, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "'%.40s': %s; the least is %s:2", word, cause.text,
                   names[kind]);
    factors->counts[kind] = (uint32_t)count;
    factors->given++;
    return STATUS_OK;
}

static enum status parse(const char *text, struct factors *ret, struct err *err)
{
    struct factors factors = {0};
    if (strlen(text) >= PARALLEL_TEXT_BYTES)
        return ERR(err, STATUS_INVALID, "'%.40s...' is too long for a layout", text);
    bool is_alone = strchr(text, ',') == NULL;
    for (const char *at = text; strcmp(text, "none") != 0;) {
        char word[PARALLEL_TEXT_BYTES];
        size_t length = strcspn(at, ",");
        (void)snprintf(word, sizeof(word), "%.*s", (int)length, at);
        TRY(parse_factor(word, is_alone, &factors, err));
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    if (factors.counts[EP] != 0 && factors.counts[TP] != 0)
        return ERR(err, STATUS_INVALID,
                   "'%s': ep and tp divide the same matrices; the nearest is fsdp with one of them",
                   text);
    *ret = factors;
    return STATUS_OK;
}

enum status parallel_check(const char *text, struct err *err)
{
    struct factors factors;
    return parse(text, &factors, err);
}

/* The factors that are there, "fsdp:2,tp:2", those of one device left out; one that all devices
 * share without its number. */
static void write(const struct factors *factors, uint32_t devices_count,
                  char text[PARALLEL_TEXT_BYTES])
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t kind = 0; kind < KINDS; kind++) {
        const char *comma = length > 0 ? "," : "";
        uint32_t count = factors->counts[kind];
        if (count == ALL || (count > 1 && count == devices_count))
            length += (size_t)snprintf(text + length, PARALLEL_TEXT_BYTES - length, "%s%s", comma,
                                       names[kind]);
        else if (count > 1)
            length += (size_t)snprintf(text + length, PARALLEL_TEXT_BYTES - length, "%s%s:%" PRIu32,
                                       comma, names[kind], count);
        ASSERT(length < PARALLEL_TEXT_BYTES);
    }
}

/* The nearest product of that many devices: the outermost factor takes what the others leave, which
 * are made less until they divide. */
static void nearest(struct factors factors, uint32_t devices_count, char text[PARALLEL_TEXT_BYTES])
{
    size_t outer = 0;
    while (factors.counts[outer] == 0)
        outer++;
    uint32_t rest = devices_count;
    for (size_t kind = KINDS - 1; kind > outer; kind--) {
        uint32_t count = factors.counts[kind] < rest ? factors.counts[kind] : rest;
        while (count > 1 && rest % count != 0)
            count--;
        factors.counts[kind] = count;
        rest /= count > 0 ? count : 1;
    }
    factors.counts[outer] = rest;
    write(&factors, devices_count, text);
    if (text[0] == '\0')
        (void)snprintf(text, PARALLEL_TEXT_BYTES, "none");
}

enum status parallel_settle(const char *text, uint32_t devices_count,
                            char ret_text[PARALLEL_TEXT_BYTES], struct err *err)
{
    struct factors factors;
    TRY(parse(text, &factors, err));
    uint64_t product = 1;
    for (size_t kind = 0; kind < KINDS; kind++)
        if (factors.counts[kind] != 0)
            product *= factors.counts[kind] == ALL ? devices_count : factors.counts[kind];
    if (factors.given > 0 && product != devices_count) {
        char other[PARALLEL_TEXT_BYTES];
        nearest(factors, devices_count, other);
        return ERR(err, STATUS_INVALID,
                   "'%s' is for %" PRIu64 " devices, and there are %" PRIu32
                   "; the nearest is %s, or as many devices",
                   text, product, devices_count, other);
    }
    write(&factors, devices_count, ret_text);
    return STATUS_OK;
}

struct parallel parallel_of(const char *text, uint32_t devices_count)
{
    struct factors factors = {0};
    struct err cause = {0};
    if (text[0] != '\0' && parse(text, &factors, &cause) != STATUS_OK)
        factors = (struct factors){0};
    for (size_t kind = 0; kind < KINDS; kind++)
        if (factors.counts[kind] == 0 || factors.counts[kind] == ALL)
            factors.counts[kind] = factors.counts[kind] == ALL ? devices_count : 1;
    return (struct parallel){.ddp = factors.counts[DDP],
                             .fsdp = factors.counts[FSDP],
                             .ep = factors.counts[EP],
                             .tp = factors.counts[TP]};
}

uint32_t parallel_row_shares(const struct parallel *layout)
{
    return layout->ddp * layout->fsdp * layout->ep;
}
