#include "run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

atomic_bool run_interrupted;

void run_init(struct run *run, const struct workload *workload, int64_t duration_ms)
{
    memset(run, 0, sizeof(*run));
    histogram_clear(&run->latency);
    atomic_flag_clear(&run->has_error_text);
    run->workload = workload;
    run->duration_ns = duration_ms * 1000000;
}

void run_begin(struct run *run)
{
    assert(run->start_ns == 0);
    run->start_ns = clock_now_ns();
    run->end_ns = run->start_ns + run->duration_ns;
    atomic_store(&run->last_answer_ns, run->start_ns);
}

bool run_is_over(const struct run *run)
{
    return atomic_load_explicit(&run_interrupted, memory_order_relaxed) || clock_now_ns() >= run->end_ns;
}

bool run_ran_dry(const struct run *run)
{
    return atomic_load(&run->next) > run->workload->count;
}

bool run_take(struct run *run, size_t *ret_index)
{
    size_t index = 0;

    if (run_is_over(run))
        return false;
    index = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed);
    if (index >= run->workload->count)
        return false;
    *ret_index = index;
    return true;
}

static void note_answer(struct run *run, int64_t now_ns)
{
    int64_t last_ns = atomic_load_explicit(&run->last_answer_ns, memory_order_relaxed);

    while (now_ns > last_ns && !atomic_compare_exchange_weak(&run->last_answer_ns, &last_ns, now_ns))
        ;
}

void run_report_outcome(struct run *run, int64_t begun_ns, enum routing_outcome outcome)
{
    int64_t now_ns = clock_now_ns();

    run_report_latency(run, now_ns, now_ns - begun_ns, outcome);
}

void run_report_latency(struct run *run, int64_t decided_ns, int64_t latency_ns, enum routing_outcome outcome)
{
    int64_t waited_ns = latency_ns > 0 ? latency_ns : 0;

    assert((unsigned)outcome < RUN_OUTCOMES);
    atomic_fetch_add_explicit(&run->outcomes[outcome], 1, memory_order_relaxed);
    histogram_add(&run->latency, (uint64_t)waited_ns);
    atomic_fetch_add_explicit(&run->latency_sum_ns, waited_ns, memory_order_relaxed);
    note_answer(run, decided_ns);
}

void run_report_error(struct run *run, const char *text)
{
    atomic_fetch_add_explicit(&run->errors, 1, memory_order_relaxed);
    if (!atomic_flag_test_and_set(&run->has_error_text))
        snprintf(run->error_text, sizeof(run->error_text), "%s", text);
    note_answer(run, clock_now_ns());
}

void run_finish(const struct run *run, struct run_summary *ret_summary)
{
    const double ms = 1e-6;

    memset(ret_summary, 0, sizeof(*ret_summary));
    for (size_t i = 0; i < RUN_OUTCOMES; i++) {
        ret_summary->outcomes[i] = atomic_load(&run->outcomes[i]);
        ret_summary->answered += ret_summary->outcomes[i];
    }
    ret_summary->errors = atomic_load(&run->errors);
    memcpy(ret_summary->error_text, run->error_text, sizeof(ret_summary->error_text));
    ret_summary->seconds = (double)(atomic_load(&run->last_answer_ns) - run->start_ns) * 1e-9;
    if (ret_summary->seconds > 0)
        ret_summary->leads_per_second = (double)ret_summary->answered / ret_summary->seconds;
    if (ret_summary->answered > 0)
        ret_summary->mean_ms = (double)atomic_load(&run->latency_sum_ns) * ms / (double)ret_summary->answered;
    ret_summary->p50_ms = (double)histogram_quantile(&run->latency, 500) * ms;
    ret_summary->p95_ms = (double)histogram_quantile(&run->latency, 950) * ms;
    ret_summary->p99_ms = (double)histogram_quantile(&run->latency, 990) * ms;
    ret_summary->max_ms = (double)histogram_max(&run->latency) * ms;
}

static int compare_numbers(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;

    return (difference > 0) - (difference < 0);
}

double run_median(double *numbers, size_t count)
{
    assert(count > 0);
    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    return numbers[count / 2];
}

double run_median_of(const double *first, size_t size, size_t count)
{
    double *numbers = memory_new_array(count, sizeof(*numbers));

    for (size_t i = 0; i < count; i++)
        memcpy(&numbers[i], (const char *)first + i * size, sizeof(*numbers));
    const double median = run_median(numbers, count);
    free(numbers);
    return median;
}
