/* export/event_file.h - TensorBoard's event files: records of TFRecord, each a message of
 * tensorboard.Event in the encoding of protocol buffers.
 *
 * A record is its length (8 bytes), a check sum of that (4), the message, and a check sum of it
 * (4), all with the low byte first. The check sum is CRC-32C, rotated right by 15 bits, plus
 * 0xA282EAD8.
 */
#ifndef EXPORT_EVENT_FILE_H
#define EXPORT_EVENT_FILE_H

#include <stdint.h>

#include "base/buf.h"

/* The first record of a file: its version. */
void event_file_append_start(double wall_time_s, struct buf *out);

/* A number of a summary. `description` is shown beside the chart; NULL = none, as of every value
 * but a tag's first. */
struct event_value {
    const char *tag;         /* borrowed */
    const char *description; /* borrowed */
    float value;
};
void event_file_append_value(double wall_time_s, uint64_t step, const struct event_value *value,
                             struct buf *out);

#endif
