#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "profile.h"

#define COMMON(field) offsetof(struct arguments, common.field)

enum { SETTING_TARGET }; /* first here and among the flags: what is secret depends on it */

/* The variables of the client's certificate are not those of leadrouterd: both programs may have one environment. */
const struct setting settings[] = {
    {"target", "LEADROUTER_TARGET", "127.0.0.1:7450", COMMON(target), false, false},
    {"tls-ca", "LEADROUTER_TLS_CA", NULL, COMMON(tls_ca), true, false},
    {"tls-certificate", "LEADROUTER_TLS_CLIENT_CERTIFICATE", NULL, COMMON(tls_certificate), true, false},
    {"tls-key", "LEADROUTER_TLS_CLIENT_KEY", NULL, COMMON(tls_key), true, false},
    {"tls-server-name", "LEADROUTER_TLS_SERVER_NAME", NULL, COMMON(tls_server_name), false, false},
    {"token-file", "LEADROUTER_TOKEN_FILE", NULL, COMMON(token_file), true, true},
    {"workspace", "LEADROUTER_WORKSPACE", NULL, offsetof(struct arguments, workspace), false, false},
};
const size_t setting_count = COUNT_OF(settings);

static const char PROFILE_VARIABLE[] = "LEADROUTER_PROFILE";

const struct setting *setting_of(const struct option_spec *spec)
{
    for (size_t i = 0; i < setting_count && spec->is_setting; i++)
        if (strcmp(settings[i].flag, spec->name) == 0)
            return &settings[i];
    return NULL;
}

/* A variable that is set and not empty, or NULL. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value == NULL || value[0] == '\0' ? NULL : value;
}

static bool read_profile(struct arguments *arguments, struct profile *ret_profile)
{
    const char *name = arguments->common.profile != NULL ? arguments->common.profile : variable(PROFILE_VARIABLE);
    struct error error = {0};
    char *path = profile_path();
    bool ok = true;

    if (path != NULL)
        ok = profile_read(path, name, ret_profile, &error);
    else if (name != NULL)
        ok = error_set(&error, ERROR_INVALID, "--profile: there is no home directory to look for profiles in");
    if (!ok)
        fprintf(stderr, "leadctl: %s\n", error.text);
    free(path);
    return ok;
}

/* Whether the server that is asked is the one that the profile knows. Whoever names another for once, or by a variable that was
 * left over, has not said that it may have the token. */
static bool is_target_of(const struct profile *profile, const char *target)
{
    const char *own = profile->values[SETTING_TARGET];

    return strcmp(target, own != NULL ? own : settings[SETTING_TARGET].standard) == 0;
}

/* What the profile says about a setting, or NULL. */
static const char *profile_value(const struct arguments *arguments, const struct setting *setting)
{
    const char *value = arguments->profile->values[setting - settings];

    if (value == NULL || !setting->is_secret || is_target_of(arguments->profile, arguments->common.target))
        return value;
    fprintf(stderr, "leadctl: the profile's %s is not for %s, and not used; --%s says which is\n", setting->flag,
        arguments->common.target, setting->flag);
    return NULL;
}

/* Gives one flag its value. */
static bool complete(struct arguments *arguments, const struct option_spec *spec)
{
    const struct setting *setting = setting_of(spec);
    const char **place = NULL;
    const char *value = NULL;

    if (setting == NULL)
        return true;
    place = (const char **)(void *)((char *)arguments + setting->offset);
    if (*place != NULL)
        return true;
    value = variable(setting->variable);
    if (value != NULL && !option_check(setting->variable, spec, value))
        return false;
    if (value == NULL && (value = profile_value(arguments, setting)) != NULL) {
        char lead[64];
        snprintf(lead, sizeof(lead), "%s of the profile", setting->flag);
        if (!option_check(lead, spec, value))
            return false;
    }
    *place = value != NULL ? value : setting->standard;
    return true;
}

bool settings_complete(struct arguments *arguments)
{
    const struct command *command = arguments->command;
    bool ok = true;

    if (command->is_offline)
        return true;
    arguments->profile = memory_new(sizeof(*arguments->profile));
    if (!read_profile(arguments, arguments->profile))
        return false;
    for (size_t i = 0; ok && i < command->flag_count; i++)
        ok = complete(arguments, &command->flags[i]);
    for (size_t i = 0; ok && i < common_flag_count; i++)
        ok = complete(arguments, &common_flags[i]);
    return ok;
}

void settings_release(struct arguments *arguments)
{
    if (arguments->profile != NULL)
        profile_release(arguments->profile);
    free(arguments->profile);
}
