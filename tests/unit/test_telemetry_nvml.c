#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "paths.h"
#include "scratch.h"
#include "telemetry/gpu_watch.h"
#include "telemetry/nvml.h"

static char folder[FILE_PATH_BYTES];
static char script[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(folder);
    (void)scratch_path(script, folder, "card.txt");
    cr_assert_eq(setenv("TOKMARK_FAKE_NVML", script, 1), 0);
}

static void tear_down(void)
{
    scratch_free(folder);
}

TestSuite(telemetry_nvml, .init = set_up, .fini = tear_down);

static void say(const char *text)
{
    FILE *file = fopen(script, "we");
    cr_assert_not_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

/* Loaded by its path, it is what the program finds under the library's name. */
static struct nvml *open_fake(const char *kind)
{
    char path[FILE_PATH_BYTES];
    const char *missing = NULL;
    (void)snprintf(path, sizeof(path), "%s/%s/libnvidia-ml.so.1", TOKMARK_FAKE_NVML_DIR, kind);
    cr_assert_not_null(dlopen(path, RTLD_NOW), "%s", dlerror());
    struct nvml *nvml = nvml_open(&missing);
    cr_assert_not_null(nvml, "%s", missing);
    return nvml;
}

Test(telemetry_nvml, a_card_is_found_by_its_bus)
{
    say("count 2\n0.bus_id 00000000:1B:00.0\n1.bus_id 00010000:3B:00.0\n");
    struct nvml *nvml = open_fake("new");
    unsigned index = 9;
    cr_expect(nvml_find(nvml, "0000:1b:00.0", &index));
    cr_expect_eq(index, 0);
    cr_expect(nvml_find(nvml, "10000:3b:00.0", &index));
    cr_expect_eq(index, 1);
    cr_expect_not(nvml_find(nvml, "0000:3b:00.0", &index));
    nvml_close(nvml);
}

Test(telemetry_nvml, memory_of_the_smallest_card)
{
    say("count 2\n0.memory_total 3000\n1.memory_total 2000\n");
    nvml_close(open_fake("new"));
    cr_expect_eq(nvml_smallest_memory(), 2000);
}

Test(telemetry_nvml, memory_of_a_process_is_told_from_that_of_others)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "count 1\n0.memory_total 1000\n0.memory_used 300\n0.memory_reserved 50\n"
                   "0.process0 1 100\n0.process1 %ld 150\n",
                   (long)getpid());
    say(text);
    struct nvml *nvml = open_fake("new");
    struct nvml_memory memory;
    nvml_read_memory(nvml, 0, getpid(), &memory);
    cr_expect_eq(memory.used_bytes.value, 300);
    cr_expect_eq(memory.process_bytes.value, 150);
    cr_expect_null(memory.process_bytes.missing);
    cr_expect_eq(memory.processes_count.value, 2);
    nvml_read_memory(nvml, 0, 2, &memory);
    cr_expect_str_eq(memory.process_bytes.missing, "not_listed");
    nvml_close(nvml);
}

Test(telemetry_nvml, an_old_driver_is_asked_by_older_names)
{
    say("count 1\n0.memory_total 1000\n0.memory_used 300\n0.memory_reserved 50\n0.throttle 0x40\n"
        "0.power_mw 5\n0.power_average_mw 7000\n0.process0 1 100\n");
    struct nvml *nvml = open_fake("old");
    struct nvml_reading reading;
    struct nvml_memory memory;
    nvml_read(nvml, 0, &reading);
    cr_expect_eq(reading.throttle.value, NVML_THROTTLE_HW_THERMAL);
    cr_expect_eq(reading.power_mw.value, 7000);
    cr_expect_not(reading.is_power_instant);
    nvml_read_memory(nvml, 0, 1, &memory);
    cr_expect_eq(memory.used_bytes.value, 350, "what the older call says is with the reserved");
    cr_expect_eq(memory.process_bytes.value, 100);
    nvml_close(nvml);
}

Test(telemetry_nvml, memory_that_a_driver_does_not_tell_apart_is_no_number)
{
    say("count 1\n0.process0 7 18446744073709551615\n");
    struct nvml *nvml = open_fake("new");
    struct nvml_memory memory;
    nvml_read_memory(nvml, 0, 7, &memory);
    cr_expect_str_eq(memory.process_bytes.missing, "not_supported");
    cr_expect(memory.is_listed);
    nvml_close(nvml);
}

static struct gpu_watch *watch_first(struct nvml *nvml)
{
    const unsigned index = 0;
    struct gpu_watch *watch = NULL;
    cr_assert(gpu_watch_start(nvml, &index, 1, getpid(), &watch));
    cr_assert_not_null(watch);
    return watch;
}

static void watch_for(struct nvml *nvml, long ms, struct gpu_totals *totals)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    struct gpu_watch *watch = watch_first(nvml);
    (void)nanosleep(&pause, NULL);
    gpu_watch_stop(&watch, 1, totals);
}

/* Its thread mostly comes to run when the watch is over. */
Test(telemetry_nvml, a_card_is_looked_at_however_short_the_span)
{
    say("count 1\n0.sm_mhz 1000\n0.energy_mj !3\n");
    struct nvml *nvml = open_fake("new");
    for (unsigned i = 0; i < 20; i++) {
        struct gpu_totals totals;
        struct gpu_watch *watch = watch_first(nvml);
        gpu_watch_stop(&watch, 1, &totals);
        cr_expect_geq(totals.samples_count, 1);
        cr_expect_eq(totals.sm_mhz.max, 1000);
    }
    nvml_close(nvml);
}

Test(telemetry_nvml, a_watch_sums_up_what_it_saw)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "count 1\n0.sm_mhz 1000\n0.memory_mhz 900\n0.power_mw 200000\n"
                   "0.temperature_c 50\n0.throttle 0x21\n0.memory_total 1000\n"
                   "0.memory_used 300\n0.process0 1 100\n0.process1 %ld 150\n",
                   (long)getpid());
    say(text);
    struct nvml *nvml = open_fake("new");
    struct gpu_totals totals;
    watch_for(nvml, 2200, &totals);
    cr_expect_eq(totals.memory_mhz.max, 900);
    cr_expect_eq(totals.temperature_c.max, 50);
    cr_expect_eq(totals.used_bytes.max, 300);
    cr_expect_eq(totals.process_bytes.max, 150);
    cr_expect_eq(totals.others.max, 1);
    cr_expect_null(totals.counter_missing);
    cr_expect_null(totals.integrated_missing);
    double joules = 200 * (double)totals.wall_ns / 1e9;
    cr_expect_float_eq(totals.integrated_j, joules, 0.001 * joules);
    cr_expect_float_eq(totals.counter_j, joules, 0.05 * joules);
    cr_expect_eq(totals.sm_mhz.min, 1000);
    cr_expect_eq(totals.sm_mhz.max, 1000);
    cr_expect_eq(totals.throttles[0], totals.throttles_counted);
    cr_expect_eq(totals.throttles[5], totals.throttles_counted);
    cr_expect_eq(totals.throttles[2], 0);
    cr_expect_eq(totals.throttles_counted, totals.samples_count);
    cr_expect_leq(totals.samples_count, 10 * (totals.wall_ns / NS_PER_S + 1) + 1);
    nvml_close(nvml);
}

Test(telemetry_nvml, a_counter_that_stands_still_is_none)
{
    say("count 1\n0.energy_mj 5000\n0.power_mw 200000\n");
    struct nvml *nvml = open_fake("new");
    struct gpu_totals totals;
    watch_for(nvml, 2050, &totals);
    cr_expect_str_eq(totals.counter_missing, "not_supported");
    cr_expect_null(totals.integrated_missing);
    nvml_close(nvml);
}

Test(telemetry_nvml, a_short_watch_says_nothing_of_energy)
{
    say("count 1\n0.power_mw 200000\n");
    struct nvml *nvml = open_fake("new");
    struct gpu_totals totals;
    watch_for(nvml, 50, &totals);
    cr_expect_str_eq(totals.counter_missing, "too_short");
    cr_expect_str_eq(totals.integrated_missing, "too_short");
    nvml_close(nvml);
}
