#include "cli/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile sig_atomic_t interrupts_count;
static volatile sig_atomic_t first_number;
static volatile sig_atomic_t is_status_wanted;
static volatile sig_atomic_t wake_fd = -1;

static void on_stop(int number)
{
    int saved_errno = errno;
    if (interrupts_count == 0)
        first_number = number;
    if (interrupts_count < 1000)
        interrupts_count++;
    if (wake_fd >= 0)
        (void)!write((int)wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    errno = saved_errno;
}

static void on_status(int number)
{
    (void)number;
    is_status_wanted = 1;
}

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void set_handlers(void)
{
    struct sigaction action = {.sa_handler = on_stop};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_COUNT(stop_signals); i++) {
        struct sigaction old;
        /* nohup and `&` in a script leave SIGHUP or SIGINT ignored: that is the caller's wish */
        if (sigaction(stop_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue;
        (void)sigaction(stop_signals[i], &action, NULL);
    }
    action.sa_handler = on_status;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGUSR1, &action, NULL);
}

enum status signals_open(int *ret_wake_fd, struct err *err)
{
    interrupts_count = 0;
    first_number = 0;
    is_status_wanted = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot wait for signals: %s", strerror(errno));
    wake_fd = fd;
    set_handlers();
    *ret_wake_fd = fd;
    return STATUS_OK;
}

void signals_close(void)
{
    int fd = (int)wake_fd;
    wake_fd = -1;
    if (fd >= 0)
        (void)close(fd);
}

const volatile sig_atomic_t *signals_interrupt(void)
{
    return &interrupts_count;
}

int signals_number(void)
{
    return (int)first_number;
}

const char *signals_name(void)
{
    switch (first_number) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGHUP: return "SIGHUP";
    default: return "";
    }
}

bool signals_take_status(void)
{
    bool is_wanted = is_status_wanted != 0;
    is_status_wanted = 0;
    return is_wanted;
}
