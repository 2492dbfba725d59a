#include "engines/native/weights.h"

#include <inttypes.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "data/safetensors.h"

#define EMBEDDING_DEVIATION 0.02
#define TWO_PI              6.283185307179586
/* A large tensor is copied so many elements at a time, and what was copied is given back. */
#define COPY_ELEMENTS ((uint64_t)1 << 17)

/* Borrowed for the loop. */
struct init_job {
    float *values;
    uint64_t key;
    float limit; /* of the uniform; or the value of a constant */
};

static void normal_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct init_job *job = context;
    for (size_t i = begin; i < end; i++) {
        double radius_unit = random_unit(random_at(job->key, i & ~(size_t)1));
        double angle = TWO_PI * random_unit(random_at(job->key, i | 1));
        float radius = sqrtf(-2.0f * logf((float)(1.0 - radius_unit)));
        float turn = i % 2 == 0 ? cosf((float)angle) : sinf((float)angle);
        job->values[i] = (float)EMBEDDING_DEVIATION * radius * turn;
    }
}

static void uniform_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct init_job *job = context;
    for (size_t i = begin; i < end; i++)
        job->values[i] = job->limit * (float)(2.0 * random_unit(random_at(job->key, i)) - 1.0);
}

static void constant_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct init_job *job = context;
    for (size_t i = begin; i < end; i++)
        job->values[i] = job->limit;
}

void weights_init(const struct compute *compute, const struct model_spec *spec,
                  const struct params_layout *params, uint64_t seed, struct matrix weights)
{
    uint64_t stream = random_key(seed, WEIGHTS_STREAM);
    uint32_t count = model_tensors_count(spec);
    struct model_tensor tensor;
    for (uint32_t index = 0; index < count; index++) {
        model_tensor_at(spec, index, &tensor);
        struct init_job job = {.values = matrix_floats(params_of(params, weights, &tensor)),
                               .key = random_key(stream, index)};
        pool_task *task = constant_task;
        switch (tensor.kind) {
        case MODEL_TENSOR_EMBEDDING: task = normal_task; break;
        case MODEL_TENSOR_LINEAR:
            task = uniform_task;
            job.limit = (float)sqrt(6.0 / (double)(tensor.dims[0] + tensor.dims[1]));
            break;
        case MODEL_TENSOR_NORM: job.limit = 1.0f; break;
        case MODEL_TENSOR_POSITION:
        case MODEL_TENSOR_BIAS: job.limit = 0.0f; break;
        }
        pool_run(compute->pool, (size_t)tensor.elements_count, COMPUTE_GRAIN_FLOATS, task, &job);
    }
}

/* Is the file's tensor what the model wants? A position table may have more rows. */
static enum status check_shape(const char *path, const struct model_tensor *wanted,
                               const struct safetensors_tensor *found, struct err *err)
{
    unsigned skipped = 0;
    while (found->dims_count - skipped > wanted->dims_count && found->dims[skipped] == 1)
        skipped++;
    bool is_same = found->dims_count - skipped == wanted->dims_count;
    for (uint32_t i = 0; is_same && i < wanted->dims_count; i++) {
        uint64_t dim = found->dims[skipped + i];
        bool is_longer = wanted->kind == MODEL_TENSOR_POSITION && i == 0 && dim > wanted->dims[i];
        is_same = dim == wanted->dims[i] || is_longer;
    }
    if (is_same)
        return STATUS_OK;
    if (wanted->dims_count == 1)
        return ERR(err, STATUS_INVALID, "%s: tensor %s must have shape [%" PRIu64 "]", path,
                   wanted->name, wanted->dims[0]);
    return ERR(err, STATUS_INVALID,
               "%s: tensor %s must have shape [%" PRIu64 ", %" PRIu64
               "] but has %u dimensions, the first %" PRIu64,
               path, wanted->name, wanted->dims[0], wanted->dims[1], found->dims_count,
               found->dims_count == 0 ? 0 : found->dims[0]);
}

/* Lets go of the mapped pages that lie wholly within the bytes just read, so that a load does not
 * hold the file beside the weights. */
static void forget_pages(const char *data, uint64_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + (uintptr_t)bytes) / page * page;
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static enum status copy_tensor(const struct safetensors_tensor *found, uint64_t count,
                               struct matrix into, struct err *err)
{
    float *to = matrix_floats(into);
    for (uint64_t done = 0; done < count;) {
        uint64_t now = count - done < COPY_ELEMENTS ? count - done : COPY_ELEMENTS;
        struct safetensors_tensor part = safetensors_part(found, done, now);
        enum status status = safetensors_copy_f32(&part, to + done, err);
        if (status != STATUS_OK)
            return status;
        forget_pages(part.data, part.bytes);
        done += now;
    }
    return STATUS_OK;
}

static enum status load_tensor(const char *path, const struct safetensors *file,
                               const struct model_tensor *wanted, struct matrix into,
                               struct err *err)
{
    const struct safetensors_tensor *found = safetensors_find(file, wanted->name);
    if (found == NULL)
        return ERR(err, STATUS_INVALID, "%s: there is no tensor %s", path, wanted->name);
    enum status status = check_shape(path, wanted, found, err);
    return status == STATUS_OK ? copy_tensor(found, wanted->elements_count, into, err) : status;
}

enum status weights_load(const char *path, const struct model_spec *spec,
                         const struct params_layout *params, struct matrix weights, struct err *err)
{
    struct safetensors *file = NULL;
    enum status status = safetensors_open(path, &file, err);
    uint32_t count = model_tensors_count(spec);
    for (uint32_t index = 0; status == STATUS_OK && index < count; index++) {
        struct model_tensor wanted;
        model_tensor_at(spec, index, &wanted);
        status = load_tensor(path, file, &wanted, params_of(params, weights, &wanted), err);
    }
    safetensors_close(file);
    return status;
}
