#include "cli/ab_floor.h"

#include <stdio.h>

#include "base/num.h"
#include "base/user_folder.h"
#include "store/machine.h"

static void take(const struct machine_book *book, const struct ab_bench *bench, size_t pair,
                 enum pair_name side, struct ab_floor *floor)
{
    const struct cell *cell = &bench->setup->sides[side].run.plan.cells[pair];
    const struct machine_floor *known =
        machine_book_floor(book, bench->context.environment_id, cell);
    if (known == NULL || (floor->is_known && known->percent <= floor->percent))
        return;
    *floor = (struct ab_floor){.is_known = true, .percent = known->percent};
}

void ab_floor_find(struct ab_bench *bench, size_t pair, struct ab_floor *floor)
{
    char dir[FILE_PATH_BYTES];
    struct machine_book book = {0};
    struct err err = {0};
    *floor = (struct ab_floor){0};
    (void)snprintf(floor->reason, sizeof(floor->reason),
                   "`tokmark noise` has stored none for this cell in this environment within %d "
                   "days",
                   MACHINE_FLOOR_DAYS);
    enum status status = user_folder_data(NULL, dir, &err);
    if (status == STATUS_OK)
        status = machine_book_read(dir, &book, &err);
    if (status != STATUS_OK)
        (void)snprintf(floor->reason, sizeof(floor->reason), "%.400s", err.text);
    if (book.bad_lines_count > 0 && pair == 0)
        ab_bench_note(bench, "%s: %zu line%s skipped, being no entries", dir, book.bad_lines_count,
                      num_plural(book.bad_lines_count));
    for (int i = 0; i < PAIR_SIDES; i++)
        take(&book, bench, pair, (enum pair_name)i, floor);
    machine_book_release(&book);
}
