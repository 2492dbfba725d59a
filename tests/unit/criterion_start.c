/* Criterion starts libgit2 in the process of each test, for the differences that some assertions
 * show, and libgit2 then reads every certificate that this machine trusts: with sanitizers half the
 * time of most tests. Here it is started by the first difference. */
#include <dlfcn.h>
#include <stddef.h>

int git_libgit2_init(void);
int git_libgit2_shutdown(void);
int git_diff_buffers(const void *old, size_t old_length, const char *old_path, const void *new,
                     size_t new_length, const char *new_path, const void *options,
                     void (*file)(void), void (*binary)(void), void (*hunk)(void),
                     void (*line)(void), void *payload);

__attribute__((visibility("default"))) int git_libgit2_init(void)
{
    return 1;
}

__attribute__((visibility("default"))) int git_libgit2_shutdown(void)
{
    return 0;
}

__attribute__((visibility("default"))) int
git_diff_buffers(const void *old, size_t old_length, const char *old_path, const void *new,
                 size_t new_length, const char *new_path, const void *options, void (*file)(void),
                 void (*binary)(void), void (*hunk)(void), void (*line)(void), void *payload)
{
    int (*init)(void) = NULL;
    __typeof__(&git_diff_buffers) diff = NULL;
    *(void **)&init = dlsym(RTLD_NEXT, "git_libgit2_init");
    *(void **)&diff = dlsym(RTLD_NEXT, "git_diff_buffers");
    if (init == NULL || diff == NULL || init() < 0)
        return -1;
    return diff(old, old_length, old_path, new, new_length, new_path, options, file, binary, hunk,
                line, payload);
}
