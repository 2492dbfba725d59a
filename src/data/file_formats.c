#include "data/file_formats.h"

#include <stdbool.h>
#include <string.h>

#include "base/status.h"

/* Where the header begins in a safetensors file, and the bytes of its length that are 0 in any that
 * can be read. */
#define HEADER_AT      8
#define LENGTH_HIGH_AT 5

#define PICKLE_PROTO   0x80 /* the opcode a pickle begins with */

#define CONVERT                                                                                    \
    "; weights are read from safetensors, which run no code. Convert it once: python -c \"import " \
    "torch, safetensors.torch as s; s.save_file({k: v.clone() for k, v in torch.load('FILE', "     \
    "map_location='cpu', weights_only=True).items()}, 'FILE.safetensors')\""

/* Borrowed: static. */
struct format {
    const char *magic;
    const char *what;
};

static const struct format formats[] = {
    {"version https://git-lfs",
     "is a Git LFS pointer, not the weights it stands for: run `git lfs pull` there"},
    {"PK\x03\x04", "is a zip archive, as torch.save writes its pickles" CONVERT},
    {"GGUF", "is a GGUF file, not a safetensors file; convert it with safetensors' save_file"},
    {"\x89HDF", "is an HDF5 file, not a safetensors file; convert it with safetensors' save_file"},
    {"\x1f\x8b", "is a gzip file, not a safetensors file; unpack it"},
    {"\x93NUMPY", "is a NumPy array, not a safetensors file"},
    {"<!DOCTYPE", "is a web page, not a safetensors file: the download went wrong"},
    {"<!doctype", "is a web page, not a safetensors file: the download went wrong"},
    {"<html", "is a web page, not a safetensors file: the download went wrong"},
    {"{", "is a JSON text, not a safetensors file; of weights in several files this reader takes "
          "one file that holds all of them"},
};

/* The length of a header, then the header. */
static bool is_like_safetensors(const unsigned char *start, size_t bytes)
{
    static const unsigned char zeros[HEADER_AT - LENGTH_HIGH_AT];
    return bytes > HEADER_AT && start[HEADER_AT] == '{' &&
           memcmp(start + LENGTH_HIGH_AT, zeros, sizeof(zeros)) == 0;
}

const char *file_formats_describe(const unsigned char *start, size_t bytes)
{
    if (is_like_safetensors(start, bytes))
        return NULL;
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        size_t length = strlen(formats[i].magic);
        if (bytes >= length && memcmp(start, formats[i].magic, length) == 0)
            return formats[i].what;
    }
    bool is_pickle =
        bytes > 2 && start[0] == PICKLE_PROTO && start[1] >= 2 && start[1] <= 5 && start[2] > ' ';
    return is_pickle ? "is a pickle (torch.save, old format)" CONVERT : NULL;
}
