#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "serve/route.h"
#include "serve/server.h"

#define TOKEN_LETTERS_MIN 16
#define PORT_DEFAULT      "8642"

/* Texts are borrowed: from the command line. */
struct serve_options {
    const char *address;    /* NULL = this machine alone */
    const char *token_file; /* NULL = none */
    uint64_t port;
};

static const struct option serve_rows[] = {
    {.name = "port",
     .short_name = 'p',
     .type = OPTION_NUMBER,
     .offset = offsetof(struct serve_options, port),
     .arg = "N",
     .def = PORT_DEFAULT,
     .max = UINT16_MAX,
     .group = "Where",
     .help = "the port; 0: any that is free"},
    {.name = "listen",
     .type = OPTION_TEXT,
     .offset = offsetof(struct serve_options, address),
     .arg = "ADDR",
     .max = 100,
     .group = "Where",
     .help = "an address that other machines reach, such as 0.0.0.0; they then need a token"},
    {.name = "token-file",
     .type = OPTION_TEXT,
     .offset = offsetof(struct serve_options, token_file),
     .arg = "FILE",
     .max = FILE_PATH_BYTES - 1,
     .group = "Where",
     .help =
         "the token for --listen, in a file that others cannot read; one is made up without it"},
    COMMAND_HELP_ROW,
};

/* The file's one line. */
static enum status read_token(const char *path, char ret_token[ROUTE_TOKEN_BYTES], struct err *err)
{
    struct buf text CLEANUP(buf_release);
    struct stat info;
    buf_init(&text, ROUTE_TOKEN_BYTES);
    if (stat(path, &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return ERR(err, STATUS_INVALID, "others may read '%.300s': chmod 600 it", path);
    TRY(file_read_all(path, &text, err));
    size_t bytes = strcspn(text.data, "\r\n");
    if (text.length_bytes > bytes + strspn(text.data + bytes, "\r\n") ||
        bytes < TOKEN_LETTERS_MIN || bytes >= ROUTE_TOKEN_BYTES ||
        strspn(text.data, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~") !=
            bytes)
        return ERR(err, STATUS_INVALID,
                   "'%.300s' is no token: one line of %d to %d letters, digits and -._~", path,
                   TOKEN_LETTERS_MIN, ROUTE_TOKEN_BYTES - 1);
    memcpy(ret_token, text.data, bytes);
    ret_token[bytes] = '\0';
    return STATUS_OK;
}

static enum exit_code stopped_by(void)
{
    switch (signals_number()) {
    case SIGHUP: return EXIT_CODE_HUNG_UP;
    case SIGTERM: return EXIT_CODE_TERMINATED;
    default: return EXIT_CODE_INTERRUPTED;
    }
}

static enum exit_code code_of(enum status status)
{
    return status == STATUS_INVALID ? EXIT_CODE_USAGE : EXIT_CODE_IO;
}

static enum exit_code serve(const struct invocation *call, const struct server_options *wanted)
{
    struct server *server = NULL;
    struct err err = {0};
    int wake_fd = -1;
    enum status status = signals_open(&wake_fd, &err);
    if (status == STATUS_OK)
        status = server_start(wanted, &server, &err);
    if (status == STATUS_OK) {
        struct stat info;
        if (stat(wanted->dir, &info) != 0)
            command_complain(call, "'%.300s' is not there yet; waiting for it", wanted->dir);
        (void)printf("%s\n", server_address(server));
        (void)fflush(stdout);
        status = server_run(server, wake_fd, &err);
    }
    server_stop(server);
    signals_close();
    if (status == STATUS_OK)
        return stopped_by();
    command_complain(call, "%s", err.text);
    return code_of(status);
}

static enum exit_code run_serve(const struct invocation *call)
{
    struct serve_options options = {0};
    struct options_seen seen = {0};
    struct err err = {0};
    char token[ROUTE_TOKEN_BYTES];
    enum exit_code code = EXIT_CODE_USAGE;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct server_options wanted = {
        .dir = seen.operands[0], .address = options.address, .port = (uint16_t)options.port};
    if (options.token_file != NULL && options.address == NULL) {
        command_complain(call, "--token-file is for --listen ADDR: without it only this machine "
                               "is answered, and no token is needed");
        return EXIT_CODE_USAGE;
    }
    if (options.token_file != NULL) {
        enum status status = read_token(options.token_file, token, &err);
        if (status != STATUS_OK) {
            command_complain(call, "%s", err.text);
            return code_of(status);
        }
        wanted.token = token;
    }
    return serve(call, &wanted);
}

const struct command command_serve = {
    .name = "serve",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Shows a results folder live on a page, while a sweep writes it.",
    .description =
        "Prints the page's address and goes on until it is interrupted. The folder may be one that "
        "a sweep is writing, an old one, one of the published scripts, or not there yet. The page "
        "needs no network beyond this server. /metrics is for Prometheus, /api/records gives "
        "records, /events the stream that the page reads (docs/serve.md).\n\nOnly this machine is "
        "answered. With --listen ADDR others are, with the token that the printed address "
        "holds; the connection is not encrypted: prefer an SSH tunnel.",
    .examples = "_bench\n"
                "_bench --port 0\n"
                "_bench --listen 0.0.0.0 --token-file token",
    .options = serve_rows,
    .options_count = ARRAY_COUNT(serve_rows),
    .run = run_serve,
};
