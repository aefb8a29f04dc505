/* The core's own log lines, which this library neither prints nor keeps.
 *
 * The core writes an error line for each malformed header, before anybody is known: whoever connects could fill a
 * disk. So lines are dropped, unless somebody asks for them, and then at most GRPC_C_LOG_LINES_MAX come in a second.
 * Only what the core says right before it ends the process goes to standard error in any case. */
#ifndef GRPC_C_LOG_H
#define GRPC_C_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum { GRPC_C_LOG_LINES_MAX = 10 };

/* Told a line of the core: `message` is borrowed and may hold bytes of a peer; `dropped` lines before it were passed
 * over since the last one told. On any thread of the core, several at once; must not block nor call into src/grpc_c. */
typedef void grpc_c_log_observer(bool is_error, const char *message, uint64_t dropped, void *user);

/* Sets who is told, for the whole process; NULL: nobody, which is the default. Before the first server or channel is
 * made. */
void grpc_c_log_observe(grpc_c_log_observer *observer, void *user);

#endif
