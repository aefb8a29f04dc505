/* What is made from the table of commands for other programs: completion for shells, and the manual page. */
#ifndef LEADCTL_PAGES_H
#define LEADCTL_PAGES_H

#include <stdio.h>

/* A script that completes commands, flags, words and files: for bash, for zsh. */
void pages_bash(FILE *output);
void pages_zsh(FILE *output);

/* leadctl(1), for man. */
void pages_manual(FILE *output);

#endif
