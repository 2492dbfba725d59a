/* export/exporter.h - what an exporter is: results in the form that another program takes. One file
 * each, one row of list.c; it sees records, and never another exporter.
 */
#ifndef EXPORT_EXPORTER_H
#define EXPORT_EXPORTER_H

#include "base/buf.h"
#include "result/admit.h"
#include "result/cells.h"
#include "result/visit.h"

/* Where an exporter can write: bits. */
enum export_place {
    EXPORT_TO_STREAM = 1, /* standard output, or a file that is replaced whole */
    EXPORT_TO_FOLDER = 2, /* files in a folder, each replaced whole */
    EXPORT_TO_URL = 4     /* a server */
};

/* Takes the text that was written so far. */
typedef enum status export_sink(void *context, const char *bytes, size_t bytes_count,
                                struct err *err);

/* All borrowed: until add() returns. */
struct export_item {
    const struct record *record;
    const char *source;   /* the folder, file or archive that it is from */
    struct hash_wide key; /* the same for the same record, wherever it is read */
    struct cells_place place;
    bool has_result; /* else the cell failed */
};

struct export_counts {
    uint64_t records; /* taken */
    uint64_t known;   /* that came before in this call */
    uint64_t left_out[ADMIT_KINDS_COUNT];
    uint64_t empty;  /* that have no value which this exporter writes: cells that failed */
    uint64_t unfit;  /* of a kind that the form has no place for, such as training in llama-bench */
    uint64_t had;    /* that the server had already: not sent again */
    bool is_nothing; /* there was nothing to be exported: nothing was written */
    struct visit_notes notes;
};

/* One call of an exporter. */
struct export
{
    const struct exporter *exporter; /* borrowed: static */
    const enum fact_id *fields;      /* borrowed: the numbers that are exported */
    size_t fields_count;
    enum export_place place;
    const char *to; /* borrowed: path or URL; NULL = standard output */
    struct export_counts counts;
    struct buf text;     /* written, and not handed over yet */
    export_sink *sink;   /* of EXPORT_TO_STREAM */
    void *sink_context;  /* borrowed */
    uint64_t timeout_ns; /* of a request to a server */
    void *state;         /* owned by the exporter */
};

/* All borrowed: static. */
struct exporter {
    const char *name;
    const char *says;       /* what reads it; for help and docs/export.md */
    const char *leaves_out; /* what it has no place for */
    /* Names between spaces; NULL = measured results: numbers with a better direction in the groups
     * that export.c names. "" = the form's own quantities, --fields is refused. */
    const char *fields;
    unsigned places;          /* bits of enum export_place */
    const char *url_variable; /* of the environment: the URL where there is no --to; or NULL */
    bool sees_failed;         /* add() is called for cells that failed, too */
    bool shows_failed;        /* and has something to write of them */
    /* Fields of records beside those above, export_identity and cells'. */
    const enum fact_id *needs;
    size_t needs_count;
    /* Before the first record. */
    enum status (*begin)(struct export *export, struct err *err);
    enum status (*add)(struct export *export, const struct export_item *item, struct err *err);
    /* Behind the last one; there was one. */
    enum status (*end)(struct export *export, struct err *err);
    /* Frees `state`, which may be NULL. */
    void (*release)(struct export *export);
};

extern const struct exporter *const exporter_list[];
extern const size_t exporter_list_count;

/* A number of a record as a double; false: it is not known. */
bool export_number(const struct record *record, enum fact_id field, double *ret_value);
/* When it was measured, in seconds since 1970; false: it is not known. */
bool export_measured_at(const struct record *record, double *ret_time_s);
/* Hands the text over, if there is enough of it to be worth that, or all of it. */
MUST_CHECK enum status export_flush(struct export *export, bool is_all, struct err *err);
/* Replaces a file of the folder that is exported to. */
MUST_CHECK enum status export_replace_file(const struct export *export, const char *name,
                                           const struct buf *content, struct err *err);

#endif
