/* What deciding looks like in numbers: from a transaction, an item, an answer to the metrics of src/metrics. */
#ifndef ROUTING_MEASURE_H
#define ROUTING_MEASURE_H

#include <stdint.h>

#include "metrics/metrics.h"
#include "routing/batch.h"
#include "routing/engine.h"

/* A transaction has ended with `result`; once for each. */
void measure_transaction(
    struct metrics *metrics, const struct batch_transaction *transaction, enum batch_result result, int64_t now_ns);

/* What was decided for the leads of a transaction that was committed: what rules said, what became of claims. */
void measure_decisions(struct metrics *metrics, const struct batch_transaction *transaction);

/* An attempt ended, for a caller or for the retry queue. */
void measure_attempt(struct metrics *metrics, enum metrics_origin origin, enum routing_outcome outcome);

/* A caller is told. */
void measure_answer(struct metrics *metrics, const struct routing_answer *answer, int64_t submitted_ns, int64_t now_ns);

#endif
