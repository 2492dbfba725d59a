/* tools/worker_tables.c - prints the tables of the worker in Python, tokmark_worker/tables.py: the
 * rows of a cell and the keys of replies, from the tables that the program itself is made of. The
 * build runs it and keeps the file in the tree up to date. */
#include <stdio.h>

#include "spec/cell.h"
#include "spec/facts.h"

#define KIND_TEXT(bytes)     printf("\"text\", %d", (int)(bytes));
#define KIND_HASH(bytes)     KIND_TEXT(bytes)
#define KIND_WORD(...)       printf("\"word\", (%s)", &(__VA_ARGS__)[1]);
#define KIND_FLAG(...)       KIND_WORD(__VA_ARGS__)
#define KIND_COUNT(least)    printf("\"count\", %d", least);
#define KIND_SEED(bytes)     printf("\"seed\", %d", bytes);
#define KIND_MODEL(none)     printf("\"model\", None");
#define KIND_SETTINGS(bytes) printf("\"settings\", %d", bytes);
#define KIND_OPTIONS(none)   printf("\"options\", None");

enum {
    RANGE_U32 = true,
    RANGE_DOUBLE = true,
    RANGE_BOOL = false,
    RANGE_NORM = false,
    RANGE_FFN = false
};

static void print_model(void)
{
    printf("\n# Of a model's settings that are numbers: from, to.\nMODEL_RANGES = {\n");
#define MODEL(key, type, least, most) \
    if (RANGE_##type)                 \
        printf("    \"%s\": (%.17g, %.17g),\n", #key, (double)(least), (double)(most));
#include "spec/model.def"
    printf("}\n");
}

static bool is_required(enum cell_need need)
{
    return need == CELL_NEED_ALWAYS || need == CELL_NEED_PATH;
}

/* A row of a table of cell rows: key, kind, limit, must it be there. */
#define ROW(key, kind, need, limit) \
    printf("    (\"%s\", ", key);   \
    KIND_##kind(limit) printf(", %s),\n", is_required(CELL_NEED_##need) ? "True" : "False");

static void print_cell(void)
{
    printf("\n# Of `open`: key, kind, limit (bytes of a text with its NUL, words, the least "
           "count), is it"
           "\n# required. Absent means zero: the first word, an empty text.\nCELL = (\n");
#define W(constant, word)                             " \"" word "\","
#define CELL(member, key, kind, need, limit, meaning) ROW(key, kind, need, limit)
#include "spec/cell.def"
    printf(")\nOPTIONS = (\n");
#define W(constant, word)                               " \"" word "\","
#define OPTION(member, key, kind, need, limit, meaning) ROW(key, kind, need, limit)
#include "spec/cell.def"
    printf(")\n");
}

static const char *const wire_names[] = {
#define X(name, text) text,
    FACT_WIRE_MAP(X)
#undef X
};

#define KEY(key, wire) printf("        \"%s\": \"%s\",\n", #key, wire_names[FACT_WIRE_##wire]);

static void print_replies(void)
{
    printf("\n# What records take from replies: key and kind (docs/protocol.md).\nREPLIES = {\n");
    printf("    \"ready\": {\n");
#define READY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    KEY(key, wire)
#include "spec/facts.def"
    printf("    },\n    \"block\": {\n");
#define BLOCK(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire, fold) \
    KEY(key, wire)
#include "spec/facts.def"
    printf("    },\n    \"memory\": {\n");
#define MEMORY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    KEY(key, wire)
#include "spec/facts.def"
    printf("    },\n}\n");
}

int main(void)
{
    printf("\"\"\"Made by the build (tools/worker_tables.c) from src/spec/cell.def, model.def and "
           "facts.def: not to be edited.\"\"\"\n");
    print_cell();
    print_model();
    print_replies();
    return 0;
}
