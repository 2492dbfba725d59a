#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void clock_stamp(char text[CLOCK_STAMP_BYTES])
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(text, CLOCK_STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + length, CLOCK_STAMP_BYTES - length, ".%03ldZ", now.tv_nsec / 1000000);
}
