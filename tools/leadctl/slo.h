/* The service levels, measured: what `leadctl slo` is made of. */
#ifndef LEADCTL_SLO_H
#define LEADCTL_SLO_H

#include <stdint.h>

#include "command.h"
#include "levels/levels.h"

enum { SLO_QUERIES_MAX = 3 };

/* One level, measured. NAN where there is nothing to say. */
struct slo_measure {
    double value;
    double bad_share;               /* of the events: those that are not well */
    double events;                  /* how many; of a Prometheus about as many */
    double now;                     /* of a gauge over a time: what it is now, */
    double kept_share;              /* and for which share of that time it was as it should be */
    char *queries[SLO_QUERIES_MAX]; /* what Prometheus was asked, for people to ask again; NULL: nothing */
};

/* All of them. */
struct slo_report {
    const char *source; /* "server" or "prometheus" */
    const char *address;
    int64_t window_s;  /* what it is about: the time before `until_us`, */
    int64_t covered_s; /* and for how much of that there is data */
    int64_t until_us;  /* since 1970 */
    struct slo_measure measures[LEVELS];
};

/* Empty, all NAN. */
void slo_report_init(struct slo_report *report);

/* Frees what a report holds. */
void slo_report_release(struct slo_report *report);

/* "30d": seconds; 0 for what is no time of 5 minutes to a year. */
int64_t slo_window_seconds(const char *text);

/* Measures by the server's Health: its last hour, and what the database has now. On failure the reason was written. */
bool slo_measure_server(struct session *session, struct slo_report *report);

/* The same out of a Health that was answered. */
void slo_read_health(const Leadrouter__V1__HealthResponse *response, struct slo_report *report);

/* The same by a Prometheus that has deploy/prometheus/rules.yml. False with the reason: ERROR_INVALID or ERROR_SYSTEM where the command
 * line, or a file that it names, is wrong. */
bool slo_measure_prometheus(const struct arguments *arguments, struct slo_report *report, struct error *reterr_error);

#endif
