#include "phases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buffer.h"
#include "metrics/metrics.h"

enum { ASK_MS = 10000, PAGE_MAX = 8 << 20 };

static const double nanoseconds_per_ms = 1e6;

/* --- The page ----------------------------------------------------------------------------------------------------- */

/* The buckets of one phase, each with what is in it alone: on the page each has besides what is below it. */
static bool read_buckets(const char *page, enum metrics_phase phase, uint64_t ret_counts[METRICS_EDGES_MAX + 1])
{
    const struct metrics_family *family = &metrics_table[METRIC_PHASE_TIME];
    const char *at = page;
    uint64_t below = 0;
    char start[128];

    snprintf(start, sizeof(start), "\n%s_bucket{phase=\"%s\",le=\"", family->name,
        metrics_labels[family->labels[0]].values[phase]);
    for (size_t i = 0; i <= family->edges->count; i++) {
        uint64_t count = 0;
        at = strstr(at, start);
        if (at == NULL || sscanf(at + strlen(start), "%*[^\"]\"} %" SCNu64, &count) != 1 || count < below)
            return false;
        at += strlen(start);
        ret_counts[i] = count - below;
        below = count;
    }
    return true;
}

static bool read_phase(
    const char *page, enum metrics_phase phase, double *ret_ms, int64_t *ret_transactions, struct error *reterr_error)
{
    const struct metrics_edges *edges = metrics_table[METRIC_PHASE_TIME].edges;
    uint64_t counts[METRICS_EDGES_MAX + 1] = {0};
    int64_t transactions = 0;

    if (!read_buckets(page, phase, counts))
        return error_set(
            reterr_error, ERROR_INVALID, "%s is not among the metrics", metrics_table[METRIC_PHASE_TIME].name);
    for (size_t i = 0; i <= edges->count; i++)
        transactions += (int64_t)counts[i];
    *ret_ms = metrics_quantile(edges, counts, 0.95) / nanoseconds_per_ms;
    *ret_transactions = transactions;
    return true;
}

bool phases_parse(const char *page, struct phases *ret_phases, struct error *reterr_error)
{
    struct phases phases = {0};
    int64_t begun = 0;

    if (!read_phase(page, METRICS_PHASE_LOCK, &phases.acquire_ms, &begun, reterr_error) ||
        !read_phase(page, METRICS_PHASE_MATCH, &phases.match_ms, &begun, reterr_error) ||
        !read_phase(page, METRICS_PHASE_DECIDE, &phases.complete_ms, &phases.transactions, reterr_error))
        return false;
    *ret_phases = phases;
    return true;
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

static size_t take(char *bytes, size_t size, size_t count, void *user)
{
    return buffer_append(user, bytes, size * count) ? size * count : 0;
}

bool phases_ask(const char *address, struct phases *ret_phases, struct error *reterr_error)
{
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_FAILED_INIT;
    struct buffer page;
    char url[128];
    long status = 0;
    bool ok = false;

    buffer_init(&page, PAGE_MAX);
    snprintf(url, sizeof(url), "http://%s/metrics", address);
    if (curl != NULL && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ASK_MS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &page) == CURLE_OK)
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200)
        ok = phases_parse(buffer_text(&page), ret_phases, reterr_error);
    else
        error_set(reterr_error, ERROR_UNAVAILABLE, "could not read %s: %s, status %ld", url, curl_easy_strerror(code),
            status);
    curl_easy_cleanup(curl);
    buffer_release(&page);
    return ok;
}
