/* Profiles: settings that people keep in a file, under names. */
#ifndef LEADCTL_PROFILE_H
#define LEADCTL_PROFILE_H

#include <stdbool.h>

#include "base/error.h"
#include "settings.h"

/* What a profile says, by the places of settings; NULL where it says nothing. */
struct profile {
    char *values[SETTINGS_MAX];
};

/* The file of profiles: $XDG_CONFIG_HOME/leadrouter/leadctl.yaml, or the same below ~/.config; NULL without a home. The caller's. */
char *profile_path(void);

/* Reads the profile `name` from a file; NULL means the one called "default", if there is one. Without a file every profile but a
 * named one is empty. Names of files in it are relative to its folder, or begin with "~/". Released with profile_release().
 * Errors name the file and the line: ERROR_INVALID for what is no profile, also another than the one that is asked for, for a
 * name that is not there, and for a file that others may change; ERROR_SYSTEM. */
bool profile_read(const char *path, const char *name, struct profile *ret_profile, struct error *reterr_error);

/* Frees what was read; zeroed is fine. */
void profile_release(struct profile *profile);

#endif
