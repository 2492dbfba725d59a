#include "client/options.h"

#include <poll.h>
#include <unistd.h>

bool client_is_interrupted(const struct client_options *options)
{
    return options->interrupt != NULL && *options->interrupt != 0;
}

void client_drain_wake(const struct client_options *options)
{
    struct pollfd polled = {.fd = options->wake_fd, .events = POLLIN};
    char bytes[64];
    if (polled.fd >= 0 && poll(&polled, 1, 0) == 1 && (polled.revents & POLLIN) != 0)
        (void)!read(polled.fd, bytes, sizeof(bytes));
}
