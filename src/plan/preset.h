/* plan/preset.h - presets: models as data, built into the program from models/ (one JSON file
 * each).
 *
 * A preset may also be given as a path to such a file (a name that ends in .json), so that adding a
 * model needs neither code nor a build.
 */
#ifndef PLAN_PRESET_H
#define PLAN_PRESET_H

#include "base/status.h"
#include "spec/model.h"

/* Unknown names are an error that names the nearest preset. The result is validated. */
MUST_CHECK enum status preset_load(const char *name, struct model_spec *ret_spec, struct err *err);
unsigned preset_count(void);
/* Name and one-line summary of the index-th preset; static. */
const char *preset_name(unsigned index);
const char *preset_summary(unsigned index);

#endif
