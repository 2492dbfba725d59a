#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

/* A caller may have closed them (`>&-`). A results file must never be opened as descriptor 1 and
 * get the table written into it. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    /* A reader that goes away (`| head`) must not cost a record: writes report it instead. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* A file size limit (ulimit -f) is a full disk: the write reports it. */
    (void)signal(SIGXFSZ, SIG_IGN);
    errno = 0;
    enum exit_code code = command_main(argc, (const char *const *)argv);
    bool is_lost = ferror(stdout) != 0;
    is_lost |= fflush(stdout) != 0;
    if (is_lost && errno != EPIPE) {
        fprintf(stderr, "tokmark: cannot write to standard output: %s\n", strerror(errno));
        return code == EXIT_CODE_OK ? EXIT_CODE_IO : (int)code;
    }
    return (int)code;
}
