/* registry/yaml_edit.h - entries into a YAML text, which keeps every byte that need not change.
 *
 * The text is parsed, pieces are put in where the nodes say, and what comes out is parsed again: it
 * must be the old tree with exactly the intended change, or nothing is given out.
 */
#ifndef REGISTRY_YAML_EDIT_H
#define REGISTRY_YAML_EDIT_H

#include "registry/entry.h"

#define YAML_EDIT_BYTES_MAX ((size_t)96 << 20)

struct yaml_edit_counts {
    size_t added, updated, unchanged;
};

/* `key`: where the list is, as keys with dots between them; NULL: it is the one list of mappings
 * with an `id`, wherever it is, or the empty text. Entries have different ids.
 * Of an entry whose id is there, fields that differ are replaced or added, and tags that are
 * missing are added; a result that is older than the one there is not written. *ret_text:
 * initialised by the caller; the new text, the same bytes where nothing changes. STATUS_INVALID:
 * the text or the list is one that cannot be changed safely; the error says why. */
MUST_CHECK enum status yaml_edit(const char *text, size_t text_bytes, const char *key,
                                 const struct entry *entries, size_t entries_count,
                                 struct buf *ret_text, struct yaml_edit_counts *ret_counts,
                                 struct err *err);

#endif
