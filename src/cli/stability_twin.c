#include "cli/stability_twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/check_files.h"
#include "data/tokens.h"

#define TWINS_COUNT 3
#define NAME_BYTES  48

/* The same cell with weights of its own; their file is the sides' folder's. */
static enum status make_cell(const struct sides *sides, const struct cell *of, unsigned index,
                             struct cell *ret_cell, char path[FILE_PATH_BYTES], struct err *err)
{
    char name[NAME_BYTES];
    char from[FILE_PATH_BYTES];
    struct cell cell = *of;
    (void)snprintf(name, sizeof(name), "twin%u.safetensors", index);
    (void)snprintf(from, sizeof(from), "%s", of->weights_path);
    file_path_from_text(from);
    TRY(sides_path(sides, name, path, err));
    TRY(check_files_nudge(from, path, index, err));
    TRY(tokens_hash_file(path, cell.weights_hash, err));
    TRY(file_path_to_text(path, cell.weights_path, sizeof(cell.weights_path), err));
    *ret_cell = cell;
    return STATUS_OK;
}

/* Of several the most: where experts are chosen, growth comes in jumps. */
static void take_growth(struct stability_twin *twin, const struct training *training,
                        double *growth)
{
    const struct curve curve = training_curve(training);
    const struct curve reference = training_curve(twin->of);
    curve_growth(&curve, &reference, growth);
    for (size_t i = 0; i < twin->growth_count; i++)
        if (growth[i] > twin->growth[i])
            twin->growth[i] = growth[i];
}

static enum status train_one(struct stability_twin *twin, const struct sides *sides,
                             const struct training_job *job, const struct client_options *client,
                             unsigned index, double *scratch, struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct cell cell;
    struct training training = {0};
    struct training_job again = *job;
    TRY(make_cell(sides, job->cell, index, &cell, path, err));
    again.cell = &cell;
    enum status status = training_run(&again, client, &training, err);
    if (status == STATUS_OK) {
        twin->verdict = training.run.verdict;
        if (twin->verdict == VERDICT_OK)
            take_growth(twin, &training, scratch);
    }
    training_release(&training);
    (void)unlink(path);
    return status;
}

enum status stability_twin_train(struct stability_twin *twin, const struct sides *sides,
                                 const struct training_job *job,
                                 const struct client_options *client, const struct training *of,
                                 struct err *err)
{
    *twin = (struct stability_twin){.of = of, .growth_count = of->steps_done};
    twin->growth = calloc(of->steps_done + 1, sizeof(*twin->growth));
    double *scratch = calloc(of->steps_done + 1, sizeof(*scratch));
    enum status status = twin->growth != NULL && scratch != NULL
                             ? STATUS_OK
                             : ERR(err, STATUS_NOMEM, "out of memory");
    for (unsigned i = 0; status == STATUS_OK && twin->verdict == VERDICT_OK && i < TWINS_COUNT; i++)
        status = train_one(twin, sides, job, client, i, scratch, err);
    free(scratch);
    return status;
}

void stability_twin_release(struct stability_twin *twin)
{
    free(twin->growth);
    *twin = (struct stability_twin){0};
}
