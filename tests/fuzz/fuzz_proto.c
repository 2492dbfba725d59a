/* Any bytes into both decoders. What decodes must encode again to a line that decodes. */
#include <stdlib.h>

#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *line = (const char *)data;
    struct buf out;
    buf_init(&out, (size_t)4 * PROTO_LINE_BYTES_MAX);
    struct proto_worker_message worker;
    if (proto_decode_worker(line, size, &worker, NULL) == STATUS_OK) {
        proto_encode_worker(&worker, &out);
        struct proto_worker_message again;
        if (out.failed ||
            proto_decode_worker(out.data, out.length_bytes, &again, NULL) != STATUS_OK)
            abort();
        proto_worker_message_release(&again);
        proto_worker_message_release(&worker);
    }
    struct proto_host_message host;
    if (proto_decode_host(line, size, &host, NULL) == STATUS_OK) {
        buf_reset(&out);
        proto_encode_host(&host, &out);
        struct proto_host_message again;
        if (out.failed || proto_decode_host(out.data, out.length_bytes, &again, NULL) != STATUS_OK)
            abort();
    }
    buf_release(&out);
    return 0;
}
