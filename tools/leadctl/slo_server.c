/* Service levels from what a server says of itself. */
#include <math.h>

#include "leadrouter/v1/routing.grpc.h"
#include "slo.h"

static const double us_per_s = 1e6;

static void set_share(struct slo_report *report, enum level level, double bad, double all)
{
    struct slo_measure *measure = &report->measures[level];

    measure->bad_share = level_bad_share(bad, all);
    measure->value = 1 - measure->bad_share;
    measure->events = all;
}

/* A server that does not say yet how many waited and were late, says its quantiles all the same: 0 is none. */
static void set_quantile(struct slo_report *report, enum level level, int64_t us, int64_t late, int64_t waits)
{
    struct slo_measure *measure = &report->measures[level];

    measure->bad_share = level_bad_share((double)late, (double)waits);
    measure->value = us == 0 && waits == 0 ? NAN : level_quantile(level, (double)us / us_per_s, measure->bad_share);
    if (waits > 0)
        measure->events = (double)waits;
}

void slo_read_health(const Leadrouter__V1__HealthResponse *response, struct slo_report *report)
{
    const Leadrouter__V1__ServerRates *rates = response->rates;

    report->measures[LEVEL_RETRIES_DUE].value = (double)response->retries_due;
    report->measures[LEVEL_STALE_LOCKS].value = (double)response->stale_locks;
    if (response->counted_at != NULL)
        report->until_us = response->counted_at->seconds * 1000000 + response->counted_at->nanos / 1000;
    if (rates == NULL)
        return;
    report->window_s = rates->period_seconds;
    report->covered_s = rates->period_seconds;
    set_share(report, LEVEL_AVAILABILITY, (double)rates->calls_failed, (double)rates->calls);
    set_share(report, LEVEL_SUCCESS, (1 - rates->success_share) * (double)rates->final_decisions,
        (double)rates->final_decisions);
    set_share(
        report, LEVEL_LOCKS, (1 - rates->lock_share) * (double)rates->leads_asked_for, (double)rates->leads_asked_for);
    set_quantile(report, LEVEL_P95, rates->p95_us, rates->waits_late_p95, rates->waits);
    set_quantile(report, LEVEL_P99, rates->p99_us, rates->waits_late_p99, rates->waits);
}

bool slo_measure_server(struct session *session, struct slo_report *report)
{
    Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    Leadrouter__V1__HealthResponse *response = NULL;

    report->source = "server";
    report->address = session->target;
    if (leadrouter__v1__routing_service__health(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK) {
        session_failed(session);
        return false;
    }
    slo_read_health(response, report);
    leadrouter__v1__health_response__free_unpacked(response, NULL);
    return true;
}
