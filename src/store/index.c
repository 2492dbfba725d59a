#include "store/index.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "result/visit.h"
#include "spec/verdict.h"
#include "store/store.h"

#define INDEX_FIRST_SLOTS   64
#define INDEX_KEY_BYTES_MAX (8U << 20)

void index_release(struct store_index *index)
{
    for (size_t i = 0; i < index->slots_count; i++)
        free(index->slots[i].key);
    free(index->slots);
    *index = (struct store_index){0};
}

/* By the digits of ids, so that records of earlier versions are found. Lengths in front keep two
 * different tuples from ever making the same text. */
static void make_key(struct buf *key, const char *cell_id, const char *policy_id, uint64_t trial,
                     const char *environment_id)
{
    buf_init(key, INDEX_KEY_BYTES_MAX);
    const char *cell = hash_id_digits(cell_id);
    const char *policy = hash_id_digits(policy_id);
    buf_appendf(key, "%zu %zu %" PRIu64 " %s%s%s", strlen(cell), strlen(policy), trial, cell,
                policy, hash_id_digits(environment_id));
}

/* The slot that holds `key`, or the free one where it belongs. The table is never full. */
static size_t find_slot(const struct index_entry *slots, size_t slots_count, const char *key)
{
    size_t slot = (size_t)hash_u64(key, strlen(key)) & (slots_count - 1);
    while (slots[slot].key != NULL && strcmp(slots[slot].key, key) != 0)
        slot = (slot + 1) & (slots_count - 1);
    return slot;
}

static bool grow(struct store_index *index)
{
    size_t slots_count = index->slots_count == 0 ? INDEX_FIRST_SLOTS : index->slots_count * 2;
    struct index_entry *slots = calloc(slots_count, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < index->slots_count; i++)
        if (index->slots[i].key != NULL)
            slots[find_slot(slots, slots_count, index->slots[i].key)] = index->slots[i];
    free(index->slots);
    index->slots = slots;
    index->slots_count = slots_count;
    return true;
}

/* Adding a key that is there is fine: the newer record counts. */
static enum status add(struct store_index *index, const char *cell_id, const char *policy_id,
                       uint64_t trial, const char *environment_id,
                       const struct store_median *median, bool is_unsteady, struct err *err)
{
    struct buf key;
    make_key(&key, cell_id, policy_id, trial, environment_id);
    bool is_added = !key.failed;
    if (is_added && (index->keys_count + 1) * 2 > index->slots_count)
        is_added = grow(index);
    if (is_added) {
        struct index_entry *entry =
            &index->slots[find_slot(index->slots, index->slots_count, key.data)];
        if (entry->key == NULL) {
            entry->key = strdup(key.data);
            is_added = entry->key != NULL;
            index->keys_count += is_added ? 1 : 0;
        }
        entry->median = *median;
        entry->is_unsteady = is_unsteady;
    }
    buf_release(&key);
    return is_added ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory for the index of records");
}

bool index_is_finished(const struct record *record)
{
    enum verdict verdict;
    return verdict_parse(record_string(record, FACT_VERDICT), &verdict) &&
           verdict_is_finished(verdict) &&
           !verdict_may_pass(reasons_deciding(record_reasons(record, FACT_REASONS)));
}

static enum status add_record_of(struct store_index *index, const struct record *record,
                                 const char *environment_id, struct err *err)
{
    struct store_median median = {NAN, NAN, NAN};
    (void)store_median_of(record, &median);
    bool is_unsteady =
        strcmp(record_string(record, FACT_VERDICT), verdict_name(VERDICT_UNSTEADY)) == 0;
    return add(index, record_string(record, FACT_CELL_ID), record_string(record, FACT_POLICY_ID),
               record_u64(record, FACT_TRIAL), environment_id, &median, is_unsteady, err);
}

enum status index_add_record(struct store_index *index, const struct record *record,
                             struct err *err)
{
    if (!index_is_finished(record))
        return STATUS_OK;
    return add_record_of(index, record, record_string(record, FACT_ENVIRONMENT_ID), err);
}

struct index_reading {
    struct store_index index;
    bool is_any_environment;
};

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct index_reading *reading = context;
    if (item->is_published || !index_is_finished(item->record))
        return STATUS_OK;
    const char *environment_id =
        reading->is_any_environment ? "" : record_string(item->record, FACT_ENVIRONMENT_ID);
    return add_record_of(&reading->index, item->record, environment_id, err);
}

enum status index_read(const char *dir, bool is_any_environment, struct store_index *ret_index,
                       struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct index_reading reading = {.is_any_environment = is_any_environment};
    const struct reader_options options = {.is_jsonl = true};
    enum status status = file_join(dir, "bench_results.jsonl", path, err);
    if (status == STATUS_OK && access(path, F_OK) == 0)
        status = visit_source(path, &options, take_record, &reading, NULL, err);
    if (status == STATUS_OK)
        *ret_index = reading.index;
    else
        index_release(&reading.index);
    return status;
}

const struct index_entry *index_find(const struct store_index *index, const char *cell_id,
                                     const char *policy_id, uint64_t trial,
                                     const char *environment_id)
{
    const struct index_entry *entry = NULL;
    if (index->slots_count == 0)
        return NULL;
    struct buf key;
    make_key(&key, cell_id, policy_id, trial, environment_id);
    if (!key.failed)
        entry = &index->slots[find_slot(index->slots, index->slots_count, key.data)];
    buf_release(&key);
    return entry != NULL && entry->key != NULL ? entry : NULL;
}
