/* export/export.h - results into the form of another program: which records go in, and where the
 * form goes.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "export/exporter.h"

/* All borrowed for export_run(). */
struct export_request {
    const struct exporter *exporter;
    const char *const *sources; /* results folders, files, archives; "-" = standard input */
    size_t sources_count;
    const char *to;             /* a path or a URL, by export_find_target(); NULL = `sink` */
    const enum fact_id *fields; /* by export_choose_fields() */
    size_t fields_count;
    bool includes[ADMIT_KINDS_COUNT];
    uint64_t timeout_ns; /* of a request to a server */
    export_sink *sink;   /* standard output */
    void *sink_context;
};

/* NULL: no exporter has that name. */
const struct exporter *exporter_find(const char *name);
/* The numbers that an exporter writes: of `names`, text with commas between; NULL = its own.
 * "all": every number of which more or less is better. STATUS_INVALID: a name of no field, or of
 * one that is no number. */
MUST_CHECK enum status export_choose_fields(const struct exporter *exporter, const char *names,
                                            enum fact_id ret_fields[FACTS_COUNT], size_t *ret_count,
                                            struct err *err);
/* What --to means; NULL = none was given. *ret_to: NULL = standard output. STATUS_INVALID: the
 * exporter cannot write there. */
MUST_CHECK enum status export_find_target(const struct exporter *exporter, const char *to,
                                          const char **ret_to, enum export_place *ret_place,
                                          struct err *err);
/* Whatever happens, *ret_counts says what was read. With `is_nothing` it
 * fails, too. */
MUST_CHECK enum status export_run(const struct export_request *request,
                                  struct export_counts *ret_counts, struct err *err);

#endif
