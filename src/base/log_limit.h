/* Which of many lines that are alike are written. Not for users of src/base: log.h. */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_LIMIT_KINDS = 64,      /* of lines that are watched at once; of others the oldest is forgotten */
    LOG_LIMIT_KEY_SIZE = 1024, /* bytes of what makes lines alike */
};

/* Lines that were left out. */
struct log_left_out {
    int level;
    const char *event;
    char key[LOG_LIMIT_KEY_SIZE + 1]; /* as it was given */
    uint64_t lines;
};

/* Counts a line; true when it is to be written: one of the first LOG_ALIKE_MAX of a second with this level, event and key. `event` is
 * constant, `key` at most LOG_LIMIT_KEY_SIZE bytes. When a kind had to be forgotten that left lines out, or its second was over,
 * `ret_forgotten->lines` is not 0. Any thread. */
bool log_limit_admit(int level, const char *event, const char *key, int64_t now_ns, struct log_left_out *ret_forgotten);

/* Gives a kind whose second is over (`everything`: or not) and that left lines out, each once; false when there is none. */
bool log_limit_take(int64_t now_ns, bool everything, struct log_left_out *ret_left_out);

#endif
