/* One JSON object per line on a file descriptor. Used by programs, never by libraries: they return errors.
 *
 * Safe to call from any thread; a line has at most PIPE_BUF bytes and is written by one write(), so that it is never mixed
 * with another. A closed pipe (in a program that ignores SIGPIPE, as servers do) or a full disk loses the line, not the
 * process. Programs whose threads must not wait for whoever reads start the writer. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { LOG_ALIKE_MAX = 10 /* lines of log_write_limited() that are alike, in a second */ };

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

/* As log_write(), for what may happen thousands of times a second: of lines that are alike in level, event and the first `key_count` fields
 * no more than LOG_ALIKE_MAX are written within a second. Those left out are told of when the second is over, by a line of that
 * event with those fields and "repeated":N, which stands for N lines. Until the writer runs only the next limited line tells of them. */
void log_write_limited(
    enum log_level level, const char *event, const char *message, const struct log_field *fields, size_t key_count);

/* Is told of every line of log_write() and log_write_limited() that is of a level that is written, also of those left out or lost:
 * on the thread that logs, which must not wait, and with no lock held. Must not log. */
typedef void log_observer(enum log_level level, const char *event, const char *message);

/* Sets it; NULL: nobody is told. Lines under way may still be told to the one before. */
void log_set_observer(log_observer *observer);

/* Starts a thread that writes: from here on lines go into a queue of `size` bytes, at least 2 * PIPE_BUF, and nobody who logs ever waits
 * for who reads. Lines for which there is no room, or that cannot be written, are lost and counted; "log.lost" says how many once
 * lines can be written again. Errors and warnings find room for longer than the rest. After log_setup(); errors: ERROR_SYSTEM. */
bool log_writer_begin(size_t size, struct error *reterr_error);

/* Waits until what was logged so far has been written or lost; false when the time was up. Before _exit(). */
bool log_flush(int64_t deadline_ns);

/* Ends the writer after what there is, at the latest at `deadline_ns`; lines are then written by who logs again,
 * unless the writer hangs. */
void log_writer_end(int64_t deadline_ns);

/* Lines lost since the writer began. Any thread. */
uint64_t log_lost(void);

#endif
