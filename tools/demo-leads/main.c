/* leadrouter-demo-leads: writes invented leads, a CSV per partner (tools/demo-leads/README.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo_leads.h"

enum { EXIT_OPERATION = 1, EXIT_USAGE = 2, PATH_SIZE = 4096 };

static const char usage[] =
    "usage: leadrouter-demo-leads [--seed N] [--count N] [--partners N] DIR\n"
    "Writes DIR/partner-1.csv and so on: N invented leads in all (default 4000). About one in ten is somebody whom\n"
    "another of the partners (default 4) has too, written differently. The same seed (default 1) gives the same "
    "files.\n";

static bool parse_number(const char *text, uint64_t most, uint64_t *ret_number)
{
    char *end = NULL;
    unsigned long long number = 0;

    if (text == NULL || *text < '0' || *text > '9')
        return false;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > most)
        return false;
    *ret_number = number;
    return true;
}

/* Reads the command line; false: wrong usage. */
static bool parse(int argc, char **argv, struct demo_options *ret_options, const char **ret_directory)
{
    uint64_t seed = 1;
    uint64_t count = 4000;
    uint64_t partners = 4;
    const char *directory = NULL;
    bool ok = true;

    for (int i = 1; i < argc && ok; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--seed") == 0)
            ok = parse_number(value, UINT64_MAX, &seed), i++;
        else if (strcmp(argv[i], "--count") == 0)
            ok = parse_number(value, DEMO_LEADS_MAX, &count) && count > 0, i++;
        else if (strcmp(argv[i], "--partners") == 0)
            ok = parse_number(value, DEMO_PARTNERS_MAX, &partners) && partners > 0, i++;
        else if (argv[i][0] == '-' || directory != NULL)
            ok = false;
        else
            directory = argv[i];
    }
    *ret_options = (struct demo_options){.seed = seed, .leads = (uint32_t)count, .partners = (uint32_t)partners};
    *ret_directory = directory;
    return ok && directory != NULL;
}

int main(int argc, char **argv)
{
    FILE *outputs[DEMO_PARTNERS_MAX] = {NULL};
    struct demo_options options = {0};
    struct demo_counts counts = {0};
    struct error error = {0};
    const char *directory = NULL;
    char path[PATH_SIZE];
    bool ok = true;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (!parse(argc, argv, &options, &directory)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    for (uint32_t i = 0; i < options.partners && ok; i++) {
        snprintf(path, sizeof(path), "%s/partner-%u.csv", directory, i + 1);
        outputs[i] = fopen(path, "we");
        ok = outputs[i] != NULL || error_set(&error, ERROR_SYSTEM, "could not write %s: %s", path, strerror(errno));
    }
    ok = ok && demo_leads_write(&options, outputs, &counts, &error);
    for (uint32_t i = 0; i < options.partners; i++)
        if (outputs[i] != NULL && fclose(outputs[i]) != 0 && ok)
            ok = error_set(&error, ERROR_SYSTEM, "could not write to %s: %s", directory, strerror(errno));
    if (!ok) {
        fprintf(stderr, "leadrouter-demo-leads: %s\n", error.text);
        return EXIT_OPERATION;
    }
    printf("%u leads of %u partners, %u of them offered twice\n", counts.leads, options.partners, counts.copies);
    return EXIT_SUCCESS;
}
