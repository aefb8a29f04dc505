/* leadrouter-metrics-page: writes docs/metrics.md, from the table of metrics, to standard output. */
#include <stdio.h>

#include "metrics/metrics.h"

enum { PAGE_SIZE_MAX = 1024 * 1024 };

int main(void)
{
    struct buffer buffer;
    bool ok = false;

    buffer_init(&buffer, PAGE_SIZE_MAX);
    ok = metrics_describe(&buffer) && fputs(buffer_text(&buffer), stdout) >= 0 && fflush(stdout) == 0;
    buffer_release(&buffer);
    return ok ? 0 : 1;
}
