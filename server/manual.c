/* Prints leadrouterd(8); part of the build only. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/roff.h"
#include "command.h"
#include "version.h"

/* A paragraph of a usage text: as it stands where its lines are set in columns, else filled. */
static void put_paragraph(const char *text, size_t size)
{
    struct buffer buffer;

    buffer_init(&buffer, size + 1);
    buffer_append(&buffer, text, size);
    const char *paragraph = buffer_text(&buffer);
    bool is_set = strncmp(paragraph, "Usage: ", 7) == 0 || strstr(paragraph, "  ") != NULL;
    fputs(is_set ? ".PP\n.nf\n" : ".PP\n", stdout);
    roff_put(stdout, strncmp(paragraph, "Usage: ", 7) == 0 ? paragraph + 7 : paragraph);
    fputs(is_set ? "\n.fi\n" : "\n", stdout);
    buffer_release(&buffer);
}

static void put_command(const struct server_command *command)
{
    const char *text = command->usage;

    printf(".SS \"leadrouterd %s\"\n", command->name);
    for (const char *end = strstr(text, "\n\n"); end != NULL; end = strstr(text, "\n\n")) {
        put_paragraph(text, (size_t)(end - text));
        text = end + 2;
    }
    put_paragraph(text, strlen(text));
    config_put_manual(command->setting, stdout);
}

int main(void)
{
    printf(
        ".\\\" Made from the table of settings of leadrouterd.\n"
        ".TH LEADROUTERD 8 \"\" \"leadrouter %s\" \"System Administration\"\n"
        ".nh\n.ad l\n"
        ".SH NAME\nleadrouterd \\- decides which workspace gets a lead, once\n"
        ".SH SYNOPSIS\n.B leadrouterd\n.I COMMAND\n[\\fISETTINGS\\fR]\n.br\n.B leadrouterd \\-\\-version\n"
        ".SH DESCRIPTION\nRoutes sales leads over gRPC by the rules that workspaces keep in PostgreSQL: each lead "
        "once, and "
        "no person to two partners.\n"
        ".PP\nA setting is a flag, or else the environment variable that is named with it; an empty variable is none. "
        "Variables for switches are 1, true, yes, on, 0, false, no or off.\n"
        ".SH COMMANDS\n",
        SERVER_VERSION);
    for (const struct server_command *command = server_commands; command->name != NULL; command++)
        put_command(command);
    fputs(".SH \"EXIT STATUS\"\n.TP\n.B 0\nDone.\n.TP\n.B 1\nIt failed; the reason is on standard error.\n"
          ".TP\n.B 2\nThe command line, or a variable of the environment, is wrong.\n"
          ".SH \"SEE ALSO\"\n.BR leadctl (1)\n",
        stdout);
    return EXIT_DONE;
}
