/* One JSON object per line on a file descriptor. Used by programs, never by libraries: they return errors.
 *
 * Safe to call from any thread; a line has at most PIPE_BUF bytes and is written by one write(), so that it is never mixed
 * with another. A closed pipe (in a program that ignores SIGPIPE, as servers do) or a full disk loses the line, not the
 * process. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

enum log_field_type { LOG_FIELD_END = 0, LOG_FIELD_STRING, LOG_FIELD_INTEGER, LOG_FIELD_BOOLEAN };

/* A name and a value; strings are borrowed for the call. NULL strings are left out. */
struct log_field {
    const char *name;
    enum log_field_type type;
    const char *string;
    int64_t integer;
};

#define LOG_STRING(name, value)                                                                                        \
    {                                                                                                                  \
        (name), LOG_FIELD_STRING, (value), 0                                                                           \
    }
#define LOG_INTEGER(name, value)                                                                                       \
    {                                                                                                                  \
        (name), LOG_FIELD_INTEGER, 0, (int64_t)(value)                                                                 \
    }
#define LOG_BOOLEAN(name, value)                                                                                       \
    {                                                                                                                  \
        (name), LOG_FIELD_BOOLEAN, 0, (value) ? 1 : 0                                                                  \
    }
#define LOG_END                                                                                                        \
    {                                                                                                                  \
        0, LOG_FIELD_END, 0, 0                                                                                         \
    }

/* Where lines go (default: standard error) and the lowest level written (default: info). Call before threads start. */
void log_setup(int descriptor, enum log_level lowest);

/* True when lines of this level are written: for those that are costly to make. */
bool log_is_on(enum log_level level);

/* Writes {"time":…,"level":…,"event":…,"message":…, fields}. `event` is a constant dotted name, `message` a constant
 * sentence; what varies belongs in `fields`, which end with LOG_END (NULL: none). A string
 * over 1,024 bytes is cut, with U+2026 in place of the rest; a field that no longer fits into the line is left out, and the
 * line then ends with "cut":true. Keeps errno. */
void log_write(enum log_level level, const char *event, const char *message, const struct log_field *fields);

#endif
