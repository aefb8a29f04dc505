#include "help.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/display.h"
#include "base/memory.h"
#include "screen.h"
#include "settings.h"
#include "version.h"

enum { FLAG_INDENT = 2, FLAG_WIDTH = 23, COLUMNS_DEFAULT = 80, COLUMNS_MAX = 100 /* longer lines are hard to read */ };

static size_t columns_of(FILE *output)
{
    size_t columns = output == stdout ? screen_columns() : 0;

    return columns == 0 ? COLUMNS_DEFAULT : columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
}

/* --- Several commands --------------------------------------------------------------------------------------------- */

static size_t name_width(const char *family)
{
    size_t width = 0;

    for (size_t i = 0; commands[i] != NULL; i++)
        if (family == NULL || strncmp(commands[i]->name, family, strlen(family)) == 0)
            width = strlen(commands[i]->name) > width ? strlen(commands[i]->name) : width;
    return width;
}

static void put_summary(FILE *output, const struct command *command, size_t width)
{
    fprintf(output, "  %-*s  ", (int)width, command->name);
    display_wrap(output, command->summary, width + 4, width + 4, columns_of(output));
    fputc('\n', output);
}

void help_overview(FILE *output)
{
    fprintf(output, "leadctl %s: works with a leadrouterd\n\nUsage: leadctl COMMAND [FLAGS]\n\n", SERVER_VERSION);
    for (size_t i = 0; commands[i] != NULL; i++)
        put_summary(output, commands[i], name_width(NULL));
    fprintf(output, "\nleadctl COMMAND --help says more, with an example.\n");
}

void help_family(FILE *output, const char *family)
{
    size_t size = strlen(family);

    fprintf(output, "Usage: leadctl %s COMMAND [FLAGS]\n\n", family);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (strncmp(commands[i]->name, family, size) == 0 && commands[i]->name[size] == ' ')
            put_summary(output, commands[i], name_width(family));
    fprintf(output, "\nleadctl %s COMMAND --help says more, with an example.\n", family);
}

/* --- One command -------------------------------------------------------------------------------------------------- */

/* "--workspace W", with brackets unless it is needed. */
static void append_flag(struct buffer *line, const struct option_spec *spec)
{
    buffer_append_format(line, " %s--%s%s%s%s%s", spec->is_needed ? "" : "[", spec->name,
        spec->placeholder == NULL ? "" : HELP_BLANK, spec->placeholder == NULL ? "" : spec->placeholder,
        spec->kind == OPTION_LIST ? HELP_BLANK "…" : "", spec->is_needed ? "" : "]");
}

char *help_synopsis(const struct command *command)
{
    struct buffer line = {0};
    char *text = NULL;

    buffer_init(&line, SIZE_MAX / 8);
    if (command->operand.name != NULL)
        buffer_append_format(&line, command->operand.is_needed ? " %s%s" : " [%s%s]", command->operand.name,
            command->operand.words_max > 1 ? "…" : "");
    for (int is_needed = 1; is_needed >= 0; is_needed--)
        for (size_t i = 0; i < command->flag_count; i++)
            if (command->flags[i].is_needed == (is_needed == 1))
                append_flag(&line, &command->flags[i]);
    text = memory_copy_string(buffer_text(&line) + (buffer_text(&line)[0] == ' ' ? 1 : 0));
    buffer_release(&line);
    return text;
}

/* What is said of a flag: its help, its words, its standard, the variable that gives it too. */
char *help_of_flag(const struct option_spec *spec)
{
    const struct setting *setting = setting_of(spec);
    struct buffer text = {0};
    char *copy = NULL;

    buffer_init(&text, SIZE_MAX / 8);
    buffer_append_string(&text, spec->help);
    for (size_t i = 0; spec->kind == OPTION_WORD && spec->words[i] != NULL; i++)
        buffer_append_format(&text, "%s%s%s",
            i == 0                       ? " ("
            : spec->words[i + 1] == NULL ? " or "
                                         : ", ",
            spec->words[i], spec->words[i + 1] == NULL ? ")" : "");
    if (spec->kind == OPTION_NUMBER && spec->standard > 0)
        buffer_append_format(&text, "; default %d", spec->standard);
    if (spec->kind == OPTION_LIST)
        buffer_append_string(&text, "; may be given often");
    if (setting != NULL)
        buffer_append_format(&text, "; %s", setting->variable);
    if (setting != NULL && setting->standard != NULL)
        buffer_append_format(&text, ", default %s", setting->standard);
    if (spec->is_needed)
        buffer_append_string(&text, " (needed)");
    copy = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    return copy;
}

static void put_flag(FILE *output, const struct option_spec *spec)
{
    char flag[64];
    char *help = help_of_flag(spec);
    size_t column = FLAG_INDENT + FLAG_WIDTH + 1;

    snprintf(flag, sizeof(flag), "--%s%s%s", spec->name, spec->placeholder == NULL ? "" : " ",
        spec->placeholder == NULL ? "" : spec->placeholder);
    if (display_width(flag) > FLAG_WIDTH)
        fprintf(output, "%*s%s\n%*s", FLAG_INDENT, "", flag, (int)column, "");
    else
        fprintf(output, "%*s%-*s ", FLAG_INDENT, "", FLAG_WIDTH, flag);
    display_wrap(output, help, column, column, columns_of(output));
    fputc('\n', output);
    free(help);
}

/* Usage with its line broken between flags. */
static void put_usage(FILE *output, const struct command *command)
{
    static const char start[] = "Usage: leadctl ";
    size_t column = strlen(start) + strlen(command->name) + 1;
    char *synopsis = help_synopsis(command);
    char *line = NULL;
    size_t size = 0;
    FILE *lines = open_memstream(&line, &size);

    fprintf(output, "%s%s%s", start, command->name, synopsis[0] == '\0' ? "" : " ");
    display_wrap(lines, synopsis, column, column, columns_of(output));
    fclose(lines);
    for (const char *text = line; *text != '\0'; text++) {
        bool is_blank = strncmp(text, HELP_BLANK, strlen(HELP_BLANK)) == 0;
        fputc(is_blank ? ' ' : *text, output);
        text += is_blank ? strlen(HELP_BLANK) - 1 : 0;
    }
    fputc('\n', output);
    free(line);
    free(synopsis);
}

void help_command(FILE *output, const struct command *command)
{
    put_usage(output, command);
    fputc('\n', output);
    display_wrap(output, command->text, 0, 0, columns_of(output));
    fprintf(output, "\n\nExample: ");
    for (const char *line = command->example; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        fprintf(output, "%s%.*s\n", line == command->example ? "" : "         ", (int)size, line);
        line += size + (line[size] == '\n' ? 1 : 0);
    }
    if (command->flag_count > 0)
        fprintf(output, "\nFlags:\n");
    for (size_t i = 0; i < command->flag_count; i++)
        put_flag(output, &command->flags[i]);
    fprintf(output, "\nFlags of every command:\n");
    for (size_t i = 0; i < common_flag_count; i++)
        if (!command->is_offline || common_flags[i].kind == OPTION_SWITCH)
            put_flag(output, &common_flags[i]);
}
