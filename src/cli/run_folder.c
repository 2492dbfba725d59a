#include "cli/run_folder.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define ENTRIES_MAX 10000
#define NAME_SHOWN  "%.80s"
#define WITH_CODE   "give what makes the model (FILE.py:NAME) with --weights"

/* By a whole name, or by how a name ends where it begins with a dot; what says most comes first. */
static const struct {
    const char *name;
    const char *text;
} kinds[] = {
    {"adapter_config.json",
     "holds an adapter without its base model: merge the two, and measure that folder"},
    {"model_index.json",
     "is a pipeline of diffusers, which makes images: tokmark measures language models"},
    {"params.json", "is a checkpoint in Meta's form, without a config.json: convert it with "
                    "transformers' convert_llama_weights_to_hf.py, and give what that makes"},
    {".gguf", "holds GGUF, which llama.cpp reads, and no config.json: give the folder of "
              "safetensors that it was made from"},
    {".distcp", "is a distributed checkpoint of PyTorch, without a config.json: save it as "
                "safetensors, and " WITH_CODE},
    {".safetensors",
     "holds weights and no config.json: put the model's beside them, or " WITH_CODE},
    {".bin", "holds weights and no config.json: put the model's beside them"},
    {".pt", "holds weights and no config.json: save them as safetensors, and " WITH_CODE},
    {".pth", "holds weights and no config.json: save them as safetensors, and " WITH_CODE},
    {".ckpt", "holds weights and no config.json: save them as safetensors, and " WITH_CODE},
};

static bool is_of_kind(const char *name, const char *kind)
{
    size_t length = strlen(name);
    size_t kind_length = strlen(kind);
    if (kind[0] != '.')
        return strcmp(name, kind) == 0;
    return length > kind_length && strcmp(name + length - kind_length, kind) == 0;
}

static bool has_config(const char *folder, const char *name)
{
    char inner[FILE_PATH_BYTES];
    char config[FILE_PATH_BYTES];
    return name[0] != '.' && file_join(folder, name, inner, NULL) == STATUS_OK &&
           file_join(inner, "config.json", config, NULL) == STATUS_OK && file_exists(config);
}

void run_folder_describe(const char *folder, char ret_text[RUN_FOLDER_BYTES])
{
    size_t found = ARRAY_COUNT(kinds);
    char inner[NAME_MAX + 1] = ""; /* the first folder by name that has a config.json */
    DIR *entries = opendir(folder);
    for (size_t count = 0; entries != NULL && count < ENTRIES_MAX; count++) {
        const struct dirent *entry = readdir(entries);
        if (entry == NULL)
            break;
        for (size_t kind = 0; kind < found; kind++) {
            if (is_of_kind(entry->d_name, kinds[kind].name))
                found = kind;
        }
        bool is_first = inner[0] == '\0' || strcmp(entry->d_name, inner) < 0;
        if (is_first && has_config(folder, entry->d_name))
            (void)snprintf(inner, sizeof(inner), "%s", entry->d_name);
    }
    if (entries != NULL)
        (void)closedir(entries);
    if (found < ARRAY_COUNT(kinds))
        (void)snprintf(ret_text, RUN_FOLDER_BYTES, "%s", kinds[found].text);
    else if (inner[0] != '\0')
        (void)snprintf(ret_text, RUN_FOLDER_BYTES,
                       "has no config.json, but its folder '" NAME_SHOWN "' has: give that", inner);
    else
        (void)snprintf(ret_text, RUN_FOLDER_BYTES, "has no config.json of a transformers model");
}
