#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "help.h"
#include "pages.h"

/* Size of the first word of a command's name. */
static size_t first_size(const struct command *command)
{
    return strcspn(command->name, " ");
}

static bool has_second_word(const struct command *command)
{
    return command->name[first_size(command)] == ' ';
}

static const char *second_word(const struct command *command)
{
    return command->name + first_size(command) + 1;
}

/* Whether a command is the first of those with its first word. */
static bool is_first_of_family(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (first_size(commands[k]) == first_size(commands[i]) &&
            strncmp(commands[k]->name, commands[i]->name, first_size(commands[i])) == 0)
            return false;
    return true;
}

static bool is_same_family(size_t i, size_t k)
{
    return first_size(commands[i]) == first_size(commands[k]) &&
           strncmp(commands[i]->name, commands[k]->name, first_size(commands[k])) == 0;
}

/* The flag that is the i-th of a command, common ones after its own; NULL after the last. */
static const struct option_spec *flag_at(const struct command *command, size_t i)
{
    if (i < command->flag_count)
        return &command->flags[i];
    i -= command->flag_count;
    return i < common_flag_count ? &common_flags[i] : NULL;
}

/* --- bash --------------------------------------------------------------------------------------------------------- */

static void put_bash_words(FILE *output, const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        fprintf(output, "%s%s", i == 0 ? "" : " ", words[i]);
}

/* The second words of each family. */
static void put_bash_families(FILE *output)
{
    fputs("  case $command in\n", output);
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (!has_second_word(commands[i]) || !is_first_of_family(i))
            continue;
        fprintf(output, "  %.*s)\n    [ \"$COMP_CWORD\" -eq 2 ] && { _leadctl_words '", (int)first_size(commands[i]),
            commands[i]->name);
        for (size_t k = 0; commands[k] != NULL; k++)
            if (is_same_family(k, i))
                fprintf(output, "%s ", second_word(commands[k]));
        fputs("--help'; return; }\n    command+=\" ${COMP_WORDS[2]}\" ;;\n", output);
    }
    fputs("  esac\n", output);
}

/* Values of the flags that have any to offer. */
static void put_bash_values(FILE *output)
{
    const struct option_spec *spec = NULL;

    fputs("  case \"$command $previous\" in\n", output);
    for (size_t i = 0; commands[i] != NULL; i++)
        for (size_t k = 0; (spec = flag_at(commands[i], k)) != NULL; k++) {
            if (spec->kind == OPTION_SWITCH)
                continue;
            fprintf(output, "  '%s --%s') ", commands[i]->name, spec->name);
            if (spec->kind == OPTION_WORD) {
                fputs("_leadctl_words '", output);
                put_bash_words(output, spec->words);
                fputs("'; ", output);
            } else if (spec->kind == OPTION_FILE) {
                fputs("_leadctl_files; ", output);
            }
            fputs("return ;;\n", output);
        }
    fputs("  esac\n", output);
}

static void put_bash_flags(FILE *output)
{
    const struct option_spec *spec = NULL;

    fputs("  case $command in\n", output);
    for (size_t i = 0; commands[i] != NULL; i++) {
        const struct option_spec *operand = &commands[i]->operand;
        fprintf(output, "  '%s')\n    if [[ $current == -* ]]; then _leadctl_words '", commands[i]->name);
        for (size_t k = 0; (spec = flag_at(commands[i], k)) != NULL; k++)
            fprintf(output, "%s--%s", k == 0 ? "" : " ", spec->name);
        fputs("'", output);
        if (operand->name != NULL && operand->kind == OPTION_FILE)
            fputs("; else _leadctl_files", output);
        if (operand->name != NULL && operand->kind == OPTION_WORD) {
            fputs("; else _leadctl_words '", output);
            put_bash_words(output, operand->words);
            fputs("'", output);
        }
        fputs("; fi ;;\n", output);
    }
    fputs("  esac\n", output);
}

void pages_bash(FILE *output)
{
    fputs("# Completion of leadctl in bash, as leadctl completion bash prints it.\n\n"
          "_leadctl_words() {\n"
          "  mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$current\")\n"
          "}\n\n"
          "_leadctl_files() {\n"
          "  compopt -o filenames 2>/dev/null\n"
          "  mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
          "}\n\n"
          "_leadctl() {\n"
          "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
          "  COMPREPLY=()\n"
          "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    _leadctl_words '",
        output);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (is_first_of_family(i))
            fprintf(output, "%.*s ", (int)first_size(commands[i]), commands[i]->name);
    fputs("help --help --version'\n    return\n  fi\n", output);
    put_bash_families(output);
    put_bash_values(output);
    put_bash_flags(output);
    fputs("}\n\ncomplete -F _leadctl leadctl\n", output);
}

/* --- zsh ---------------------------------------------------------------------------------------------------------- */

/* Text inside single quotes, in which `special` characters get a backslash. */
static void put_zsh_text(FILE *output, const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", output);
        else if (strchr(special, *text) != NULL)
            fprintf(output, "\\%c", *text);
        else
            fputc(*text, output);
    }
}

static void put_zsh_entry(FILE *output, const char *name, size_t size, const char *summary)
{
    fprintf(output, " '%.*s:", (int)size, name);
    put_zsh_text(output, summary, ":\\");
    fputc('\'', output);
}

/* What may stand in place of a value: words, files, or nothing that is known. */
static void put_zsh_action(FILE *output, const struct option_spec *spec)
{
    fputc(':', output);
    put_zsh_text(output, spec->placeholder != NULL ? spec->placeholder : spec->name, ":\\");
    fputc(':', output);
    if (spec->kind == OPTION_FILE)
        fputs("_files", output);
    else if (spec->kind != OPTION_WORD)
        fputs("( )",
            output); /* without it zsh 5.9 lists a flag that is the only one, behind a word like this, and takes none */
    if (spec->kind == OPTION_WORD) {
        fputc('(', output);
        put_bash_words(output, spec->words);
        fputc(')', output);
    }
}

/* The flags and words of a command; `skipped` is how many words its name has besides "leadctl". */
static void put_zsh_command(FILE *output, const struct command *command, const char *pattern, int skipped)
{
    const struct option_spec *spec = NULL;

    fprintf(output, "  %s)\n    shift %d words; (( CURRENT -= %d ))\n    _arguments", pattern, skipped, skipped);
    for (size_t i = 0; (spec = flag_at(command, i)) != NULL; i++) {
        char *help = help_of_flag(spec);
        fprintf(output, " \\\n      '%s--%s[", spec->kind == OPTION_LIST ? "*" : "", spec->name);
        put_zsh_text(output, help, "[]\\");
        fputc(']', output);
        if (spec->kind != OPTION_SWITCH)
            put_zsh_action(output, spec);
        fputc('\'', output);
        free(help);
    }
    if (command->operand.name != NULL) {
        fprintf(output, " \\\n      '%s", command->operand.words_max > 1 ? "*" : "1");
        put_zsh_action(output, &command->operand);
        fputc('\'', output);
    }
    fputs(" ;;\n", output);
}

static void put_zsh_family(FILE *output, size_t first)
{
    fprintf(output, "_leadctl_%.*s() {\n  local -a entries\n  if (( CURRENT == 3 )); then\n    entries=(",
        (int)first_size(commands[first]), commands[first]->name);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (is_same_family(i, first))
            put_zsh_entry(output, second_word(commands[i]), strlen(second_word(commands[i])), commands[i]->summary);
    fputs(" )\n    _describe command entries\n    return\n  fi\n  case $words[3] in\n", output);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (is_same_family(i, first))
            put_zsh_command(output, commands[i], second_word(commands[i]), 2);
    fputs("  esac\n}\n\n", output);
}

/* What is said of a first word: of a family that it is one. */
static void put_zsh_first(FILE *output, size_t i)
{
    char summary[128];

    snprintf(summary, sizeof(summary), "%s", commands[i]->summary);
    if (has_second_word(commands[i])) {
        size_t used = 0;
        for (size_t k = 0; commands[k] != NULL && used < sizeof(summary) - 1; k++)
            if (is_same_family(k, i))
                used += (size_t)snprintf(
                    summary + used, sizeof(summary) - used, "%s%s", used == 0 ? "" : ", ", second_word(commands[k]));
    }
    put_zsh_entry(output, commands[i]->name, first_size(commands[i]), summary);
}

void pages_zsh(FILE *output)
{
    fputs("#compdef leadctl\n# Completion of leadctl in zsh, as leadctl completion zsh prints it.\n\n", output);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (has_second_word(commands[i]) && is_first_of_family(i))
            put_zsh_family(output, i);
    fputs("_leadctl() {\n  local -a entries\n  if (( CURRENT == 2 )); then\n    entries=(", output);
    for (size_t i = 0; commands[i] != NULL; i++)
        if (is_first_of_family(i))
            put_zsh_first(output, i);
    fputs(" )\n    _describe command entries\n    return\n  fi\n  case $words[2] in\n", output);
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (!is_first_of_family(i))
            continue;
        if (has_second_word(commands[i]))
            fprintf(output, "  %.*s) _leadctl_%.*s ;;\n", (int)first_size(commands[i]), commands[i]->name,
                (int)first_size(commands[i]), commands[i]->name);
        else
            put_zsh_command(output, commands[i], commands[i]->name, 1);
    }
    fputs("  esac\n}\n\n"
          "if [ \"$funcstack[1]\" = _leadctl ]; then _leadctl \"$@\"; else compdef _leadctl leadctl; fi\n",
        output);
}
