/* cli/main.c - for now only what the supervisor starts. */
#include <stdio.h>
#include <string.h>

#include "engines/engine.h"
#include "engines/worker.h"

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "worker") != 0) {
        (void)fprintf(stderr, "usage: tokmark worker ENGINE\n");
        return 2;
    }
    const struct engine_ops *ops = engine_find(argv[2]);
    if (ops == NULL) {
        (void)fprintf(stderr, "tokmark: no engine '%s'\n", argv[2]);
        return 2;
    }
    return worker_main(ops);
}
