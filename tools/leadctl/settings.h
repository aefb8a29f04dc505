/* Settings that a flag may give, or else the environment, or else a profile. */
#ifndef LEADCTL_SETTINGS_H
#define LEADCTL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"

enum { SETTINGS_MAX = 16 };

struct setting {
    const char *flag;     /* also its key in a profile */
    const char *variable; /* of the environment */
    const char *standard; /* what counts without any of them; NULL: nothing */
    size_t offset;        /* in struct arguments */
    bool is_file;         /* the name of a file */
    bool is_secret;       /* in a profile it is for the target of that profile only */
};

extern const struct setting settings[];
extern const size_t setting_count;

/* The setting that a flag gives, or NULL. */
const struct setting *setting_of(const struct option_spec *spec);

/* Gives each setting that a command has and no flag gave its value. False when one is wrong; the reason was written. */
bool settings_complete(struct arguments *arguments);

/* Frees what it took. */
void settings_release(struct arguments *arguments);

#endif
