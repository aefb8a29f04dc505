#include <stdlib.h>

#include "base/roff.h"
#include "command.h"
#include "help.h"
#include "pages.h"
#include "settings.h"
#include "version.h"

static void put_flag(FILE *output, const struct option_spec *spec)
{
    char *help = help_of_flag(spec);

    roff_put_flag(output, spec->name, spec->placeholder);
    roff_put(output, help);
    fputc('\n', output);
    free(help);
}

static void put_command(FILE *output, const struct command *command)
{
    char *synopsis = help_synopsis(command);

    fprintf(output, ".SS \"leadctl %s\"\n", command->name);
    if (synopsis[0] != '\0') {
        fprintf(output, ".B leadctl %s\n", command->name);
        roff_put(output, synopsis);
        fputs("\n.PP\n", output);
    }
    roff_put(output, command->text);
    fputc('\n', output);
    if (command->operand.name != NULL) {
        fprintf(output, ".TP\n.I %s\n", command->operand.name);
        roff_put(output, command->operand.help);
        fputc('\n', output);
    }
    for (size_t i = 0; i < command->flag_count; i++)
        put_flag(output, &command->flags[i]);
    fputs(".PP\nExample:\n.PP\n.RS 4\n.nf\n", output);
    roff_put(output, command->example);
    fputs("\n.fi\n.RE\n", output);
    free(synopsis);
}

static void put_environment(FILE *output)
{
    fputs(".SH ENVIRONMENT\n", output);
    for (size_t i = 0; i < setting_count; i++)
        fprintf(output, ".TP\n.B %s\nAs \\-\\-%s, where that is not given.\n", settings[i].variable, settings[i].flag);
    fputs(".TP\n.B LEADROUTER_PROFILE\nAs \\-\\-profile.\n"
          ".TP\n.B NO_COLOR\nWhen it is set and not empty, nothing is coloured.\n"
          ".TP\n.B COLUMNS\nWidth of the terminal, in place of what the terminal says.\n",
        output);
}

void pages_manual(FILE *output)
{
    fprintf(output,
        ".\\\" Made from the table of commands of leadctl.\n"
        ".TH LEADCTL 1 \"\" \"leadrouter %s\" \"User Commands\"\n"
        ".nh\n.ad l\n"
        ".SH NAME\nleadctl \\- route leads, and look after a leadrouterd\n"
        ".SH SYNOPSIS\n.B leadctl\n.I COMMAND\n[\\fIFLAGS\\fR]\n"
        ".SH DESCRIPTION\nAsks a leadrouterd over gRPC: routes and imports leads, shows what became of them and why, "
        "changes "
        "rules, workspaces and members, and looks after retries and background jobs.\n"
        ".PP\nData goes to standard output, everything else to standard error. On a terminal tables are cut to its "
        "width; "
        "elsewhere every value is whole. With \\-\\-json programs get the same as one JSON value.\n"
        ".SH COMMANDS\n",
        SERVER_VERSION);
    for (size_t i = 0; commands[i] != NULL; i++)
        put_command(output, commands[i]);
    fputs(".SH \"FLAGS OF EVERY COMMAND\"\n", output);
    for (size_t i = 0; i < common_flag_count; i++)
        put_flag(output, &common_flags[i]);
    put_environment(output);
    fputs(".SH FILES\n.TP\n.I $XDG_CONFIG_HOME/leadrouter/leadctl.yaml\n"
          "Profiles (without XDG_CONFIG_HOME in ~/.config): YAML, a mapping of names to settings, whose keys are "
          "called as the "
          "flags. The profile called \\fIdefault\\fR is taken when none is named. Names of files in it are relative to "
          "its "
          "folder. A flag goes before the environment, and that before the profile. Tokens are not kept in it, but in "
          "a file "
          "that token\\-file names, and which is shown to the target of the profile only; a file that others may "
          "change is "
          "refused.\n"
          ".PP\n.RS 4\n.nf\ndefault:\n  target: leads.example.com:7450\n  tls\\-ca: ca.pem\n  token\\-file: token\n"
          "  workspace: 0b9e6f1c\\-77c0\\-4a52\\-9a1d\\-5c3e3f0e93d1\n.fi\n.RE\n"
          ".SH \"EXIT STATUS\"\n.TP\n.B 0\nDone.\n.TP\n.B 1\nThe operation failed, or what was asked about is not well "
          "(health, "
          "rules lint, audit verify).\n.TP\n.B 2\nThe command line, a profile or a file that they name is wrong; no "
          "server was "
          "asked for it.\n",
        output);
}
