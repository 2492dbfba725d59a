/* engines/python/interpreter.h - whose Python runs a model: the user's own.
 *
 * In this order, the first that says anything: --python; $TOKMARK_PYTHON; the Python whose
 * script called (a wheel's command, benchmarks/), where that has the engine's framework; an active
 * virtual environment ($VIRTUAL_ENV, $CONDA_PREFIX unless it is conda's base); .venv here or above,
 * up to the repository's folder; the one that `tokmark setup ENGINE` made; conda's base, which
 * comes before a .venv without the framework; the Python that called; python3 in PATH. What is
 * named and not there is an error, never a reason to take the next.
 */
#ifndef ENGINES_PYTHON_INTERPRETER_H
#define ENGINES_PYTHON_INTERPRETER_H

#include "base/file.h"
#include "base/status.h"

struct interpreter {
    char path[FILE_PATH_BYTES]; /* a program that can be run */
    const char *origin;         /* borrowed: static. Why this one, "$TOKMARK_PYTHON" */
};

/* `asked`: --python, a program or a virtual environment's folder; NULL = not given.
 * STATUS_NOT_FOUND when there is none. */
MUST_CHECK enum status interpreter_choose(const char *engine, const char *asked,
                                          struct interpreter *ret_interpreter, struct err *err);

/* Folder of the virtual environment that `tokmark setup ENGINE` makes:
 * $XDG_DATA_HOME/tokmark/ENGINE, under ~/.local/share without that variable. */
MUST_CHECK enum status interpreter_setup_folder(const char *engine, char path[FILE_PATH_BYTES],
                                                struct err *err);

#endif
