#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json_memory.h"
#include "cli/command.h"

/* A caller may have closed them (`>&-`). A results file must never be opened as descriptor 1 and
 * get the table written into it. In place of standard output stands what cannot be written to, so
 * that what is lost is told as it would be of any other output. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR);
}

/* `| head` has read what it wanted: nothing is lost. */
static bool has_reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/* Ends standard output. False after telling that not everything got there. */
static bool end_output(void)
{
    bool is_lost = ferror(stdout) != 0;
    is_lost |= fflush(stdout) != 0;
    if (!is_lost || has_reader_left())
        return true;
    /* Once more, for the reason: since that write others have set errno. */
    clearerr(stdout);
    errno = 0;
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    fprintf(stderr, "tokmark: cannot write to standard output: %s\n",
            errno == EBADF ? "it is closed" : strerror(errno != 0 ? errno : EIO));
    return false;
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    json_memory_install();
    /* A reader that goes away (`| head`) must not cost a record: writes report it instead. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* A file size limit (ulimit -f) is a full disk: the write reports it. */
    (void)signal(SIGXFSZ, SIG_IGN);
    enum exit_code code = command_main(argc, (const char *const *)argv);
    return end_output() ? (int)code : EXIT_CODE_IO;
}
