/* Which hosts are this machine: plain text is for them only. */
#ifndef BASE_LOOPBACK_H
#define BASE_LOOPBACK_H

#include <stdbool.h>

/* 127.0.0.0/8, [::1] or localhost. */
bool host_is_loopback(const char *host);

#endif
