#include <pthread.h>
#include <signal.h>

#include "pg/connection.h"

static void *send_request(void *user)
{
    PGcancel *request = user;
    char ignored[256];

    PQcancel(request, ignored, sizeof(ignored));
    PQfreeCancel(request);
    return NULL;
}

/* libpq 15 can cancel only by PQcancel(), which connects and waits for the end of the stream without any limit: for ever, when the server's
 * host is gone or its postmaster hangs. So it runs in a thread of its own, which takes no signals: those are the program's. */
void pg_cancel_send(PGconn *handle)
{
    PGcancel *request = PQgetCancel(handle);
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;

    if (request == NULL)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, send_request, request) != 0)
        PQfreeCancel(request);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
