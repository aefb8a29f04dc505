/* A thread that draws again and again while something takes long. */
#ifndef LEADCTL_TICKER_H
#define LEADCTL_TICKER_H

#include <stdbool.h>

struct ticker;

/* Draws, first after `first_ms` and then every `every_ms`; under the ticker's lock, by its thread. */
typedef void ticker_draw(void *user);

/* Never fails: without a thread nothing is drawn, and so it is when `is_shown` is false. */
struct ticker *ticker_new(bool is_shown, int first_ms, int every_ms, ticker_draw *draw, void *user);

/* What draw() reads is changed between these. Any thread. */
void ticker_lock(struct ticker *ticker);
void ticker_unlock(struct ticker *ticker);

/* Draws no more when it returns. NULL is fine. */
void ticker_free(struct ticker *ticker);

#endif
