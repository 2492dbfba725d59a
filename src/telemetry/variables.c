#include "telemetry/variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"

#define LISTED_MAX       64
#define VALUE_BYTES      512
#define NAME_BYTES       96
#define SHOWN_VALUE_SIZE 60

bool variable_is_of_speed(const char *assignment)
{
    static const char *const prefixes[] = {"ATEN_",     "CUBLAS",
                                           "CUDA_",     "CUDNN_",
                                           "DNNL_",     "GLIBC_TUNABLES=",
                                           "GOMP_",     "JAX_",
                                           "KMP_",      "LD_PRELOAD=",
                                           "MALLOC_",   "MKL_",
                                           "NCCL_",     "NVIDIA_TF32_OVERRIDE=",
                                           "ONEDNN_",   "OMP_",
                                           "OPENBLAS_", "PYTORCH_",
                                           "TORCH",     "TRITON_",
                                           "XLA_"};
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
        if (strncmp(assignment, prefixes[i], strlen(prefixes[i])) == 0)
            return strchr(assignment, '=') != NULL;
    return false;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

void variables_write(char *const *environment, struct json_writer *writer)
{
    char *listed[LISTED_MAX];
    size_t count = 0;
    for (; environment != NULL && *environment != NULL && count < LISTED_MAX; environment++)
        if (variable_is_of_speed(*environment))
            listed[count++] = *environment;
    qsort(listed, count, sizeof(listed[0]), by_text);
    json_begin_object(writer);
    for (size_t i = 0; i < count; i++) {
        char name[NAME_BYTES];
        char value[VALUE_BYTES];
        const char *equals = strchr(listed[i], '=');
        (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - listed[i]), listed[i]);
        (void)snprintf(value, sizeof(value), "%s", equals + 1);
        json_field_string(writer, name, value);
    }
    json_end_object(writer);
}

/* --- harm --- */

static bool is_set(const char *value)
{
    return value[0] != '\0' && strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0 &&
           strcasecmp(value, "off") != 0;
}

static bool is_zero(const char *value)
{
    return strcmp(value, "0") == 0;
}

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcasecmp(value, *words) == 0)
            return true;
    return false;
}

static bool has_one_of(const char *value, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strstr(value, *words) != NULL)
            return true;
    return false;
}

/* Names of cores, and of instruction sets, whose kernels leave the machine's widest registers
 * unused. */
static bool is_narrower_core(const char *value, const struct cpuinfo *info)
{
    static const char *const without_avx2[] = {
        "Prescott",  "Core2",      "Penryn",      "Dunnington", "Nehalem",
        "Atom",      "Opteron",    "SandyBridge", "Bobcat",     "Barcelona",
        "Bulldozer", "Piledriver", "Steamroller", "Generic",    NULL};
    static const char *const without_avx512[] = {"Haswell", "Zen", "Excavator", NULL};
    return (cpuinfo_has_flag(info, "avx2") && is_one_of(value, without_avx2)) ||
           (cpuinfo_has_flag(info, "avx512f") &&
            (is_one_of(value, without_avx2) || is_one_of(value, without_avx512)));
}

static bool is_narrower_set(const char *value, const struct cpuinfo *info)
{
    static const char *const without_avx2[] = {"SSE4_2", "SSE41", "AVX", "default", NULL};
    static const char *const without_avx512[] = {"AVX2", "AVX2_VNNI", "AVX2_VNNI_2", NULL};
    return (cpuinfo_has_flag(info, "avx2") && is_one_of(value, without_avx2)) ||
           (cpuinfo_has_flag(info, "avx512f") &&
            (is_one_of(value, without_avx2) || is_one_of(value, without_avx512)));
}

static bool is_more_than_usable(const char *value, const struct cpuinfo *info)
{
    char *end = NULL;
    unsigned long asked = strtoul(value, &end, 10);
    return end != value && info->cpus_usable_count > 0 && asked > info->cpus_usable_count;
}

static bool has_slow_flag(const char *value, const struct cpuinfo *info)
{
    static const char *const flags[] = {"--xla_dump_to",
                                        "--xla_backend_optimization_level=0",
                                        "--xla_gpu_autotune_level=0",
                                        "--xla_disable_hlo_passes",
                                        "--xla_hlo_profile",
                                        NULL};
    (void)info;
    return has_one_of(value, flags);
}

static bool has_slow_tunable(const char *value, const struct cpuinfo *info)
{
    static const char *const tunables[] = {
        "glibc.malloc.check=", "glibc.malloc.perturb=", "hwcaps=-", ",-AVX", NULL};
    (void)info;
    return has_one_of(value, tunables);
}

static bool has_checker(const char *value, const struct cpuinfo *info)
{
    static const char *const libraries[] = {"libasan",   "libtsan",   "libubsan",
                                            "vgpreload", "libefence", NULL};
    (void)info;
    return has_one_of(value, libraries);
}

static bool is_on(const char *value, const struct cpuinfo *info)
{
    (void)info;
    return is_set(value);
}

static bool is_off(const char *value, const struct cpuinfo *info)
{
    (void)info;
    return is_zero(value);
}

static const struct {
    const char *name;
    enum variable_scope scope;
    bool (*is_harmful)(const char *value, const struct cpuinfo *info);
    const char *what;
} rules[] = {
    {"OPENBLAS_CORETYPE", VARIABLE_PYTHON, is_narrower_core,
     "OpenBLAS then leaves the widest instructions of this CPU unused"},
    {"MKL_ENABLE_INSTRUCTIONS", VARIABLE_PYTHON, is_narrower_set,
     "MKL then leaves the widest instructions of this CPU unused"},
    {"ONEDNN_MAX_CPU_ISA", VARIABLE_PYTHON, is_narrower_set,
     "oneDNN then leaves the widest instructions of this CPU unused"},
    {"DNNL_MAX_CPU_ISA", VARIABLE_PYTHON, is_narrower_set,
     "oneDNN then leaves the widest instructions of this CPU unused"},
    {"ATEN_CPU_CAPABILITY", VARIABLE_PYTHON, is_narrower_set,
     "PyTorch then leaves the widest instructions of this CPU unused"},
    {"OMP_NUM_THREADS", VARIABLE_PYTHON, is_more_than_usable,
     "more threads than CPUs that may be used"},
    {"MKL_NUM_THREADS", VARIABLE_PYTHON, is_more_than_usable,
     "more threads than CPUs that may be used"},
    {"OPENBLAS_NUM_THREADS", VARIABLE_PYTHON, is_more_than_usable,
     "more threads than CPUs that may be used"},
    {"MKL_VERBOSE", VARIABLE_PYTHON, is_on, "MKL then times and prints every call"},
    {"ONEDNN_VERBOSE", VARIABLE_PYTHON, is_on, "oneDNN then times and prints every call"},
    {"DNNL_VERBOSE", VARIABLE_PYTHON, is_on, "oneDNN then times and prints every call"},
    {"MALLOC_CHECK_", VARIABLE_ANY, is_on, "the C library then checks every allocation"},
    {"MALLOC_PERTURB_", VARIABLE_ANY, is_on, "the C library then fills every allocation"},
    {"GLIBC_TUNABLES", VARIABLE_ANY, has_slow_tunable,
     "the C library then checks allocations, or hides instructions of this CPU"},
    {"LD_PRELOAD", VARIABLE_ANY, has_checker, "a checker of memory is loaded into every process"},
    {"CUDA_LAUNCH_BLOCKING", VARIABLE_GPU, is_on, "every kernel is then waited for"},
    {"NVIDIA_TF32_OVERRIDE", VARIABLE_GPU, is_off,
     "NVIDIA's libraries then never use TF32, whatever precision was asked for"},
    {"PYTORCH_NO_CUDA_MEMORY_CACHING", VARIABLE_GPU, is_on,
     "PyTorch then takes all memory from the driver, call by call"},
    {"TORCHDYNAMO_DISABLE", VARIABLE_PYTHON, is_on, "torch.compile then compiles nothing"},
    {"TORCH_COMPILE_DISABLE", VARIABLE_PYTHON, is_on, "torch.compile then compiles nothing"},
    {"JAX_DISABLE_JIT", VARIABLE_PYTHON, is_on, "JAX then compiles nothing"},
    {"JAX_DEBUG_NANS", VARIABLE_PYTHON, is_on, "JAX then looks at every result"},
    {"JAX_ENABLE_CHECKS", VARIABLE_PYTHON, is_on, "JAX then checks itself"},
    {"XLA_FLAGS", VARIABLE_PYTHON, has_slow_flag,
     "XLA then writes out what it compiles, or leaves optimizations out"},
};

static const char *find_value(char *const *environment, const char *name)
{
    size_t name_bytes = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, name_bytes) == 0 && (*environment)[name_bytes] == '=')
            return *environment + name_bytes + 1;
    return NULL;
}

size_t variables_find_harm(char *const *environment, const struct cpuinfo *info,
                           struct variable_harm ret_harm[VARIABLES_HARM_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(rules) && count < VARIABLES_HARM_MAX; i++) {
        const char *value = find_value(environment, rules[i].name);
        if (value == NULL || !rules[i].is_harmful(value, info))
            continue;
        struct variable_harm *harm = &ret_harm[count++];
        harm->scope = rules[i].scope;
        (void)snprintf(harm->why, sizeof(harm->why), "%s=%.*s: %s", rules[i].name, SHOWN_VALUE_SIZE,
                       value, rules[i].what);
    }
    return count;
}
