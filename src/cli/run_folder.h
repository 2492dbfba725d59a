/* cli/run_folder.h - what a folder is that is no folder of transformers, by the names in it. */
#ifndef CLI_RUN_FOLDER_H
#define CLI_RUN_FOLDER_H

#include <stddef.h>

/* Long enough for every text of run_folder_describe(). */
#define RUN_FOLDER_BYTES 256

/* ret_text: what follows the name of a folder without a config.json: what it holds, and what to
 * give instead. */
void run_folder_describe(const char *folder, char ret_text[RUN_FOLDER_BYTES]);

#endif
