#include "serve/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "result/folder_watch.h"
#include "serve/answer.h"
#include "serve/mhd.h"
#include "serve/stream.h"

#define LOOPBACK "127.0.0.1"
/* The kernel tells of changes, which are looked at that soon one after the other. Where it does not
 * the folder is looked at that often. */
#define LOOK_AGAIN_NS      (20 * NS_PER_MS)
#define LOOK_EVERY_MS      100
#define CLOCK_MS           1000 /* streams are kept alive, a run may have died */
#define BACKLOG            128
#define CONNECTIONS_MAX    512U
#define CONNECTION_BYTES   ((size_t)24 * 1024) /* a request's headers fit, or it is refused */
#define IDLE_TIMEOUT_S     20U
#define TOKEN_RANDOM_BYTES 16

struct server {
    struct answers answers;
    struct feed *feed; /* owned */
    struct live *live; /* owned */
    char dir[FILE_PATH_BYTES];
    char name[FILE_PATH_BYTES]; /* of the folder, for people */
    struct streams *streams;    /* owned */
    struct mhd mhd;
    struct MHD_Daemon *daemon; /* owned */
    int fd;                    /* owned until the daemon has it; -1 = none */
    char address[SERVER_ADDRESS_BYTES];
    uint64_t version, live_number; /* of the feed and the events, when they were looked at last */
};

/* --- where it listens --- */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static bool parse_address(const char *text, uint16_t port, union address *ret_address,
                          socklen_t *ret_bytes)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (inet_pton(AF_INET, text, &ret_address->four.sin_addr) == 1) {
        ret_address->four.sin_family = AF_INET;
        ret_address->four.sin_port = htons(port);
        *ret_bytes = sizeof(ret_address->four);
        return true;
    }
    ret_address->six.sin6_family = AF_INET6;
    ret_address->six.sin6_port = htons(port);
    *ret_bytes = sizeof(ret_address->six);
    return inet_pton(AF_INET6, text, &ret_address->six.sin6_addr) == 1;
}

static bool is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return (ntohl(address->four.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->six.sin6_addr);
}

static enum status listen_on(struct server *server, const char *text, uint16_t port,
                             struct err *err)
{
    union address address;
    socklen_t bytes = 0;
    if (!parse_address(text, port, &address, &bytes))
        return ERR(err, STATUS_INVALID,
                   "'%.100s' is no address, such as 0.0.0.0, 192.168.1.5 or ::", text);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    server->fd = fd;
    /* A server that was killed must be able to come back at once. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0)
        return ERR(err, STATUS_IO, "cannot listen: %s", strerror(errno));
    if (bind(fd, &address.any, bytes) != 0 || listen(fd, BACKLOG) != 0)
        return errno == EADDRINUSE
                   ? ERR(err, STATUS_BUSY, "port %u is taken; --port 0 takes any that is free",
                         (unsigned)port)
                   : ERR(err, STATUS_IO, "cannot listen on %.100s, port %u: %s", text,
                         (unsigned)port, strerror(errno));
    struct route_rules *rules = &server->answers.rules;
    rules->is_open = !is_loopback(&address);
    if (getsockname(fd, &address.any, &bytes) != 0)
        return ERR(err, STATUS_IO, "cannot listen: %s", strerror(errno));
    rules->port =
        ntohs(address.any.sa_family == AF_INET ? address.four.sin_port : address.six.sin6_port);
    (void)snprintf(rules->address, sizeof(rules->address), "%s", text);
    if (gethostname(rules->machine, sizeof(rules->machine) - 1) != 0)
        rules->machine[0] = '\0';
    return STATUS_OK;
}

static enum status make_token(struct route_rules *rules, const char *given, struct err *err)
{
    unsigned char bytes[TOKEN_RANDOM_BYTES];
    if (given != NULL) {
        (void)snprintf(rules->token, sizeof(rules->token), "%s", given);
        return STATUS_OK;
    }
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return ERR(err, STATUS_IO, "no random numbers for a token: %s", strerror(errno));
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)snprintf(rules->token + 2 * i, 3, "%02x", bytes[i]);
    return STATUS_OK;
}

/* What people open: an address that means "all of them" is none to open. */
static void write_address(struct server *server)
{
    const struct route_rules *rules = &server->answers.rules;
    bool is_any = strcmp(rules->address, "0.0.0.0") == 0 || strcmp(rules->address, "::") == 0;
    const char *name = is_any && rules->machine[0] != '\0' ? rules->machine : rules->address;
    bool is_six = strchr(name, ':') != NULL;
    (void)snprintf(server->address, sizeof(server->address), "http://%s%s%s:%u/%s%s",
                   is_six ? "[" : "", name, is_six ? "]" : "", (unsigned)rules->port,
                   rules->is_open ? "?token=" : "", rules->is_open ? rules->token : "");
}

/* The folder's own name: pages of several folders must be told apart. */
static void name_folder(const char *dir, char ret_name[FILE_PATH_BYTES])
{
    char path[PATH_MAX];
    const char *whole = realpath(dir, path) != NULL ? path : dir;
    const char *slash = strrchr(whole, '/');
    (void)snprintf(ret_name, FILE_PATH_BYTES, "%s",
                   slash != NULL && slash[1] != '\0' ? slash + 1 : whole);
}

/* --- life --- */

static enum status start_daemon(struct server *server, struct err *err)
{
    server->daemon = server->mhd.start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_ALLOW_SUSPEND_RESUME |
            (strchr(server->answers.rules.address, ':') != NULL ? MHD_USE_IPv6 : 0U),
        server->answers.rules.port, NULL, NULL, answer_request, &server->answers,
        MHD_OPTION_LISTEN_SOCKET, server->fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (server->daemon == NULL)
        return ERR(err, STATUS_IO, "libmicrohttpd cannot start");
    server->fd = -1; /* the daemon's */
    return STATUS_OK;
}

static enum status start(struct server *server, const struct server_options *options,
                         struct err *err)
{
    TRY(mhd_load(&server->mhd, err));
    TRY(listen_on(server, options->address != NULL ? options->address : LOOPBACK, options->port,
                  err));
    if (server->answers.rules.is_open)
        TRY(make_token(&server->answers.rules, options->token, err));
    write_address(server);
    TRY(feed_new(options->dir, &server->feed, err));
    TRY(live_new(options->dir, &server->live, err));
    name_folder(options->dir, server->name);
    (void)snprintf(server->dir, sizeof(server->dir), "%s", options->dir);
    TRY(streams_new(&server->mhd, server->feed, server->live, server->name, &server->streams, err));
    TRY(answers_open(&server->answers, &server->mhd, server->feed, server->streams, options->dir,
                     err));
    return start_daemon(server, err);
}

enum status server_start(const struct server_options *options, struct server **ret_server,
                         struct err *err)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a server");
    server->fd = -1;
    enum status status = start(server, options, err);
    if (status == STATUS_OK)
        *ret_server = server;
    else
        server_stop(server);
    return status;
}

void server_stop(struct server *server)
{
    if (server == NULL)
        return;
    if (server->daemon != NULL) {
        streams_end(server->streams);
        server->mhd.stop_daemon(server->daemon);
    }
    if (server->fd >= 0)
        (void)close(server->fd);
    answers_close(&server->answers);
    streams_free(server->streams);
    feed_free(server->feed);
    live_free(server->live);
    free(server);
}

const char *server_address(const struct server *server)
{
    return server->address;
}

/* True: to go on. */
static bool wait_for_more(const struct folder_watch *watch, int wake_fd, uint64_t looked_ns)
{
    struct pollfd polled[] = {{.fd = wake_fd, .events = POLLIN},
                              {.fd = watch->fd, .events = POLLIN}};
    int timeout_ms = watch->fd >= 0 ? CLOCK_MS : LOOK_EVERY_MS;
    (void)poll(polled, ARRAY_COUNT(polled), timeout_ms);
    uint64_t passed_ns = clock_now_ns() - looked_ns;
    if (polled[0].revents == 0 && passed_ns < LOOK_AGAIN_NS)
        (void)poll(polled, 1, clock_poll_ms(LOOK_AGAIN_NS - passed_ns, LOOK_EVERY_MS));
    return polled[0].revents == 0;
}

static enum status look(struct server *server, bool *ret_has_more, bool *ret_has_changed,
                        struct err *err)
{
    struct feed_state state;
    TRY(feed_read(server->feed, ret_has_more, err));
    TRY(live_read(server->live, err));
    feed_look(server->feed, &state);
    uint64_t number = live_newest(server->live);
    *ret_has_changed = state.version != server->version || number != server->live_number;
    server->version = state.version;
    server->live_number = number;
    return STATUS_OK;
}

enum status server_run(struct server *server, int wake_fd, struct err *err)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};
    struct folder_watch watch;
    enum status status = STATUS_OK;
    folder_watch_open(&watch, server->dir);
    for (bool goes_on = true; goes_on && status == STATUS_OK;) {
        bool has_more = false;
        bool has_changed = false;
        uint64_t now_ns = clock_now_ns();
        folder_watch_refresh(&watch);
        status = look(server, &has_more, &has_changed, err);
        streams_wake(server->streams, has_changed);
        goes_on = has_more ? poll(&wake, 1, 0) == 0 : wait_for_more(&watch, wake_fd, now_ns);
    }
    folder_watch_close(&watch);
    return status;
}
