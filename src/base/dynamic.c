#include "base/dynamic.h"

#include <dlfcn.h>
#include <string.h>

/* ISO C has no conversion between a pointer to data and one to a function: POSIX promises that both
 * have the same representation, so the bytes are copied. */
static void set_slot(void *slot, void *address)
{
    memcpy(slot, &address, sizeof(address));
}

static enum status open_first(const char *const *names, void **ret_library, const char **ret_name,
                              struct err *err)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library != NULL) {
            *ret_library = library;
            *ret_name = names[i];
            return STATUS_OK;
        }
        const char *why = dlerror();
        err_set(err, STATUS_NOT_FOUND, __FILE__, __LINE__, "cannot load %s: %s", names[i],
                why != NULL ? why : "no reason given");
    }
    return STATUS_NOT_FOUND;
}

enum status dynamic_load(const char *const *names, const struct dynamic_symbol *symbols,
                         size_t symbols_count, struct err *err)
{
    ASSERT(names[0] != NULL);
    void *library = NULL;
    const char *name = NULL;
    struct err absent = {0};
    if (open_first(names, &library, &name, &absent) != STATUS_OK)
        return ERR(err, STATUS_NOT_FOUND, "%s", absent.text);
    for (size_t i = 0; i < symbols_count; i++)
        if (!symbols[i].is_optional && dlsym(library, symbols[i].name) == NULL) {
            (void)dlclose(library);
            return ERR(err, STATUS_UNSUPPORTED, "%s has no function %s", name, symbols[i].name);
        }
    for (size_t i = 0; i < symbols_count; i++)
        set_slot(symbols[i].slot, dlsym(library, symbols[i].name));
    return STATUS_OK;
}
