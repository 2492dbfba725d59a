/* cli/run_words.h - the words that flags of `run` take, by index (NULL past the last), and rules on
 * values that are known without the other flags. */
#ifndef CLI_RUN_WORDS_H
#define CLI_RUN_WORDS_H

#include "base/status.h"

const char *run_engine_at(unsigned index);
const char *run_preset_at(unsigned index);
const char *run_device_at(unsigned index);
const char *run_platform_at(unsigned index);

/* STATUS_INVALID, with the nearest valid word. */
MUST_CHECK enum status run_check_engine(const char *text, struct err *err);
MUST_CHECK enum status run_check_device(const char *text, struct err *err);
/* "cuda:0-3", "cpu:2" or a number of cards; and as a cell has it, "cuda:0-3" for 4 (ret_device has
 * CELL_WORD_BYTES). */
MUST_CHECK enum status run_check_devices(const char *text, struct err *err);
void run_take_devices(const char *text, char *ret_device);
MUST_CHECK enum status run_check_platform(const char *text, struct err *err);
/* Can it be split into words? */
MUST_CHECK enum status run_check_command(const char *text, struct err *err);
/* Is it KEY=VALUE? */
MUST_CHECK enum status run_check_setting(const char *text, struct err *err);
MUST_CHECK enum status run_check_learning_rate(const char *text, struct err *err);

#endif
