#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int clock_poll_ms(uint64_t left_ns, int ms_max)
{
    uint64_t ms = left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
    return ms < (uint64_t)ms_max ? (int)ms : ms_max;
}

uint64_t clock_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static void write_stamp(const struct timespec *time, char text[CLOCK_STAMP_BYTES])
{
    struct tm utc;
    (void)gmtime_r(&time->tv_sec, &utc);
    size_t length = strftime(text, CLOCK_STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + length, CLOCK_STAMP_BYTES - length, ".%03ldZ", time->tv_nsec / 1000000);
}

void clock_stamp(char text[CLOCK_STAMP_BYTES])
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    write_stamp(&now, text);
}

uint64_t clock_wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool read_stamp(const char *stamp, struct timespec *ret_time)
{
    struct tm utc = {0};
    const char *rest = strptime(stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL)
        return false;
    long ms = rest[0] == '.' ? strtol(rest + 1, NULL, 10) : 0;
    *ret_time = (struct timespec){timegm(&utc), ms >= 0 && ms < 1000 ? ms * 1000000 : 0};
    return true;
}

bool clock_stamp_shift(const char *stamp, int days, char ret_text[CLOCK_STAMP_BYTES])
{
    struct timespec time;
    if (!read_stamp(stamp, &time))
        return false;
    time.tv_sec += (time_t)days * 24 * 3600;
    write_stamp(&time, ret_text);
    return true;
}

bool clock_stamp_ns(const char *stamp, uint64_t *ret_ns)
{
    struct timespec time;
    if (!read_stamp(stamp, &time) || time.tv_sec < 0)
        return false;
    *ret_ns = (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
    return true;
}
