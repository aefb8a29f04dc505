/* Ctrl-C, as something that work can end itself by. */
#ifndef LEADCTL_INTERRUPT_H
#define LEADCTL_INTERRUPT_H

#include <stdbool.h>

struct interrupt;

/* From here on the first SIGINT, SIGTERM or SIGHUP is only noted, and the second one ends the process. To be called before any other
 * thread is made. Never fails: without a thread, signals do what they always do. */
struct interrupt *interrupt_new(void);

/* Signals do what they always do again. NULL is fine. */
void interrupt_free(struct interrupt *interrupt);

/* Whether it has come. NULL is fine: no. Any thread. */
bool interrupt_happened(const struct interrupt *interrupt);

/* A descriptor that is readable once it has come; -1 for NULL. Borrowed, and not to be read from. */
int interrupt_descriptor(const struct interrupt *interrupt);

/* Calls `wake` once it has come, on a thread of its own; NULL takes that back, and waits for one that is under way. */
void interrupt_on(struct interrupt *interrupt, void (*wake)(void *user), void *user);

#endif
