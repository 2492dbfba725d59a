/* observe/variables.c - does a variable of the surroundings slow down what the cell runs on? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe/list.h"
#include "spec/device.h"
#include "telemetry/variables.h"

/* Whom a variable would have to harm for this cell to be slower. */
static unsigned scopes_of(const struct cell *cell)
{
    static const char *const own[] = {"native", "null", "sandbox"};
    unsigned scopes = VARIABLE_ANY | VARIABLE_PYTHON;
    for (size_t i = 0; i < ARRAY_COUNT(own); i++)
        if (strcmp(cell->engine, own[i]) == 0)
            scopes = VARIABLE_ANY;
    return device_is_host(cell->device) ? scopes : scopes | VARIABLE_GPU;
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    (void)state;
    if (seen->summary == NULL || !client_is_here(seen->client))
        return;
    struct cpuinfo *info = malloc(sizeof(*info));
    if (info == NULL)
        return;
    cpuinfo_read("", info);
    struct variable_harm harm[VARIABLES_HARM_MAX];
    size_t count = variables_find_harm(environ, info, harm);
    free(info);
    unsigned scopes = scopes_of(seen->client->cell);
    /* One warning of each kind is kept: all that apply are in it. */
    char text[REASON_TEXT_BYTES] = "";
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(text);
        if ((harm[i].scope & scopes) == 0 ||
            length + strlen(harm[i].why) + sizeof("; ") > sizeof(text))
            continue;
        (void)snprintf(text + length, sizeof(text) - length, "%s%s", length > 0 ? "; " : "",
                       harm[i].why);
    }
    if (text[0] != '\0')
        judgement_warn(judgement, "harmful_variable", "%s", text);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    (void)state;
    (void)seen;
    (void)record;
}

const struct probe variables_probe = {
    .name = "variables",
    .judge = judge,
    .put = put,
};
