/* telemetry/environment.h - what machine and which build made a record. */
#ifndef TELEMETRY_ENVIRONMENT_H
#define TELEMETRY_ENVIRONMENT_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"

/* One JSON object: cpu model, family, sockets, cores online and usable, frequency governor, flags
 * that matter (avx2, avx512f, avx512_bf16, amx), caches, memory total, kernel, libc, hypervisor,
 * container limits (cgroup memory and cpu), transparent huge pages, tokmark version and commit,
 * compiler and flags. What is unknown is null. Deterministic on an unchanged machine. */
MUST_CHECK enum status environment_write(struct buf *ret_json, struct err *err);

/* Hash of the parts that decide speed: hardware, kernel release, limits and tokmark's build. A
 * record from another fingerprint is not the same measurement. */
void environment_fingerprint(const char *environment_json, char id[HASH_ID_BYTES]);

#endif
