/* plan/embedded.h - the files of models/, built into the program (cmake/embed_models.cmake). */
#ifndef PLAN_EMBEDDED_H
#define PLAN_EMBEDDED_H

/* Borrowed: in the program itself. */
struct embedded_model {
    const char *name;    /* file name without .json */
    const char *summary; /* its "summary" */
    const char *text;    /* its content */
};

extern const struct embedded_model embedded_models[];
extern const unsigned embedded_models_count;

#endif
