#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "observe/spreads.h"

TestSuite(observe_spreads);

#define DEVICE 11
#define KIND   22

struct list {
    struct machine_run runs[1000];
    size_t count;
};

static void add(struct list *list, const char *id, uint64_t device, uint64_t kind, double ms)
{
    struct machine_run *run = &list->runs[list->count++];
    (void)snprintf(run->id, sizeof(run->id), "h000000000000%.4s", id);
    run->device = device;
    run->kind = kind;
    run->median = (struct store_median){ms, NAN, NAN};
}

Test(observe_spreads, other_cells_of_the_device_each_by_its_own_mean)
{
    static struct list list;
    add(&list, "0001", DEVICE, KIND, 100); /* its own: no other */
    add(&list, "0001", DEVICE, KIND, 200);
    add(&list, "0002", DEVICE, KIND, 50); /* of its kind */
    add(&list, "0003", DEVICE, 99, 100);  /* another mode */
    add(&list, "0002", DEVICE, KIND, 50 * exp(0.02));
    add(&list, "0003", DEVICE, 99, 100);
    add(&list, "0003", DEVICE, 99, 100 * exp(0.3));
    add(&list, "0004", DEVICE, KIND, 1000); /* its kind, but far longer */
    add(&list, "0004", DEVICE, KIND, 1000);
    add(&list, "0005", DEVICE, KIND, 100); /* one run says nothing */
    add(&list, "0006", 5, KIND, 100);      /* another machine */
    add(&list, "0006", 5, KIND, 300);
    struct machine_book book = {.runs = list.runs, .runs_count = list.count};
    struct machine_run own = list.runs[0];
    struct next_run_spread spreads[SPREADS_MAX];
    cr_assert_eq(spreads_of_others(&book, &own, false, spreads), 3);
    /* What was measured last comes first. */
    cr_expect(spreads[0].variance == 0 && spreads[0].freedom == 1 && spreads[0].weight == 0.25);
    cr_expect_float_eq(spreads[1].variance, 0.03, 1e-12);
    cr_expect(spreads[1].freedom == 2 && spreads[1].weight == 0.25);
    cr_expect_float_eq(spreads[2].variance, 0.0002, 1e-12);
    cr_expect(spreads[2].freedom == 1 && spreads[2].weight == 1);
}

Test(observe_spreads, undisturbed_runs_alone)
{
    static struct list list;
    for (size_t i = 0; i < 6; i++) {
        add(&list, i < 4 ? "0002" : "0003", DEVICE, KIND, 100 * exp(0.1 * (double)i));
        list.runs[i].is_disturbed = i == 1 || i == 5;
    }
    struct machine_book book = {.runs = list.runs, .runs_count = list.count};
    const struct machine_run own = {.device = DEVICE, .kind = KIND, .median.ms = 100};
    struct next_run_spread spreads[SPREADS_MAX];
    cr_assert_eq(spreads_of_others(&book, &own, false, spreads), 2);
    cr_expect_float_eq(spreads[1].range, 0.3, 1e-12);
    cr_expect_eq(spreads[1].freedom, 3);
    /* Of the third cell one run is left, which says nothing. */
    cr_assert_eq(spreads_of_others(&book, &own, true, spreads), 1);
    cr_expect_float_eq(spreads[0].range, 0.3, 1e-12);
    cr_expect_eq(spreads[0].freedom, 2);
}

/* An engine that computes nothing: its steps may differ tenfold, by tenths of a microsecond. */
Test(observe_spreads, cells_whose_steps_are_next_to_nothing_do_not_count)
{
    static struct list list;
    add(&list, "0002", DEVICE, KIND, 0.0999);
    add(&list, "0002", DEVICE, KIND, 0.0001);
    add(&list, "0003", DEVICE, KIND, 0.1001);
    add(&list, "0003", DEVICE, KIND, 0.1001);
    struct machine_book book = {.runs = list.runs, .runs_count = list.count};
    struct machine_run own = {.device = DEVICE, .kind = KIND, .median.ms = 100};
    struct next_run_spread spreads[SPREADS_MAX];
    cr_assert_eq(spreads_of_others(&book, &own, false, spreads), 1);
    cr_expect_eq(spreads[0].variance, 0);
    /* But they do for one another, and longer ones for shorter. */
    own.median.ms = 0.0001;
    cr_expect_eq(spreads_of_others(&book, &own, false, spreads), 2);
}

Test(observe_spreads, no_more_cells_and_runs_than_there_is_room_for)
{
    static struct list list;
    for (size_t i = 0; i < 50 * 20; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "%04zu", 100 + (i < 900 ? i % 50 : 0));
        add(&list, id, DEVICE, KIND, 100);
    }
    struct machine_book book = {.runs = list.runs, .runs_count = list.count};
    struct machine_run own = {.device = DEVICE, .kind = KIND, .median.ms = 100};
    struct next_run_spread spreads[SPREADS_MAX];
    cr_assert_eq(spreads_of_others(&book, &own, false, spreads), SPREADS_MAX);
    cr_expect_eq(spreads[0].freedom, NEXT_RUN_RUNS_MAX - 1);
}
