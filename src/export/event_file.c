#include "export/event_file.h"

#include <string.h>

#define VERSION_TEXT      "brain.Event:2"
#define PLUGIN            "scalars"
#define MESSAGE_BYTES_MAX 65536
#define CRC_POLYNOMIAL    0x82F63B78U /* Castagnoli's, bits reversed */
#define MASK_DELTA        0xA282EAD8U

/* Wire types of protocol buffers. */
enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Numbers of the fields in tensorboard's event.proto and summary.proto. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    VALUE_METADATA = 9,
    METADATA_PLUGIN = 1,
    METADATA_DESCRIPTION = 3,
    PLUGIN_NAME = 1
};

/* --- messages --- */

static void append_little(uint64_t value, unsigned bytes_count, struct buf *out)
{
    for (unsigned i = 0; i < bytes_count; i++)
        buf_append_char(out, (char)(value >> (8 * i) & 0xFF));
}

static void append_varint(uint64_t value, struct buf *out)
{
    while (value >= 0x80) {
        buf_append_char(out, (char)((value & 0x7F) | 0x80));
        value >>= 7;
    }
    buf_append_char(out, (char)value);
}

static void append_key(unsigned field, enum wire wire, struct buf *out)
{
    append_varint((uint64_t)field << 3 | (unsigned)wire, out);
}

static void append_bytes(unsigned field, const char *bytes, size_t bytes_count, struct buf *out)
{
    append_key(field, WIRE_BYTES, out);
    append_varint(bytes_count, out);
    buf_append(out, bytes, bytes_count);
}

static void append_text(unsigned field, const char *text, struct buf *out)
{
    append_bytes(field, text, strlen(text), out);
}

static void append_double(unsigned field, double value, struct buf *out)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    append_key(field, WIRE_64, out);
    append_little(bits, 8, out);
}

/* --- records --- */

static uint32_t crc32c(const char *bytes, size_t bytes_count)
{
    /* Of four bits at a time. */
    uint32_t table[16];
    for (uint32_t i = 0; i < ARRAY_COUNT(table); i++) {
        table[i] = i;
        for (int bit = 0; bit < 4; bit++)
            table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? CRC_POLYNOMIAL : 0);
    }
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < bytes_count; i++) {
        crc ^= (unsigned char)bytes[i];
        crc = crc >> 4 ^ table[crc & 0xF];
        crc = crc >> 4 ^ table[crc & 0xF];
    }
    return ~crc;
}

static void append_check(const char *bytes, size_t bytes_count, struct buf *out)
{
    uint32_t crc = crc32c(bytes, bytes_count);
    append_little((uint32_t)((crc >> 15 | crc << 17) + MASK_DELTA), 4, out);
}

static void append_record(const struct buf *message, struct buf *out)
{
    char length[8];
    for (unsigned i = 0; i < sizeof(length); i++)
        length[i] = (char)((uint64_t)message->length_bytes >> (8 * i) & 0xFF);
    buf_append(out, length, sizeof(length));
    append_check(length, sizeof(length), out);
    buf_append(out, message->data, message->length_bytes);
    append_check(message->data, message->length_bytes, out);
    if (message->failed)
        out->failed = true;
}

void event_file_append_start(double wall_time_s, struct buf *out)
{
    struct buf event CLEANUP(buf_release) = {0};
    buf_init(&event, MESSAGE_BYTES_MAX);
    append_double(EVENT_WALL_TIME, wall_time_s, &event);
    append_text(EVENT_FILE_VERSION, VERSION_TEXT, &event);
    append_record(&event, out);
}

static void append_metadata(const char *description, struct buf *out)
{
    struct buf plugin CLEANUP(buf_release) = {0};
    struct buf metadata CLEANUP(buf_release) = {0};
    buf_init(&plugin, MESSAGE_BYTES_MAX);
    buf_init(&metadata, MESSAGE_BYTES_MAX);
    append_text(PLUGIN_NAME, PLUGIN, &plugin);
    append_bytes(METADATA_PLUGIN, plugin.data, plugin.length_bytes, &metadata);
    append_text(METADATA_DESCRIPTION, description, &metadata);
    append_bytes(VALUE_METADATA, metadata.data, metadata.length_bytes, out);
}

void event_file_append_value(double wall_time_s, uint64_t step, const struct event_value *value,
                             struct buf *out)
{
    struct buf body CLEANUP(buf_release) = {0};
    struct buf summary CLEANUP(buf_release) = {0};
    struct buf event CLEANUP(buf_release) = {0};
    uint32_t bits;
    buf_init(&body, MESSAGE_BYTES_MAX);
    buf_init(&summary, MESSAGE_BYTES_MAX);
    buf_init(&event, MESSAGE_BYTES_MAX);
    memcpy(&bits, &value->value, sizeof(bits));
    append_text(VALUE_TAG, value->tag, &body);
    append_key(VALUE_SIMPLE, WIRE_32, &body);
    append_little(bits, 4, &body);
    if (value->description != NULL)
        append_metadata(value->description, &body);
    append_bytes(SUMMARY_VALUE, body.data, body.length_bytes, &summary);
    append_double(EVENT_WALL_TIME, wall_time_s, &event);
    append_key(EVENT_STEP, WIRE_VARINT, &event);
    append_varint(step, &event);
    append_bytes(EVENT_SUMMARY, summary.data, summary.length_bytes, &event);
    append_record(&event, out);
}
