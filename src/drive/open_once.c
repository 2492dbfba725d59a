#include "drive/open_once.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "client/client.h"

static enum status start(struct client *client, char *log_path, struct err *err)
{
    int fd = mkstemp(log_path);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", log_path, strerror(errno));
    (void)close(fd);
    enum status status = client_start(client, log_path, "", err);
    (void)unlink(log_path);
    return status;
}

/* `ready` becomes the outcome's. */
static void take_client(struct client *client, struct open_once *outcome)
{
    const struct session *session = &client->session;
    outcome->hello = client->hello;
    outcome->has_ready = client->has_ready;
    outcome->ready = client->ready;
    client->ready = (struct proto_ready){0};
    outcome->verdict = session->reasons.count > 0 ? session->verdict : VERDICT_OK;
    outcome->reasons = session->reasons;
}

enum status open_once_run(const struct cell *cell, const struct client_options *options,
                          struct open_once *ret_outcome, struct err *err)
{
    struct client client;
    char log_path[FILE_PATH_BYTES];
    const char *folder = getenv("TMPDIR");
    client_init(&client, cell, options);
    enum status status = file_join(folder != NULL && folder[0] != '\0' ? folder : "/tmp",
                                   "tokmark-explain.XXXXXX", log_path, err);
    if (status == STATUS_OK)
        status = start(&client, log_path, err);
    if (status == STATUS_OK) {
        if (client_can_go_on(&client))
            client_open(&client);
        client_close(&client);
        if (session_is_interrupted(&client.session))
            session_end(&client.session, VERDICT_INTERRUPTED, "interrupted", "stopped by a signal");
        *ret_outcome = (struct open_once){0};
        take_client(&client, ret_outcome);
    }
    client_release(&client);
    return status;
}
