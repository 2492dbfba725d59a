/* engines/python/package.h - the worker's Python package as a zip file, made by the build. */
#ifndef ENGINES_PYTHON_PACKAGE_H
#define ENGINES_PYTHON_PACKAGE_H

#include <stddef.h>

extern const unsigned char python_package[];
extern const size_t python_package_bytes;

#endif
