#include "cli/run_id.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

void run_id_make(char id[RUN_ID_BYTES])
{
    time_t now = time(NULL);
    struct tm utc;
    unsigned char random[3] = {0};
    (void)gmtime_r(&now, &utc);
    (void)!getrandom(random, sizeof(random), 0);
    size_t length = strftime(id, RUN_ID_BYTES, "r%Y%m%dT%H%M%SZ", &utc);
    (void)snprintf(id + length, RUN_ID_BYTES - length, "-%02x%02x%02x", random[0], random[1],
                   random[2]);
}
