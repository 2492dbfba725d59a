#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/status.h"
#include "engines/launched.h"

/* As tests/engines/test_launched_ranks.py has them for workers that can be ranks. */
Test(engines_launched, the_first_launcher_that_says_both_numbers_counts)
{
    static const struct {
        const char *said[4][2];
        bool is_several;
        uint32_t rank, count;
        const char *count_key;
    } rows[] = {
        {{{NULL, NULL}}, false, 0, 0, ""},
        {{{"RANK", "1"}, {"WORLD_SIZE", "2"}}, true, 1, 2, "WORLD_SIZE"},
        {{{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}},
         false,
         0,
         0,
         ""},
        {{{"RANK", "2"}, {"WORLD_SIZE", "2"}}, false, 0, 0, ""},
        {{{"RANK", "x"}, {"WORLD_SIZE", "2"}, {"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}},
         true,
         3,
         4,
         "SLURM_NTASKS"},
        {{{"SLURM_NTASKS", "4"}}, false, 0, 0, ""},
        {{{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "3"}},
         true,
         0,
         3,
         "OMPI_COMM_WORLD_SIZE"},
        {{{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}, true, 1, 3, "PMI_SIZE"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        cr_assert_eq(clearenv(), 0);
        for (size_t k = 0; k < 4 && rows[i].said[k][0] != NULL; k++)
            cr_assert_eq(setenv(rows[i].said[k][0], rows[i].said[k][1], 1), 0);
        struct launched launched;
        cr_assert_eq(launched_find(&launched), rows[i].is_several, "row %zu", i);
        if (!rows[i].is_several)
            continue;
        cr_expect_eq(launched.rank, rows[i].rank, "row %zu", i);
        cr_expect_eq(launched.count, rows[i].count, "row %zu", i);
        cr_expect_str_eq(launched.count_key, rows[i].count_key);
        launched_forget();
        cr_expect_not(launched_find(&launched), "row %zu", i);
    }
}
