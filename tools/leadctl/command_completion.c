/* leadctl completion: what a shell needs to complete leadctl. */
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "pages.h"

static const char *const shells[] = {"bash", "zsh", NULL};

static int run(const struct arguments *arguments, struct session *session)
{
    (void)session; /* no server is asked */
    if (strcmp(arguments->operand, "bash") == 0)
        pages_bash(stdout);
    else
        pages_zsh(stdout);
    return EXIT_DONE;
}

const struct command command_completion = {
    .name = "completion",
    .summary = "have a shell complete commands and flags",
    .text = "Prints a script that has bash or zsh complete leadctl's commands, flags, words and files. Packages "
            "install it; "
            "otherwise put the line of the example into ~/.bashrc or ~/.zshrc (there after compinit).",
    .example = "source <(leadctl completion bash)",
    .operand = {.name = "SHELL", .help = "which shell", .kind = OPTION_WORD, .is_needed = true, .words = shells},
    .run = run,
    .is_local = true,
    .is_offline = true,
};
