#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

Test(base_hash, an_id_is_no_number_to_any_reader)
{
    static const uint64_t hashes[] = {0,
                                      0x346306279874e673, /* infinite, as a number */
                                      0x0123456789012345, /* would lose its zero */
                                      0x1234567890123456,
                                      0xe000000000000000,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        char id[HASH_ID_BYTES];
        hash_id_format(hashes[i], id);
        char *end = NULL;
        (void)strtod(id, &end);
        cr_expect(end == id, "%s reads as a number", id);
        cr_expect_eq(strlen(id), HASH_ID_BYTES - 1);
        cr_expect_eq(strtoull(hash_id_digits(id), NULL, 16), hashes[i]);
    }
}

Test(base_hash, ids_of_earlier_versions_name_the_same_content)
{
    cr_expect(hash_id_is_same("h346306279874e673", "346306279874e673"));
    cr_expect(hash_id_is_same("346306279874e673", "346306279874e673"));
    cr_expect_not(hash_id_is_same("h346306279874e673", "h346306279874e674"));
    cr_expect_not(hash_id_is_same("h346306279874e673", ""));
    /* What is no id of a hash keeps its first letter. */
    static const char *const others[] = {"",
                                         "h",
                                         "hello",
                                         "h346306279874e67",
                                         "h346306279874e6731",
                                         "x346306279874e673",
                                         "h346306279874E673"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_expect_str_eq(hash_id_digits(others[i]), others[i]);
}
