/* Any bytes as the texts of a request: only a right token opens what needs one, only a Host of ours
 * is answered, ids survive being written and read, and every refusal says why. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/assets.h"
#include "serve/records.h"
#include "serve/route.h"

#define TEXTS_COUNT 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is split at its NULs; what is not there is NULL. */
static char *split(const uint8_t *data, size_t size, const char *ret_texts[TEXTS_COUNT])
{
    char *copy = malloc(size + 1);
    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    size_t at = 0;
    for (size_t i = 0; i < TEXTS_COUNT; i++) {
        ret_texts[i] = at <= size && copy[at] != '\0' ? copy + at : NULL;
        at += at <= size ? strlen(copy + at) + 1 : 0;
    }
    return copy;
}

static void check_answer(const struct route_rules *rules, const struct route_request *request)
{
    struct route_answer answer = {0};
    route_decide(rules, request, &answer);
    if (answer.page == ROUTE_REFUSAL) {
        ASSERT(answer.status >= 400 && answer.status < 500);
        ASSERT(answer.why != NULL && answer.why[strlen(answer.why) - 1] == '\n');
        ASSERT(!answer.sets_cookie);
        return;
    }
    ASSERT(strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0);
    ASSERT(request->host != NULL && strstr(request->host, "8642") != NULL);
    ASSERT(answer.page != ROUTE_ASSET || strcmp(assets[answer.asset].path, request->path) == 0);
    if (!rules->is_open)
        return;
    bool is_given =
        (request->token != NULL && strcmp(request->token, rules->token) == 0) ||
        (request->authorization != NULL && strstr(request->authorization, rules->token) != NULL) ||
        (request->cookie != NULL && strstr(request->cookie, rules->token) != NULL);
    ASSERT(is_given);
}

static void check_id(const char *text)
{
    struct feed_position position;
    struct feed_position again;
    char id[ROUTE_ID_BYTES];
    if (!route_parse_id(text, &position))
        return;
    route_format_id(position, id);
    ASSERT(route_parse_id(id, &again));
    ASSERT(again.generation == position.generation && again.offset == position.offset);
}

static void check_query(const char *key, const char *value)
{
    struct records_query *query = NULL;
    struct err err = {0};
    ASSERT(records_query_new(&query, NULL) == STATUS_OK);
    if (records_query_add(query, key, value, &err) != STATUS_OK)
        ASSERT(err.text[0] != '\0');
    records_query_free(query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct route_rules rules[] = {
        {.address = "127.0.0.1", .machine = "here", .port = 8642},
        {.address = "::",
         .machine = "here",
         .port = 8642,
         .is_open = true,
         .token = "SECRET-TOKEN"},
    };
    const char *texts[TEXTS_COUNT];
    char *copy = split(data, size, texts);
    const struct route_request request = {
        .method = texts[0] != NULL ? texts[0] : "",
        .path = texts[1] != NULL ? texts[1] : "",
        .host = texts[2],
        .authorization = texts[3],
        .cookie = texts[4],
        .token = texts[5],
        .fetch_site = texts[6],
        .fetch_mode = texts[7],
    };
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        check_answer(&rules[i], &request);
    check_id(texts[8]);
    (void)route_takes_gzip(texts[8]);
    (void)route_has_tag(texts[8], "\"h0123456789abcdef\"");
    if (texts[8] != NULL && texts[9] != NULL)
        check_query(texts[8], texts[9]);
    free(copy);
    return 0;
}
