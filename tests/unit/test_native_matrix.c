#include <criterion/criterion.h>
#include <signal.h>

#include "engines/native/matrix.h"

#define ROWS    3
#define COLUMNS 4

Test(native_matrix, rows_are_where_the_stride_says)
{
    float data[ROWS * 7] = {0};
    struct matrix matrix = matrix_make(data, MATRIX_F32, ROWS, COLUMNS);
    cr_assert(matrix_is_shaped(matrix, ROWS, COLUMNS));
    cr_assert_eq(matrix_floats(matrix_rows(matrix, 2, 1)), data + 2 * COLUMNS);
    matrix.stride = 7;
    struct matrix last = matrix_rows(matrix, 1, 2);
    cr_assert_eq(last.data, data + 7);
    cr_assert(matrix_is_shaped(last, 2, COLUMNS));
    cr_assert_eq(last.stride, 7);
    cr_assert_eq(matrix_rows(matrix, ROWS, 0).rows, 0);
}

Test(native_matrix, what_is_not_there_stays_so)
{
    struct matrix none = matrix_make(NULL, MATRIX_F32, ROWS, COLUMNS);
    cr_assert(matrix_is_none(none) && none.rows == 0);
    cr_assert(matrix_is_none(matrix_rows(none, 1, 2)));
    cr_assert_null(matrix_floats(none));
}

Test(native_matrix, a_run_is_cut_into_tensors)
{
    float data[20] = {0};
    struct matrix run = matrix_make(data, MATRIX_F32, 1, 20);
    struct matrix part = matrix_of_run(run, 5, ROWS, COLUMNS);
    cr_assert_eq(matrix_floats(part), data + 5);
    cr_assert(matrix_is_shaped(part, ROWS, COLUMNS));
    cr_assert_eq(part.stride, COLUMNS);
}

/* Programmer's errors end the program; none of them computes something else. */
#define DIES(name, statement)                                   \
    Test(native_matrix, name, .signal = SIGABRT)                \
    {                                                           \
        float data[20] = {0};                                   \
        struct matrix m = matrix_make(data, MATRIX_F32, 1, 20); \
        statement;                                              \
    }
DIES(a_row_past_the_end, (void)matrix_rows(m, 1, 1))
DIES(a_tensor_past_the_run, (void)matrix_of_run(m, 9, ROWS, COLUMNS))
DIES(floats_with_a_scale, m.scale = 0.5f; (void)matrix_floats(m))
DIES(floats_with_gaps, m.stride = 21; (void)matrix_floats(m))
