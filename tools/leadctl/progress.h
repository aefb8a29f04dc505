/* A line on a terminal while something takes longer than a second; nothing elsewhere. */
#ifndef LEADCTL_PROGRESS_H
#define LEADCTL_PROGRESS_H

struct progress;

/* Starts to wait. Never fails: without a thread there is no line. */
struct progress *progress_new(void);

/* What is going on; the line has the seconds behind it. Any thread. */
void progress_set(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes the line away and releases. NULL is fine. */
void progress_free(struct progress *progress);

#endif
