/* What --help says, from the table of commands. */
#ifndef LEADCTL_HELP_H
#define LEADCTL_HELP_H

#include <stdio.h>

#include "command.h"

/* All commands, a line for each. */
void help_overview(FILE *output);

/* The commands whose first word is `family`. */
void help_family(FILE *output, const char *family);

/* Everything about one command. */
void help_command(FILE *output, const struct command *command);

/* A blank at which no line is broken, in what help_synopsis() gives. */
#define HELP_BLANK "\xc2\xa0"

/* A command's words and flags: "LEAD --workspace W [--force]", with HELP_BLANK inside a flag. The caller's. */
char *help_synopsis(const struct command *command);

/* What is said of a flag: its help, its words, its standard, the variable that gives it too. The caller's. */
char *help_of_flag(const struct option_spec *spec);

#endif
