/* telemetry/environment.h - what machine and which build made a record. */
#ifndef TELEMETRY_ENVIRONMENT_H
#define TELEMETRY_ENVIRONMENT_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"

/* Appends one JSON object {cpu, memory, limits, system, gpu, build, variables} (docs/records.md):
 * cpu model, family, sockets, cores online and usable, frequency governor, flags that matter (avx2,
 * avx512f, avx512_bf16, amx), caches, memory total, transparent huge pages, container limits
 * (cgroup memory and cpu), kernel, libc, hypervisor, tokmark version and commit, compiler and
 * flags. What is unknown is null. Deterministic on an unchanged machine. */
MUST_CHECK enum status environment_write(struct buf *ret_json, struct err *err);
/* Room enough for it, and for an interpreter's (client/preflight.h). */
#define ENVIRONMENT_BYTES_MAX (64 * 1024)
/* The same of a tree of files under `root` (base/procfs.h), for tests. */
MUST_CHECK enum status environment_write_at(const char *root, struct buf *ret_json,
                                            struct err *err);

/* Adds one member, `json` being its value, to an environment's text. */
MUST_CHECK enum status environment_add(struct buf *environment, const char *name, const char *json,
                                       struct err *err);

/* Hash of the parts that decide speed: hardware (memory to the GiB), kernel release, governor,
 * boost, huge pages, limits and tokmark's build ("-dirty" too: an edited build is another one);
 * with NVIDIA cards, these and their driver; with a `worker`, its Python and packages. A record
 * from another fingerprint is not the same measurement. */
void environment_fingerprint(const char *environment_json, char id[HASH_ID_BYTES]);
/* The same of the machine with its cards, whatever was built and runs on it. */
void environment_hardware(const char *environment_json, char id[HASH_ID_BYTES]);
/* The same of the machine alone. */
void environment_machine(const char *environment_json, char id[HASH_ID_BYTES]);

#endif
