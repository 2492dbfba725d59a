#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry/variables.h"

static size_t find(const char *assignment, const char *flags, struct variable_harm *harm)
{
    char text[128];
    char *const environment[] = {text, NULL};
    struct cpuinfo *info = calloc(1, sizeof(*info));
    cr_assert_not_null(info);
    (void)snprintf(text, sizeof(text), "%s", assignment);
    (void)snprintf(info->flags, sizeof(info->flags), " %s ", flags);
    info->cpus_usable_count = 4;
    size_t count = variables_find_harm(environment, info, harm);
    free(info);
    return count;
}

Test(telemetry_variables, harm_depends_on_the_processor)
{
    static const struct {
        const char *assignment;
        const char *flags;
        size_t count;
    } cases[] = {
        {"OPENBLAS_CORETYPE=Haswell", "avx2 avx512f", 1},
        {"OPENBLAS_CORETYPE=haswell", "avx2 avx512f", 1},
        {"OPENBLAS_CORETYPE=Haswell", "avx2", 0},
        {"OPENBLAS_CORETYPE=SkylakeX", "avx2 avx512f", 0},
        {"OPENBLAS_CORETYPE=Nehalem", "avx2", 1},
        {"OPENBLAS_CORETYPE=Nehalem", "sse4_2", 0},
        {"ATEN_CPU_CAPABILITY=avx2", "avx2 avx512f", 1},
        {"ATEN_CPU_CAPABILITY=avx512", "avx2 avx512f", 0},
        {"ONEDNN_MAX_CPU_ISA=AVX2", "avx2", 0},
        {"OMP_NUM_THREADS=4", "avx2", 0},
        {"OMP_NUM_THREADS=5", "avx2", 1},
        {"OMP_NUM_THREADS=", "avx2", 0},
        {"MALLOC_PERTURB_=0", "avx2", 0},
        {"MALLOC_PERTURB_=1", "avx2", 1},
        {"NVIDIA_TF32_OVERRIDE=0", "avx2", 1},
        {"NVIDIA_TF32_OVERRIDE=1", "avx2", 0},
        {"GLIBC_TUNABLES=glibc.malloc.arena_max=1", "avx2", 0},
        {"GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F", "avx2", 1},
        {"XLA_FLAGS=--xla_force_host_platform_device_count=2", "avx2", 0},
        {"XLA_FLAGS=--xla_dump_to=/tmp/x", "avx2", 1},
        {"LD_PRELOAD=/usr/lib/libjemalloc.so.2", "avx2", 0},
        {"LD_PRELOAD=libasan.so.8", "avx2", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct variable_harm harm[VARIABLES_HARM_MAX];
        cr_expect_eq(find(cases[i].assignment, cases[i].flags, harm), cases[i].count, "%s on %s",
                     cases[i].assignment, cases[i].flags);
    }
}

Test(telemetry_variables, the_text_names_variable_and_value)
{
    struct variable_harm harm[VARIABLES_HARM_MAX];
    cr_assert_eq(find("OPENBLAS_CORETYPE=Haswell", "avx2 avx512f", harm), 1);
    cr_expect_eq(harm[0].scope, VARIABLE_PYTHON);
    cr_expect_eq(strncmp(harm[0].why, "OPENBLAS_CORETYPE=Haswell: ", 27), 0, "%s", harm[0].why);
}

Test(telemetry_variables, those_of_speed_are_written_sorted)
{
    char words[][40] = {"PATH=/bin",  "OMP_NUM_THREADS=2", "MALLOC_ARENA_MAX=a\xff/c",
                        "LD_PRELOAD", "LD_PRELOADED=1",    "CUDA_VISIBLE_DEVICES="};
    char *const environment[] = {words[0], words[1], words[2], words[3], words[4], words[5], NULL};
    struct buf text;
    struct json_writer writer;
    buf_init(&text, 4096);
    json_writer_init(&writer, &text);
    variables_write(environment, &writer);
    cr_expect_str_eq(text.data, "{\"CUDA_VISIBLE_DEVICES\":\"\",\"MALLOC_ARENA_MAX\":"
                                "\"a\xef\xbf\xbd/c\",\"OMP_NUM_THREADS\":\"2\"}");
    buf_release(&text);
}
