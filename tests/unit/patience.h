/* How long a test waits for what must come. Only what never comes meets it, however busy the
 * machine. */
#ifndef UNIT_PATIENCE_H
#define UNIT_PATIENCE_H

#include "base/clock.h"

#define PATIENCE_NS (200 * NS_PER_S) /* within the time that ctest gives a suite */
#define PATIENCE_MS (PATIENCE_NS / NS_PER_MS)

#endif
