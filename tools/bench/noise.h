/* The noisy tenant of `leadrouter-bench tenants`: a client in a process of its own, as other tenants' clients are. In one process the
 * core would let both tenants' calls share a connection and threads, and one would wait for the other there. */
#ifndef BENCH_NOISE_H
#define BENCH_NOISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "children.h"
#include "run.h"

struct noise {
    pid_t pid; /* 0: none */
    int socket;
};

/* What it is to do. */
struct noise_order {
    char target[CHILD_TARGET_SIZE];
    int64_t duration_ms;
    unsigned in_flight;
    bool is_patient; /* it waits as it is told to, five times, then it begins anew; otherwise it calls again at once */
};

/* What came of it. */
struct noise_figures {
    double leads_per_second;
    double refused_per_second;
    double cpu_percent; /* of one core: what the client itself used */
    uint64_t errors;
    char error_text[RUN_ERROR_SIZE];
    bool ran_dry; /* there were too few leads */
};

/* Starts the process, which routes leads of `workload` when it is told to. Before this process has threads or has used gRPC. Ended with
 * noise_close(), or by this process' end. Errors: ERROR_SYSTEM. */
bool noise_open(const struct workload *workload, struct noise *ret_noise, struct error *reterr_error);

/* Ends it. A zeroed one is fine. */
void noise_close(struct noise *noise);

/* Has it begin; noise_end() waits until it is done. ERROR_SYSTEM when the process is gone. */
bool noise_begin(struct noise *noise, const struct noise_order *order, struct error *reterr_error);
bool noise_end(struct noise *noise, struct noise_figures *ret_figures, struct error *reterr_error);

#endif
