/* The queue of lines between who logs and who reads, and the thread that writes. Not for users of src/base: log.h. */
#ifndef BASE_LOG_WRITER_H
#define BASE_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Called about once a second on the writer's thread, and when it ends: for lines that are due by time. */
typedef void log_writer_tick(bool is_end);

/* Makes a line that says how many were lost; a text of at most PIPE_BUF bytes in a place of its own. On the writer's thread. */
typedef const char *log_writer_loss(uint64_t lines);

/* Starts the thread; there is one per process. Errors: ERROR_SYSTEM. */
bool log_writer_start(
    int descriptor, size_t queue_size, log_writer_tick *tick, log_writer_loss *loss, struct error *reterr_error);

/* Takes a line of at most PIPE_BUF bytes that ends in a line end. False: there is no writer, and the caller writes. A line for which
 * there is no room is counted as lost; the last quarter of the queue is for lines that matter. Never waits for whoever reads. */
bool log_writer_put(const void *line, size_t size, bool matters);

/* Waits until everything put so far is written or lost. False when the time was up. */
bool log_writer_flush(int64_t deadline_ns);

/* Writes what there is, at most until the time is up, and ends the thread. One that hangs in a write is left behind: from
 * then on lines are lost. */
void log_writer_stop(int64_t deadline_ns);

/* Lines lost since the start of the process: no room in the queue, or they could not be written. */
uint64_t log_writer_lost(void);

#endif
