#include "measure/noise.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

double noise_floor(const double *log_ratios, size_t count, double confidence)
{
    ASSERT(count >= 1 && confidence > 0 && confidence < 1);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += log_ratios[i] * log_ratios[i];
    double t = special_student_quantile((1 + confidence) / 2, (double)count);
    return t * sqrt(squares / (double)count);
}
