#include "observe/list.h"

#include "observe/observe.h"

const struct probe *const probe_list[] = {
#define X(name) &name##_probe,
    PROBE_LIST(X)
#undef X
};
const size_t probe_list_count = sizeof(probe_list) / sizeof(probe_list[0]);
