#include "screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/display.h"
#include "base/memory.h"

enum { COLUMNS_LEAST = 20, COLUMNS_MOST = 10000 };

static bool has_colors;

size_t screen_columns(void)
{
    const char *variable = getenv("COLUMNS");
    struct winsize size;
    char *end = NULL;

    if (isatty(STDOUT_FILENO) != 1)
        return 0;
    if (variable != NULL && variable[0] != '\0') {
        errno = 0;
        long columns = strtol(variable, &end, 10);
        if (errno == 0 && *end == '\0' && columns >= COLUMNS_LEAST && columns <= COLUMNS_MOST)
            return (size_t)columns;
    }
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= COLUMNS_LEAST)
        return size.ws_col;
    return 0;
}

void screen_set_colors(bool are_wanted)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    has_colors = are_wanted && isatty(STDOUT_FILENO) == 1 && (no_color == NULL || no_color[0] == '\0') &&
                 term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

/* --- Colours ------------------------------------------------------------------------------------------------------ */

/* The colour of a word that says how something is; NULL: none. */
static const char *color_of(const char *word)
{
    static const struct {
        const char *word;
        const char *color;
    } colors[] = {
        {"routed", "32"},
        {"ROUTED", "32"},
        {"healthy", "32"},
        {"met", "32"},
        {"active", "32"},
        {"on", "32"},
        {"cancelled", "32"},
        {"completed", "32"},
        {"failed", "31"},
        {"FAILED", "31"},
        {"failing", "31"},
        {"missed", "31"},
        {"critical", "31"},
        {"error", "31"},
        {"degraded", "33"},
        {"paused", "33"},
        {"due", "33"},
        {"warning", "33"},
        {"QUEUED_FOR_RETRY", "33"},
        {"inactive", "33"},
        {"off", "33"},
        {"expired", "2"},
        {"EXPIRED", "2"},
    };

    for (size_t i = 0; i < COUNT_OF(colors); i++)
        if (strcmp(colors[i].word, word) == 0)
            return colors[i].color;
    return NULL;
}

static void put_colored(FILE *output, const char *text, const char *color)
{
    if (has_colors && color != NULL)
        fprintf(output, "\033[%sm%s\033[0m", color, text);
    else
        fputs(text, output);
}

void screen_put_word(FILE *output, const char *text)
{
    put_colored(output, text, color_of(text));
}

void screen_put_heading(FILE *output, const char *text)
{
    put_colored(output, text, "1");
}
