/* A line of text through the parser, with the bytes behind it that the parser may look at. */
#ifndef UNIT_PARSE_LINE_H
#define UNIT_PARSE_LINE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "result/parser.h"

static inline struct parser *parse_new(void)
{
    struct parser *parser = NULL;
    struct err err = {0};
    cr_assert_eq(parser_new(NULL, 0, &parser, &err), STATUS_OK, "%s", err.text);
    return parser;
}

/* The line without its '\n', if it has one. */
static inline enum parser_outcome parse_line(struct parser *parser, const char *line,
                                             size_t line_bytes)
{
    enum parser_outcome outcome = PARSER_FOREIGN;
    struct err err = {0};
    if (line_bytes > 0 && line[line_bytes - 1] == '\n')
        line_bytes--;
    char *padded = malloc(line_bytes + SCAN_PADDING_BYTES);
    memcpy(padded, line, line_bytes);
    memset(padded + line_bytes, '\n', SCAN_PADDING_BYTES);
    cr_assert_eq(parser_take_line(parser, padded, line_bytes, &outcome, &err), STATUS_OK, "%s",
                 err.text);
    free(padded);
    return outcome;
}

#endif
