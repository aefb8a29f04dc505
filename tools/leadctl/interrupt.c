#include "interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/memory.h"

struct interrupt {
    pthread_t thread;
    bool has_thread;
    sigset_t signals;
    sigset_t mask_before;
    int signal_fd;
    int stop_fd;  /* readable: the thread is to end */
    int event_fd; /* readable: it has come */
    atomic_bool has_come;

    pthread_mutex_t lock; /* held while `wake` runs */
    void (*wake)(void *user);
    void *user;
};

static void make_readable(int descriptor)
{
    const uint64_t one = 1;
    ssize_t written = write(descriptor, &one, sizeof(one));

    (void)written; /* it cannot be full */
}

static void note(struct interrupt *interrupt)
{
    atomic_store(&interrupt->has_come, true);
    make_readable(interrupt->event_fd);
    pthread_mutex_lock(&interrupt->lock);
    if (interrupt->wake != NULL)
        interrupt->wake(interrupt->user);
    pthread_mutex_unlock(&interrupt->lock);
}

/* The second one: the process ends as if nobody had ever waited for it. */
static void end_process(const struct interrupt *interrupt, int number)
{
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &interrupt->signals, NULL);
    raise(number);
}

static void *wait_for_signals(void *argument)
{
    struct interrupt *interrupt = argument;
    struct pollfd places[] = {
        {.fd = interrupt->signal_fd, .events = POLLIN}, {.fd = interrupt->stop_fd, .events = POLLIN}};

    for (;;) {
        struct signalfd_siginfo info;
        if (poll(places, COUNT_OF(places), -1) <= 0)
            continue;
        if (places[1].revents != 0)
            return NULL;
        if (read(interrupt->signal_fd, &info, sizeof(info)) != sizeof(info))
            continue;
        if (atomic_load(&interrupt->has_come))
            end_process(interrupt, (int)info.ssi_signo);
        note(interrupt);
    }
}

/* Not those that our parent wants to be ignored (nohup). */
static void choose_signals(sigset_t *signals)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;

    sigemptyset(signals);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(signals, numbers[i]);
}

struct interrupt *interrupt_new(void)
{
    struct interrupt *interrupt = memory_new(sizeof(*interrupt));

    pthread_mutex_init(&interrupt->lock, NULL);
    choose_signals(&interrupt->signals);
    interrupt->stop_fd = eventfd(0, EFD_CLOEXEC);
    interrupt->event_fd = eventfd(0, EFD_CLOEXEC);
    interrupt->signal_fd = signalfd(-1, &interrupt->signals, SFD_CLOEXEC);
    if (interrupt->stop_fd < 0 || interrupt->event_fd < 0 || interrupt->signal_fd < 0)
        return interrupt;
    pthread_sigmask(SIG_BLOCK, &interrupt->signals, &interrupt->mask_before);
    interrupt->has_thread = pthread_create(&interrupt->thread, NULL, wait_for_signals, interrupt) == 0;
    if (!interrupt->has_thread)
        pthread_sigmask(SIG_SETMASK, &interrupt->mask_before, NULL);
    return interrupt;
}

void interrupt_free(struct interrupt *interrupt)
{
    if (interrupt == NULL)
        return;
    if (interrupt->has_thread) {
        make_readable(interrupt->stop_fd);
        pthread_join(interrupt->thread, NULL);
        pthread_sigmask(SIG_SETMASK, &interrupt->mask_before, NULL);
    }
    close(interrupt->signal_fd);
    close(interrupt->stop_fd);
    close(interrupt->event_fd);
    pthread_mutex_destroy(&interrupt->lock);
    free(interrupt);
}

bool interrupt_happened(const struct interrupt *interrupt)
{
    return interrupt != NULL && atomic_load(&interrupt->has_come);
}

int interrupt_descriptor(const struct interrupt *interrupt)
{
    return interrupt == NULL ? -1 : interrupt->event_fd;
}

void interrupt_on(struct interrupt *interrupt, void (*wake)(void *user), void *user)
{
    if (interrupt == NULL)
        return;
    pthread_mutex_lock(&interrupt->lock);
    interrupt->wake = wake;
    interrupt->user = user;
    if (wake != NULL && atomic_load(&interrupt->has_come))
        wake(user);
    pthread_mutex_unlock(&interrupt->lock);
}
