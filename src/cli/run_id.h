/* cli/run_id.h - the name of one call, in every record it writes. It begins with a letter, as all
 * ids do (base/hash.h). */
#ifndef CLI_RUN_ID_H
#define CLI_RUN_ID_H

#define RUN_ID_BYTES 32

/* Sorts by time: r20261122T150405Z-3f9a1c. */
void run_id_make(char id[RUN_ID_BYTES]);

#endif
