/* result/names.h - the files of a results folder that readers know. */
#ifndef RESULT_NAMES_H
#define RESULT_NAMES_H

#define RESULT_JSONL_NAME     "bench_results.jsonl"
#define RESULT_CSV_NAME       "bench_results.csv"
#define RESULT_EVENTS_NAME    "events.jsonl"
#define RESULT_STABILITY_NAME "stability.jsonl"

#endif
