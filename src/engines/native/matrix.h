/* engines/native/matrix.h - the operand type: elements of one type, in rows, somewhere in memory.
 *
 * Operations on a layer (linear.h, attention.h, moe.h, mlp.h, embedding.h, norm.h, rotary.h,
 * loss.h, adamw.h, weights.h) take matrices. They look at the dtype once a call, and hand raw
 * pointers of that element type to their kernels: the tasks in their .c files, gemm_with(),
 * elementary.h, dropout.h. Another element type is another dtype, and a case with its own kernel in
 * each operation that can compute with it; matrix_floats() is where those that cannot stop.
 *
 * Shape. Element (row, column) is data[row * stride + column]. Tensors with more dimensions are
 * matrices too: a comment such as (B T, 3 H D) says which dimensions are rows and which are
 * columns, in row-major order (the letters are buffers.h's). A vector is one row: (1, C).
 *
 * Value. An element stands for scale * element; the scale of floats is 1.
 *
 * Ownership. A matrix owns nothing. What it points into is the arena (buffers.h) or the caller's,
 * and must live as long as the matrix is used. Matrices are passed by value; whether an operation
 * reads or writes an operand is said where it is declared, as the type does not tell.
 *
 * Absent. An operand that a model or mode does not have is MATRIX_NONE (all zero).
 */
#ifndef ENGINES_NATIVE_MATRIX_H
#define ENGINES_NATIVE_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum matrix_dtype { MATRIX_F32 };

struct matrix {
    void *data; /* borrowed: from who made the matrix, until its arena or buffer goes */
    enum matrix_dtype dtype;
    float scale;
    size_t rows;
    size_t columns;
    size_t stride; /* elements from a row to the next, >= columns */
};

#define MATRIX_NONE ((struct matrix){0})

static inline size_t matrix_element_bytes(enum matrix_dtype dtype)
{
    switch (dtype) {
    case MATRIX_F32: return sizeof(float);
    }
    UNREACHABLE("no such dtype");
    return 0;
}

/* Rows without gaps between them. `data` may be NULL: then it is MATRIX_NONE. */
static inline struct matrix matrix_make(void *data, enum matrix_dtype dtype, size_t rows,
                                        size_t columns)
{
    if (data == NULL)
        return MATRIX_NONE;
    return (struct matrix){.data = data,
                           .dtype = dtype,
                           .scale = 1.0f,
                           .rows = rows,
                           .columns = columns,
                           .stride = columns};
}

static inline bool matrix_is_none(struct matrix matrix)
{
    return matrix.data == NULL;
}

static inline bool matrix_is_shaped(struct matrix matrix, size_t rows, size_t columns)
{
    return matrix.rows == rows && matrix.columns == columns;
}

/* Rows first .. first + count - 1; nothing of MATRIX_NONE. */
static inline struct matrix matrix_rows(struct matrix matrix, size_t first, size_t count)
{
    ASSERT(matrix_is_none(matrix) || (first <= matrix.rows && count <= matrix.rows - first));
    if (matrix_is_none(matrix))
        return matrix;
    matrix.data = (char *)matrix.data + first * matrix.stride * matrix_element_bytes(matrix.dtype);
    matrix.rows = count;
    return matrix;
}

/* Elements first .. first + rows * columns - 1 of a vector, as (rows, columns). */
static inline struct matrix matrix_of_run(struct matrix run, size_t first, size_t rows,
                                          size_t columns)
{
    ASSERT(run.rows == 1 && first <= run.columns && rows * columns <= run.columns - first);
    run.data = (char *)run.data + first * matrix_element_bytes(run.dtype);
    run.rows = rows;
    run.columns = columns;
    run.stride = columns;
    return run;
}

/* For kernels on floats: the first element of a matrix of floats without gaps; NULL of MATRIX_NONE.
 */
static inline float *matrix_floats(struct matrix matrix)
{
    ASSERT(matrix_is_none(matrix) ||
           (matrix.dtype == MATRIX_F32 && matrix.scale == 1.0f && matrix.stride == matrix.columns));
    return (float *)matrix.data;
}

#endif
