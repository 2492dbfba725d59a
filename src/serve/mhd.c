#include "serve/mhd.h"

#include "base/dynamic.h"

enum status mhd_load(struct mhd *ret_mhd, struct err *err)
{
    static const char *const names[] = {"libmicrohttpd.so.12", NULL};
    struct mhd mhd = {0};
    const struct dynamic_symbol symbols[] = {
#define X(name, result, arguments) {"MHD_" #name, &mhd.name, false},
        MHD_MAP(X)
#undef X
    };
    struct err why = {0};
    enum status status = dynamic_load(names, symbols, ARRAY_COUNT(symbols), &why);
    if (status == STATUS_OK)
        *ret_mhd = mhd;
    else
        (void)ERR(err, status,
                  "%s; install it: apt install libmicrohttpd12 (Ubuntu 24.04: libmicrohttpd12t64, "
                  "Fedora: libmicrohttpd)",
                  why.text);
    return status;
}
