#include <criterion/criterion.h>
#include <gnu/libc-version.h>
#include <jansson.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/version.h"
#include "paths.h"
#include "telemetry/cpuinfo.h"
#include "telemetry/environment.h"

#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/environment/" name
#define TEXT_BYTES    (1U << 20)

static json_t *read_environment(const char *root)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES);
    struct err err = {0};
    cr_assert_eq(environment_write_at(root, &text, &err), STATUS_OK, "%s", err.text);
    json_error_t error;
    json_t *object = json_loadb(text.data, text.length_bytes, 0, &error);
    cr_assert_not_null(object, "%s: %s", error.text, text.data);
    buf_release(&text);
    return object;
}

static const json_t *get(const json_t *object, const char *group, const char *key)
{
    const json_t *value = json_object_get(json_object_get(object, group), key);
    cr_assert_not_null(value, "%s.%s", group, key);
    return value;
}

static void check_number(const json_t *object, const char *group, const char *key, long long wanted)
{
    const json_t *value = get(object, group, key);
    cr_assert(json_is_integer(value), "%s.%s", group, key);
    cr_assert_eq(json_integer_value(value), wanted, "%s.%s is %lld", group, key,
                 (long long)json_integer_value(value));
}

static void check_text(const json_t *object, const char *group, const char *key, const char *wanted)
{
    const json_t *value = get(object, group, key);
    cr_assert(json_is_string(value), "%s.%s", group, key);
    cr_assert_str_eq(json_string_value(value), wanted);
}

static void check_null(const json_t *object, const char *group, const char *key)
{
    cr_assert(json_is_null(get(object, group, key)), "%s.%s", group, key);
}

Test(telemetry_environment, a_server_is_described)
{
    json_t *object = read_environment(FIXTURE("server"));
    check_text(object, "cpu", "model", "Intel(R) Xeon(R) Platinum 8480+");
    check_text(object, "cpu", "vendor", "GenuineIntel");
    check_text(object, "cpu", "microcode", "0x2b000603");
    check_number(object, "cpu", "family", 6);
    check_number(object, "cpu", "model_number", 143);
    check_number(object, "cpu", "stepping", 8);
    check_number(object, "cpu", "sockets", 2);
    check_number(object, "cpu", "cores", 4);
    check_number(object, "cpu", "cpus_online", 7);
    check_number(object, "cpu", "cpus_usable", 6);
    check_number(object, "cpu", "max_khz", 3800000);
    check_text(object, "cpu", "governor", "performance");
    cr_assert(json_is_false(get(object, "cpu", "boost")), "no_turbo is 1");
    check_number(object, "memory", "total_bytes", 528280576LL * 1024);
    check_number(object, "memory", "numa_nodes", 2);
    check_text(object, "memory", "transparent_huge_pages", "always");
    check_number(object, "cpu", "threads_per_core", 2);
    check_text(object, "cpu", "affinity", "0-3,5-6");
    char *nodes = json_dumps(get(object, "memory", "nodes"), JSON_COMPACT);
    cr_assert_str_eq(nodes, "[{\"node\":0,\"cpus\":\"0-3\",\"total_bytes\":270479654912},"
                            "{\"node\":1,\"cpus\":\"4-6\",\"total_bytes\":270479654912}]");
    free(nodes);
    check_null(object, "limits", "memory_bytes");
    check_null(object, "limits", "cpus");
    check_text(object, "system", "kernel", "6.1.0-18-amd64");
    check_text(object, "system", "hypervisor", "none");
    char *features = json_dumps(get(object, "cpu", "features"), JSON_COMPACT);
    cr_assert_str_eq(features, "[\"sse4_2\",\"avx\",\"avx2\",\"fma\",\"f16c\",\"avx_vnni\","
                               "\"avx512f\",\"avx512bw\",\"avx512vl\",\"avx512dq\",\"avx512_bf16\","
                               "\"avx512_fp16\",\"amx_tile\",\"amx_bf16\",\"amx_int8\"]");
    free(features);
    const json_t *caches = get(object, "cpu", "caches");
    cr_assert_eq(json_array_size(caches), 4);
    char *last = json_dumps(json_array_get(caches, 3), JSON_COMPACT);
    cr_assert_str_eq(last,
                     "{\"level\":3,\"type\":\"Unified\",\"bytes\":110100480,\"cpus_sharing\":4}");
    free(last);
    json_decref(object);
}

Test(telemetry_environment, a_container_shows_its_limits)
{
    json_t *object = read_environment(FIXTURE("container"));
    check_number(object, "memory", "total_bytes", 16LL << 30);
    check_number(object, "limits", "memory_bytes", 8LL << 30);
    cr_assert_eq(json_real_value(get(object, "limits", "cpus")), 1.5);
    check_text(object, "cpu", "governor", "mixed");
    cr_assert(json_is_true(get(object, "cpu", "boost")));
    check_text(object, "system", "hypervisor", "QEMU");
    check_text(object, "memory", "transparent_huge_pages", "madvise");
    check_null(object, "cpu", "microcode");
    check_null(object, "cpu", "caches");
    check_null(object, "cpu", "cores");
    json_decref(object);
    object = read_environment(FIXTURE("container_v1"));
    check_null(object, "limits", "memory_bytes");
    cr_assert_eq(json_real_value(get(object, "limits", "cpus")), 0.5);
    json_decref(object);
}

Test(telemetry_environment, what_is_unknown_is_null)
{
    static const char *const roots[] = {FIXTURE("container_v1"), FIXTURE("nowhere")};
    static const char *const keys[] = {"model",     "vendor",  "family",      "model_number",
                                       "stepping",  "sockets", "cpus_online", "cpus_usable",
                                       "governor",  "boost",   "max_khz",     "cores",
                                       "microcode", "caches",  "affinity",    "threads_per_core"};
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++) {
        json_t *object = read_environment(roots[i]);
        for (size_t k = 0; k < ARRAY_COUNT(keys); k++)
            check_null(object, "cpu", keys[k]);
        cr_assert_eq(json_array_size(get(object, "cpu", "features")), 0);
        check_null(object, "memory", "transparent_huge_pages");
        check_null(object, "memory", "nodes");
        check_null(object, "system", "kernel");
        check_null(object, "system", "hypervisor");
        json_decref(object);
    }
}

Test(telemetry_environment, this_machine_agrees_with_other_sources)
{
    json_t *object = read_environment("");
    check_number(object, "cpu", "cpus_online", sysconf(_SC_NPROCESSORS_ONLN));
    cpu_set_t usable;
    cr_assert_eq(sched_getaffinity(0, sizeof(usable), &usable), 0);
    check_number(object, "cpu", "cpus_usable", CPU_COUNT(&usable));
    check_number(object, "memory", "total_bytes",
                 (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    struct utsname name;
    cr_assert_eq(uname(&name), 0);
    check_text(object, "system", "kernel", name.release);
    char libc[64];
    (void)snprintf(libc, sizeof(libc), "glibc %s", gnu_get_libc_version());
    check_text(object, "system", "libc", libc);
    check_text(object, "build", "version", version_text());
    check_text(object, "build", "commit", version_commit());
    check_text(object, "build", "compiler", version_compiler());
    check_text(object, "build", "flags", version_flags());
#if defined(__x86_64__)
    const json_t *features = get(object, "cpu", "features");
    bool has_avx2 = false;
    for (size_t i = 0; i < json_array_size(features); i++)
        has_avx2 |= strcmp(json_string_value(json_array_get(features, i)), "avx2") == 0;
    cr_assert_eq(has_avx2, __builtin_cpu_supports("avx2") != 0);
    cr_assert(json_integer_value(get(object, "cpu", "sockets")) >= 1);
#endif
    const json_t *caches = get(object, "cpu", "caches");
    long level1 = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (json_is_array(caches) && level1 > 0) {
        const json_t *first = json_array_get(caches, 0);
        cr_assert_eq(json_integer_value(json_object_get(first, "bytes")), level1);
    }
    json_decref(object);
}

Test(telemetry_environment, the_text_is_the_same_every_time)
{
    struct buf first;
    struct buf second;
    buf_init(&first, TEXT_BYTES);
    buf_init(&second, TEXT_BYTES);
    cr_assert_eq(environment_write(&first, NULL), STATUS_OK);
    cr_assert_eq(environment_write(&second, NULL), STATUS_OK);
    cr_assert_str_eq(first.data, second.data);
    buf_release(&second);
    struct buf tiny;
    buf_init(&tiny, 10);
    cr_assert_eq(environment_write(&tiny, NULL), STATUS_NOMEM);
    buf_release(&tiny);
    buf_release(&first);
}

/* The fingerprint of the server with group.key set to `value` (stolen), or as it is. */
static void fingerprint_with(const char *group, const char *key, json_t *value,
                             char id[HASH_ID_BYTES])
{
    json_t *object = read_environment(FIXTURE("server"));
    if (group != NULL)
        json_object_set_new(json_object_get(object, group), key, value);
    char *text = json_dumps(object, 0);
    environment_fingerprint(text, id);
    free(text);
    json_decref(object);
}

Test(telemetry_environment, the_fingerprint_changes_with_what_decides_speed)
{
    char base[HASH_ID_BYTES];
    char other[HASH_ID_BYTES];
    fingerprint_with(NULL, NULL, NULL, base);
    cr_assert_eq(strlen(base), HASH_ID_BYTES - 1);
    static const char *const texts[][2] = {
        {"cpu", "model"},     {"cpu", "governor"},
        {"system", "kernel"}, {"memory", "transparent_huge_pages"},
        {"build", "version"}, {"build", "commit"},
        {"build", "flags"},   {"build", "compiler"}};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        fingerprint_with(texts[i][0], texts[i][1], json_string("other"), other);
        cr_assert_str_neq(other, base, "%s.%s", texts[i][0], texts[i][1]);
    }
    static const char *const numbers[][2] = {{"cpu", "family"},          {"cpu", "model_number"},
                                             {"cpu", "stepping"},        {"cpu", "cpus_usable"},
                                             {"limits", "memory_bytes"}, {"memory", "total_bytes"}};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        fingerprint_with(numbers[i][0], numbers[i][1], json_integer(5LL << 30), other);
        cr_assert_str_neq(other, base, "%s.%s", numbers[i][0], numbers[i][1]);
    }
    fingerprint_with("limits", "cpus", json_real(1.5), other);
    cr_assert_str_neq(other, base);
    fingerprint_with("cpu", "boost", json_true(), other);
    cr_assert_str_neq(other, base);
}

Test(telemetry_environment, the_fingerprint_changes_with_the_workers_interpreter)
{
    static const char *const workers[] = {
        "{\"worker\":{\"python\":\"3.12\",\"packages\":{\"torch\":\"2.9\"}}}",
        "{\"worker\":{\"python\":\"3.13\",\"packages\":{\"torch\":\"2.9\"}}}",
        "{\"worker\":{\"python\":\"3.12\",\"packages\":{\"torch\":\"2.8\"}}}"};
    char ids[3][HASH_ID_BYTES];
    for (size_t i = 0; i < ARRAY_COUNT(workers); i++)
        environment_fingerprint(workers[i], ids[i]);
    cr_expect_str_neq(ids[0], ids[1]);
    cr_expect_str_neq(ids[0], ids[2]);
}

Test(telemetry_environment, the_fingerprint_ignores_what_does_not)
{
    char base[HASH_ID_BYTES];
    char other[HASH_ID_BYTES];
    fingerprint_with(NULL, NULL, NULL, base);
    /* a few MiB more are kept by another kernel configuration: 503.8 GiB is 504 either way */
    fingerprint_with("memory", "total_bytes", json_integer((528280576LL + 8192) * 1024), other);
    cr_assert_str_eq(other, base);
    fingerprint_with("cpu", "later_key", json_integer(1), other);
    cr_assert_str_eq(other, base);
    environment_fingerprint("no json", base);
    environment_fingerprint("no json!", other);
    cr_assert_str_neq(other, base);
}

Test(telemetry_environment, a_machine_is_the_same_whatever_is_built_and_runs_on_it)
{
    char base[HASH_ID_BYTES];
    char other[HASH_ID_BYTES];
    environment_machine("{\"cpu\":{\"model\":\"a\"},\"build\":{\"commit\":\"b\"}}", base);
    environment_machine("{\"cpu\":{\"model\":\"a\"},\"build\":{\"commit\":\"c\"},"
                        "\"worker\":{\"python\":\"3\"}}",
                        other);
    cr_expect_str_eq(other, base);
    environment_machine("{\"cpu\":{\"model\":\"d\"},\"build\":{\"commit\":\"b\"}}", other);
    cr_expect_str_neq(other, base);
    environment_fingerprint("{\"cpu\":{\"model\":\"a\"},\"build\":{\"commit\":\"b\"}}", other);
    cr_expect_str_neq(other, base);
}

Test(telemetry_environment, lists_of_processors_are_read)
{
    static const struct {
        const char *text;
        unsigned count;
    } good[] = {{"0", 1}, {"0-3", 4}, {"0-3,8,10-11", 7}, {"8191", 1}, {"3,3,2-4", 3}};
    static struct cpu_list list;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_assert(cpu_list_parse(good[i].text, &list), "%s", good[i].text);
        cr_assert_eq(cpu_list_count(&list), good[i].count, "%s", good[i].text);
    }
    cr_assert(cpu_list_has(&list, 4));
    cr_assert_not(cpu_list_has(&list, 5));
    cr_assert_not(cpu_list_has(&list, 100000));
    static const char *const bad[] = {"",   "x",    "1-",   "3-1",           ",1",
                                      "1,", "1,,2", "8192", "0-99999999999", "1 2"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_assert_not(cpu_list_parse(bad[i], &list), "%s", bad[i]);
}
