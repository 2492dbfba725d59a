#include <criterion/criterion.h>
#include <jansson.h>

#include "failing_calls.h"
#include "paths.h"
#include "telemetry/environment.h"

#define SERVER TOKMARK_SOURCE_DIR "/tests/golden/environment/server"

TestSuite(telemetry_failing);

static void empty(void *context)
{
    buf_reset(context);
}

static enum status describe(void *context, struct err *err)
{
    return environment_write_at(SERVER, context, err);
}

/* What cannot be read is null; the text is whole. */
static void check_description(void *context, enum status status)
{
    const struct buf *text = context;
    if (status != STATUS_OK)
        return;
    json_t *object = json_loadb(text->data, text->length_bytes, 0, NULL);
    cr_assert_not_null(object);
    cr_expect(json_is_object(json_object_get(object, "cpu")));
    cr_expect(json_is_object(json_object_get(object, "system")));
    json_decref(object);
}

Test(telemetry_failing, an_environment_whose_files_cannot_be_read)
{
    struct buf text;
    buf_init(&text, ENVIRONMENT_BYTES_MAX);
    const struct failing_work work = {empty, describe, check_description, &text};
    cr_expect_geq(failing_calls(FAILING_SYSTEM, &work), 10);
    cr_expect_geq(failing_calls(FAILING_MEMORY, &work), 1);
    buf_release(&text);
}
