#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "scratch.h"
#include "telemetry/rapl.h"

static char root[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(root);
}

static void tear_down(void)
{
    scratch_free(root);
}

TestSuite(telemetry_rapl, .init = set_up, .fini = tear_down);

static void put(unsigned zone, const char *name, const char *text)
{
    static const char *const parts[] = {"/sys", "/sys/class", "/sys/class/powercap"};
    char path[FILE_PATH_BYTES];
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        (void)snprintf(path, sizeof(path), "%.2000s%s", root, parts[i]);
        (void)mkdir(path, 0755);
    }
    (void)snprintf(path, sizeof(path), "%.2000s/sys/class/powercap/intel-rapl:%u", root, zone);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof(path), "%.2000s/sys/class/powercap/intel-rapl:%u/%s", root, zone,
                   name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void put_package(unsigned zone, const char *name, const char *energy)
{
    put(zone, "name", name);
    put(zone, "energy_uj", energy);
    put(zone, "max_energy_range_uj", "10000000000\n");
}

Test(telemetry_rapl, packages_are_summed_and_nothing_else)
{
    struct rapl before, after;
    double joules = 0;
    put_package(0, "package-0\n", "1000000\n");
    put_package(1, "package-1\n", "5000000\n");
    put_package(2, "psys\n", "1\n");
    rapl_read(root, &before);
    cr_assert_null(before.missing);
    cr_expect_eq(before.count, 2);
    put_package(0, "package-0\n", "3500000\n");
    put_package(1, "package-1\n", "6000000\n");
    put_package(2, "psys\n", "99000000\n");
    rapl_read(root, &after);
    after.at_ns = before.at_ns + 2 * NS_PER_S;
    cr_expect_null(rapl_energy(&before, &after, &joules));
    cr_expect_float_eq(joules, 3.5, 1e-9);
}

Test(telemetry_rapl, a_counter_that_began_anew_is_followed_once)
{
    struct rapl before = {
        .count = 1, .at_ns = 1, .energy_uj = {9999000000}, .range_uj = {10000000000}};
    struct rapl after = {
        .count = 1, .at_ns = 1 + 2 * NS_PER_S, .energy_uj = {1000000}, .range_uj = {10000000000}};
    double joules = 0;
    cr_expect_null(rapl_energy(&before, &after, &joules));
    cr_expect_float_eq(joules, 2, 1e-9);
    after.at_ns = 1 + 11 * NS_PER_S; /* at 1000 W it may have begun anew twice */
    cr_expect_str_eq(rapl_energy(&before, &after, &joules), "may_have_wrapped");
    after.at_ns = 1 + NS_PER_S / 2;
    cr_expect_str_eq(rapl_energy(&before, &after, &joules), "too_short");
    /* Where it begins anew is not known: only that it did. */
    before.range_uj[0] = after.range_uj[0] = 0;
    after.at_ns = 1 + 2 * NS_PER_S;
    cr_expect_str_eq(rapl_energy(&before, &after, &joules), "may_have_wrapped");
    after.energy_uj[0] = before.energy_uj[0];
    cr_expect_null(rapl_energy(&before, &after, &joules));
    cr_expect_float_eq(joules, 0, 1e-9);
}

Test(telemetry_rapl, what_is_not_there_or_denied_is_a_reason)
{
    struct rapl rapl;
    rapl_read(root, &rapl);
    cr_expect_str_eq(rapl.missing, "no_rapl");
    put_package(0, "package-0\n", "none\n");
    rapl_read(root, &rapl);
    cr_expect_str_eq(rapl.missing, "no_rapl");
    char path[FILE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%.2000s/sys/class/powercap/intel-rapl:0/energy_uj", root);
    cr_assert_eq(chmod(path, 0), 0);
    (void)chmod(root, 0755);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    rapl_read(root, &rapl);
    cr_expect_str_eq(rapl.missing, "no_permission");
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}
