#include "serve/route.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "serve/assets.h"

#define ID_DIGITS 16

/* --- Host --- */

/* Splits "name:port" or "[address]:port"; the port is the scheme's where there is none. */
static bool split_host(const char *host, char ret_name[ROUTE_NAME_BYTES], uint64_t *ret_port)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : host + strcspn(host, ":");
    if (end == NULL)
        return false;
    if (*end == ']')
        end++;
    size_t bytes = (size_t)(end - host);
    if (bytes == 0 || bytes >= ROUTE_NAME_BYTES)
        return false;
    memcpy(ret_name, host, bytes);
    ret_name[bytes] = '\0';
    *ret_port = 80;
    return *end == '\0' ||
           (*end == ':' && num_parse_u64(end + 1, 1, UINT16_MAX, ret_port, NULL) == STATUS_OK);
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

/* An address as it stands in a Host. No site can have one as its name. */
static bool is_address(const char *name)
{
    size_t bytes = strlen(name);
    if (name[0] == '[')
        return bytes > 2 && name[bytes - 1] == ']' &&
               strspn(name + 1, "0123456789abcdefABCDEF:.") == bytes - 2;
    return strspn(name, "0123456789.") == bytes && bytes >= 7;
}

/* A server on this machine alone is asked by this machine's own names. One that others reach may be
 * asked by any address, and by the machine's name. */
static bool is_host_ours(const struct route_rules *rules, const char *host)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    char name[ROUTE_NAME_BYTES];
    char address[ROUTE_NAME_BYTES + 2];
    uint64_t port;
    if (host == NULL || !split_host(host, name, &port) || port != rules->port)
        return false;
    (void)snprintf(address, sizeof(address), strchr(rules->address, ':') != NULL ? "[%s]" : "%s",
                   rules->address);
    if (is_one_of(name, own, ARRAY_COUNT(own)) || strcasecmp(name, address) == 0)
        return true;
    return rules->is_open && (is_address(name) ||
                              (rules->machine[0] != '\0' && strcasecmp(name, rules->machine) == 0));
}

/* --- the token --- */

/* Do the texts have equal bytes? In a time that says nothing of where they differ. */
static bool is_same_secret(const char *given, const char *secret)
{
    size_t given_bytes = strlen(given);
    size_t secret_bytes = strlen(secret);
    size_t difference = given_bytes ^ secret_bytes;
    for (size_t i = 0; i < secret_bytes; i++)
        difference |= (size_t)((unsigned char)secret[i] ^
                               (unsigned char)given[given_bytes > 0 ? i % given_bytes : 0]);
    return difference == 0;
}

static bool is_cookie_right(const struct route_rules *rules, const char *cookies)
{
    char name[32];
    char value[ROUTE_TOKEN_BYTES];
    int length = snprintf(name, sizeof(name), ROUTE_COOKIE "=", (unsigned)rules->port);
    for (const char *at = cookies; at != NULL && *at != '\0';) {
        at += strspn(at, " ;");
        size_t bytes = strcspn(at, ";");
        size_t value_bytes = bytes - (bytes < (size_t)length ? bytes : (size_t)length);
        if (strncmp(at, name, (size_t)length) == 0 && value_bytes < sizeof(value)) {
            memcpy(value, at + length, value_bytes);
            value[value_bytes] = '\0';
            if (is_same_secret(value, rules->token))
                return true;
        }
        at += bytes;
    }
    return false;
}

static bool is_token_right(const struct route_rules *rules, const struct route_request *request)
{
    static const char bearer[] = "Bearer ";
    if (request->token != NULL)
        return is_same_secret(request->token, rules->token);
    if (request->authorization != NULL)
        return strncasecmp(request->authorization, bearer, strlen(bearer)) == 0 &&
               is_same_secret(request->authorization + strlen(bearer), rules->token);
    return is_cookie_right(rules, request->cookie);
}

/* --- the answer --- */

/* Another site's page may show a link to us, and no more. */
static bool is_of_other_site(const struct route_request *request)
{
    return request->fetch_site != NULL && strcmp(request->fetch_site, "cross-site") == 0 &&
           (request->fetch_mode == NULL || strcmp(request->fetch_mode, "navigate") != 0);
}

static struct route_answer refuse(unsigned status, const char *why)
{
    return (struct route_answer){.page = ROUTE_REFUSAL, .status = status, .why = why};
}

static struct route_answer find_page(const char *path)
{
    static const struct {
        const char *path;
        enum route_page page;
    } pages[] = {
        {"/events", ROUTE_EVENTS}, {"/metrics", ROUTE_METRICS}, {"/api/records", ROUTE_RECORDS}};
    for (size_t i = 0; i < ARRAY_COUNT(pages); i++)
        if (strcmp(pages[i].path, path) == 0)
            return (struct route_answer){.page = pages[i].page};
    for (size_t i = 0; i < assets_count; i++)
        if (strcmp(assets[i].path, path) == 0)
            return (struct route_answer){.page = ROUTE_ASSET, .asset = i};
    return refuse(404, "there is no such page: / /events /metrics /api/records\n");
}

void route_decide(const struct route_rules *rules, const struct route_request *request,
                  struct route_answer *ret_answer)
{
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        *ret_answer = refuse(405, "only GET and HEAD\n");
    else if (!is_host_ours(rules, request->host))
        *ret_answer = refuse(421, "this server is not asked by that name: use the address that "
                                  "`tokmark serve` prints\n");
    else if (is_of_other_site(request))
        *ret_answer = refuse(403, "another site's page may not read this\n");
    else if (rules->is_open && !is_token_right(rules, request))
        *ret_answer = refuse(401, "open the address with the token that `tokmark serve` prints, or "
                                  "send Authorization: Bearer TOKEN\n");
    else
        *ret_answer = find_page(request->path);
    ret_answer->sets_cookie =
        ret_answer->page == ROUTE_ASSET && rules->is_open && request->token != NULL;
}

/* --- texts of headers --- */

void route_format_id(struct feed_position position, char ret_text[ROUTE_ID_BYTES])
{
    (void)snprintf(ret_text, ROUTE_ID_BYTES, "%016" PRIx64 "-%" PRIu64, position.generation,
                   position.offset);
}

bool route_parse_id(const char *text, struct feed_position *ret_position)
{
    char digits[ID_DIGITS + 1];
    struct feed_position position;
    if (text == NULL || strspn(text, "0123456789abcdef") != ID_DIGITS || text[ID_DIGITS] != '-')
        return false;
    memcpy(digits, text, ID_DIGITS);
    digits[ID_DIGITS] = '\0';
    position.generation = strtoull(digits, NULL, 16);
    if (num_parse_u64(text + ID_DIGITS + 1, 0, INT64_MAX, &position.offset, NULL) != STATUS_OK)
        return false;
    *ret_position = position;
    return true;
}

bool route_takes_gzip(const char *accepted)
{
    for (const char *at = accepted; at != NULL && *at != '\0';) {
        at += strspn(at, " \t,");
        size_t bytes = strcspn(at, ",");
        size_t name_bytes = strcspn(at, " \t,;");
        if (name_bytes == 4 && strncasecmp(at, "gzip", 4) == 0) {
            /* q=0, q=0.0 ...: not this one */
            const char *weight = memmem(at, bytes, "q=", 2);
            return weight == NULL || strspn(weight + 2, "0.") < strcspn(weight + 2, " \t,;");
        }
        at += bytes;
    }
    return false;
}

bool route_has_tag(const char *tags, const char *tag)
{
    size_t tag_bytes = strlen(tag);
    for (const char *at = tags; at != NULL && *at != '\0';) {
        at += strspn(at, " \t,");
        size_t bytes = strcspn(at, ",");
        size_t weak = strncmp(at, "W/", 2) == 0 ? 2 : 0;
        if (at[0] == '*')
            return true;
        size_t end = bytes;
        while (end > weak && (at[end - 1] == ' ' || at[end - 1] == '\t'))
            end--;
        if (end - (end < weak ? end : weak) == tag_bytes && memcmp(at + weak, tag, tag_bytes) == 0)
            return true;
        at += bytes;
    }
    return false;
}
