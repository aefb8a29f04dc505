/* Goal: the picture has each figure where the axes say, and in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

static char *draw(const struct picture_point *points, size_t count)
{
    const struct picture picture = {.points = points, .count = count, .level_p95_ms = 2000, .level_p99_ms = 5000};
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    picture_write(file, &picture);
    fclose(file);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in %s", part, text);
}

/* From 10 to 10,000 a second over 664 pixels, from 1 ms to 10 s over 354: by powers of ten. */
static void places(void **state)
{
    const struct picture_point points[] = {
        {10, 1, 10, 100, false}, {100, 1, 10, 100, false}, {10000, 10, 100, 1000, false}};
    char *text = draw(points, 3);

    (void)state;
    assert_has(text, "<path class=\"line a\" d=\"M96.0 430.0L317.3 430.0L760.0 341.5\"/>");
    assert_has(text, "<path class=\"line b\" d=\"M96.0 341.5L317.3 341.5L760.0 253.0\"/>");
    assert_has(text, "<path class=\"line c\" d=\"M96.0 253.0L317.3 253.0L760.0 164.5\"/>");
    assert_has(text, "<circle class=\"mark a\" cx=\"317.3\" cy=\"430.0\"");
    assert_has(text, ">1,000</text>");
    assert_has(text, ">10 s</text>");
    free(text);
}

/* Both levels have a line across, and say what they are. */
static void levels(void **state)
{
    const struct picture_point points[] = {{10, 1, 10, 100, false}};
    char *text = draw(points, 1);

    (void)state;
    assert_has(text, "<line class=\"level\" x1=\"96\" x2=\"760\" y1=\"137.9\" y2=\"137.9\"/>");
    assert_has(text, "p95 is to stay below 2 s");
    assert_has(text, "<line class=\"level\" x1=\"96\" x2=\"760\" y1=\"102.6\" y2=\"102.6\"/>");
    assert_has(text, "p99 is to stay below 5 s");
    free(text);
}

/* A burst has its marks, and no line goes through it. */
static void bursts(void **state)
{
    const struct picture_point points[] = {
        {10, 1, 10, 100, false}, {500, 2, 20, 200, true}, {10000, 10, 100, 1000, false}};
    char *text = draw(points, 3);

    (void)state;
    assert_has(text, "<path class=\"line a\" d=\"M96.0 430.0L760.0 341.5\"/>");
    assert_has(text, "<circle class=\"mark a burst\"");
    assert_has(text, "bursts of 500</text>");
    free(text);
}

/* Whoever does not see it reads the figures. */
static void words(void **state)
{
    const struct picture_point points[] = {
        {10, 1.42, 2.5, 4, false}, {500, 2, 20, 200, true}, {5000, 9, 1500, 12000, false}};
    char *text = draw(points, 3);

    (void)state;
    assert_has(text, "role=\"img\" aria-labelledby=\"title words\"");
    assert_has(text, "<title id=\"title\">Latency of RouteLead against the rate of calls</title>");
    assert_has(text, "10 calls a second: p50 1.4 ms, p95 2.5 ms, p99 4 ms. ");
    assert_has(text, "Bursts of 500 calls a second: p50 2 ms, p95 20 ms, p99 200 ms. ");
    assert_has(text, "5,000 calls a second: p50 9 ms, p95 1.5 s, p99 12 s. ");
    assert_has(text, "prefers-color-scheme: dark");
    free(text);
}

/* Figures that are no more than 0, or beyond all bounds, stay within the picture; names do not lie over each other. */
static void extremes(void **state)
{
    const struct picture_point points[] = {{0.5, 0, 0, 0, false}, {2, 5, 5, 5, false}};
    const struct picture_point one[] = {{500, 1e6, 1e6, 1e6, true}};
    char *text = draw(points, 2);

    (void)state;
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_has(text, "L295.9"); /* 2 a second on an axis from 1 to 10 */
    assert_has(text, "y=\"313.7\">p50 5 ms</text>");
    assert_has(text, "y=\"296.7\">p95 5 ms</text>");
    assert_has(text, "y=\"279.7\">p99 5 ms</text>");
    free(text);
    text = draw(one, 1);
    assert_has(text, "bursts of 500</text>");
    assert_has(text, ">1000 s</text>");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(levels),
        cmocka_unit_test(bursts),
        cmocka_unit_test(words),
        cmocka_unit_test(extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
