#include "telemetry/datasheet.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"

static const struct {
    const char *words;
    double fp32, tf32, bf16, fp16, gigabytes;
} cards[] = {
#define CARD(words, fp32, tf32, bf16, fp16, memory) {words, fp32, tf32, bf16, fp16, memory},
#include "telemetry/datasheet.def"
};

/* Does the word stand in the name, apart from other letters and digits? */
static bool has_word(const char *name, const char *word, size_t word_bytes)
{
    for (const char *at = name; *at != '\0'; at++)
        if (strncasecmp(at, word, word_bytes) == 0 && !isalnum((unsigned char)at[word_bytes]) &&
            (at == name || !isalnum((unsigned char)at[-1])))
            return true;
    return false;
}

static bool has_words(const char *name, const char *words)
{
    while (*words != '\0') {
        size_t length = strcspn(words, " ");
        if (!has_word(name, words, length))
            return false;
        words += length;
        words += strspn(words, " ");
    }
    return true;
}

bool datasheet_find(const char *card, const char *precision, double *ret_flops, double *ret_bytes)
{
    for (size_t i = 0; i < ARRAY_COUNT(cards); i++) {
        if (!has_words(card, cards[i].words))
            continue;
        double tera = strcmp(precision, "fp32") == 0   ? cards[i].fp32
                      : strcmp(precision, "tf32") == 0 ? cards[i].tf32
                      : strcmp(precision, "bf16") == 0 ? cards[i].bf16
                      : strcmp(precision, "fp16") == 0 ? cards[i].fp16
                                                       : 0;
        *ret_flops = tera * 1e12;
        *ret_bytes = cards[i].gigabytes * 1e9;
        return true;
    }
    return false;
}
