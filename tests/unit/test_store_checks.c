#include "scratch.h"
#include "store/checks.h"

#define CHECK(hash) CHECK_OF(hash, "infer")
#define CHECK_OF(hash, mode)                                                                      \
    "{\"engine\":\"native\",\"engine_version\":\"1\",\"harness\":\"1\",\"device\":\"cpu\","       \
    "\"precision\":\"fp32\",\"mode\":\"" mode "\",\"model\":\"m\",\"weights_hash\":\"" hash "\"," \
    "\"verdict\":\"ok\",\"run_id\":\"of " hash                                                    \
    "\",\"reference\":\"pytorch\",\"model_source\":\"preset\"}\n"

Test(store_checks, a_check_of_an_earlier_version_speaks_for_the_same_weights)
{
    char dir[FILE_PATH_BYTES];
    char run_id[CHECKS_RUN_BYTES] = "";
    enum checks_finding finding = CHECKS_NONE;
    struct err err = {0};
    struct checks_wanted wanted = {.engine = "native",
                                   .engine_version = "1",
                                   .harness = "1",
                                   .device = "cpu",
                                   .precision = "fp32",
                                   .mode = "infer",
                                   .model = "m",
                                   .weights_hash = "h0123456789abcdef"};
    scratch_new(dir);
    scratch_write_text(dir, JOURNAL_CHECKS, CHECK("0123456789abcdef") CHECK("h00000000000000ff"));
    cr_assert_eq(checks_find(dir, &wanted, &finding, run_id, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(finding, CHECKS_PASSED);
    cr_expect_str_eq(run_id, "of 0123456789abcdef");
    wanted.weights_hash = "hfedcba9876543210";
    cr_assert_eq(checks_find(dir, &wanted, &finding, run_id, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(finding, CHECKS_NONE);
    scratch_free(dir);
}

/* Training computes what inference does, and more; not what decoding does. */
Test(store_checks, a_check_of_training_speaks_for_inference)
{
    static const struct {
        const char *checked, *wanted;
        enum checks_finding finding;
    } cases[] = {{CHECK_OF("h0123456789abcdef", "train"), "infer", CHECKS_PASSED},
                 {CHECK_OF("h0123456789abcdef", "train"), "train", CHECKS_PASSED},
                 {CHECK_OF("h0123456789abcdef", "train"), "decode", CHECKS_NONE},
                 {CHECK_OF("h0123456789abcdef", "infer"), "train", CHECKS_NONE},
                 {CHECK_OF("h0123456789abcdef", "infer"), "decode", CHECKS_NONE}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char dir[FILE_PATH_BYTES];
        char run_id[CHECKS_RUN_BYTES] = "";
        enum checks_finding finding = CHECKS_FAILED;
        struct err err = {0};
        const struct checks_wanted wanted = {.engine = "native",
                                             .engine_version = "1",
                                             .harness = "1",
                                             .device = "cpu",
                                             .precision = "fp32",
                                             .mode = cases[i].wanted,
                                             .model = "m",
                                             .weights_hash = ""};
        scratch_new(dir);
        scratch_write_text(dir, JOURNAL_CHECKS, cases[i].checked);
        cr_assert_eq(checks_find(dir, &wanted, &finding, run_id, &err), STATUS_OK, "%s", err.text);
        cr_expect_eq(finding, cases[i].finding, "case %zu", i);
        scratch_free(dir);
    }
}
