#include "noise.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "unary.h"

enum { SOCKET_IN_CHILD = 3 };

/* What the clients of this project do (client/leadrouter.c). */
static const char patience[] = "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":5,"
                               "\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"2s\","
                               "\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"RESOURCE_EXHAUSTED\"]}}]}";

/* --- In the process ----------------------------------------------------------------------------------------------- */

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void make_noise(
    const struct workload *workload, const struct noise_order *order, struct noise_figures *ret_figures)
{
    struct run *run = memory_new(sizeof(*run));
    atomic_uint_least64_t refused = 0;
    struct run_summary summary = {0};
    struct error error = {0};
    const struct unary_options unary = {.target = order->target,
        .in_flight = order->in_flight,
        .refused = &refused,
        .service_config_json = order->is_patient ? patience : NULL};
    double begun_s = cpu_s();

    run_init(run, workload, order->duration_ms);
    if (!unary_run(run, &unary, &error))
        run_report_error(run, error.text);
    run_finish(run, &summary);
    *ret_figures = (struct noise_figures){
        .leads_per_second = summary.leads_per_second, .errors = summary.errors, .ran_dry = run_ran_dry(run)};
    memcpy(ret_figures->error_text, summary.error_text, sizeof(summary.error_text));
    if (summary.seconds > 0) {
        ret_figures->refused_per_second = (double)atomic_load(&refused) / summary.seconds;
        ret_figures->cpu_percent = (cpu_s() - begun_s) / summary.seconds * 100;
    }
    free(run);
}

static void serve(const struct workload *workload, int descriptor)
{
    struct noise_order order;
    struct noise_figures figures;

    /* The bench's other children end when their input does: it must not live on here. */
    if (dup2(descriptor, SOCKET_IN_CHILD) < 0)
        return;
    closefrom(SOCKET_IN_CHILD + 1);
    while (recv(SOCKET_IN_CHILD, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
        make_noise(workload, &order, &figures);
        if (send(SOCKET_IN_CHILD, &figures, sizeof(figures), MSG_NOSIGNAL) < 0)
            return;
    }
}

/* --- In the bench ------------------------------------------------------------------------------------------------- */

bool noise_open(const struct workload *workload, struct noise *ret_noise, struct error *reterr_error)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not make a socket: %s", strerror(errno));
    pid_t pid = fork();
    int failure = errno;
    if (pid == 0) {
        serve(workload, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return error_set(reterr_error, ERROR_SYSTEM, "could not start a process: %s", strerror(failure));
    }
    *ret_noise = (struct noise){.pid = pid, .socket = ends[0]};
    return true;
}

void noise_close(struct noise *noise)
{
    if (noise->pid == 0)
        return;
    close(noise->socket);
    kill(noise->pid, SIGTERM);
    waitpid(noise->pid, NULL, 0);
    *noise = (struct noise){0};
}

static bool is_gone(struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_SYSTEM, "the process of the noisy tenant is gone");
}

bool noise_begin(struct noise *noise, const struct noise_order *order, struct error *reterr_error)
{
    return send(noise->socket, order, sizeof(*order), MSG_NOSIGNAL) == (ssize_t)sizeof(*order) || is_gone(reterr_error);
}

bool noise_end(struct noise *noise, struct noise_figures *ret_figures, struct error *reterr_error)
{
    ssize_t size = -1;

    do
        size = recv(noise->socket, ret_figures, sizeof(*ret_figures), 0);
    while (size < 0 && errno == EINTR);
    return size == (ssize_t)sizeof(*ret_figures) || is_gone(reterr_error);
}
