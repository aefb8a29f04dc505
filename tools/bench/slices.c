#include "slices.h"

#include <stdlib.h>

#include "base/memory.h"
#include "run.h"

/* Calls for the leads behind the first `*taken`, for the time of a slice. */
static bool measure(
    struct slices_side *side, const struct workload *all, unsigned in_flight, size_t *taken, struct error *reterr_error)
{
    const struct workload left = {.count = all->count - *taken,
        .lead_ids = all->lead_ids + *taken,
        .source_workspace_ids = all->source_workspace_ids + *taken};
    const struct unary_options unary = {.target = side->server.target,
        .in_flight = in_flight,
        .authorizations = side->authorizations == NULL ? NULL : side->authorizations + *taken};
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    bool ok = false;

    run_init(run, &left, SLICE_MS);
    ok = unary_run(run, &unary, reterr_error);
    if (ok) {
        run_finish(run, &summary);
        side->answered += summary.answered;
        side->seconds += summary.seconds;
        histogram_merge(&side->latency, &run->latency);
        *taken += (size_t)(summary.answered + summary.errors);
        if (summary.errors > 0)
            ok = error_set(reterr_error, ERROR_INTERNAL, "a call failed: %s", summary.error_text);
        else if (run_ran_dry(run))
            ok = error_set(reterr_error, ERROR_INVALID, "--leads: too few for so long a round");
        else if (atomic_load(&run_interrupted))
            ok = error_set(reterr_error, ERROR_CANCELLED, "interrupted");
    }
    free(run);
    return ok;
}

bool slices_measure(struct slices_side *sides, size_t count, const struct workload *workload, int64_t duration_s,
    unsigned in_flight, struct error *reterr_error)
{
    size_t turns = SLICES_OF(duration_s);
    size_t taken = 0;

    for (size_t turn = 0; turn < turns; turn++)
        for (size_t i = 0; i < count; i++) {
            struct slices_side *side = &sides[(i + turn) % count];
            uint64_t answered = side->answered;
            double seconds = side->seconds;
            if (!measure(side, workload, in_flight, &taken, reterr_error))
                return error_add_context(reterr_error, "%s", side->name);
            if (side->per_second != NULL)
                side->per_second[turn] = (double)(side->answered - answered) / (side->seconds - seconds);
        }
    return true;
}
