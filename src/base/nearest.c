#include "base/nearest.h"

#include <string.h>

enum { EDITS_MOST = 2 };

/* Edits between two short words: insertions, deletions, replacements (Wagner and Fischer, 1974). */
static size_t edit_distance(const char *left, const char *right)
{
    size_t row[NEAREST_WORD_MAX + 1];
    size_t right_size = strlen(right);

    if (right_size > NEAREST_WORD_MAX)
        return NEAREST_WORD_MAX;
    for (size_t j = 0; j <= right_size; j++)
        row[j] = j;
    for (size_t i = 1; left[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            size_t best = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[right_size];
}

const char *nearest_word(const char *typed, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = EDITS_MOST + 1;

    if (strlen(typed) < nearest_distance)
        nearest_distance = strlen(typed);
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(typed, words[i]);
        if (distance < nearest_distance) {
            nearest = words[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}
