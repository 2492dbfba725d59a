/* Any bytes as a weights file: opening it must end in tensors that can be read, or in an error. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "data/safetensors.h"

#define ELEMENTS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const struct safetensors_tensor *tensor)
{
    static float floats[ELEMENTS_MAX];
    static int32_t integers[ELEMENTS_MAX];
    if (tensor->elements_count > ELEMENTS_MAX)
        return;
    struct err err = {0};
    if (safetensors_copy_f32(tensor, floats, &err) != STATUS_OK && err.text[0] == '\0')
        abort();
    struct err integer_err = {0};
    if (safetensors_copy_i32(tensor, integers, &integer_err) != STATUS_OK &&
        integer_err.text[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("safetensors", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct err err = {0};
    if (file_write_fd(fd, data, size, &err) != STATUS_OK)
        abort();
    struct safetensors *file = NULL;
    if (safetensors_open(path, &file, &err) == STATUS_OK) {
        for (size_t i = 0; i < safetensors_count(file); i++) {
            const struct safetensors_tensor *tensor = safetensors_at(file, i);
            if (safetensors_find(file, tensor->name) != tensor)
                abort();
            read_values(tensor);
        }
        safetensors_close(file);
    } else if (err.text[0] == '\0') {
        abort();
    }
    (void)close(fd);
    return 0;
}
