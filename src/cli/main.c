#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int main(int argc, char **argv)
{
    /* A reader that goes away (`| head`) must not cost a record: writes report it instead. */
    (void)signal(SIGPIPE, SIG_IGN);
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
