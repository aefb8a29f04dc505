#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/memory.h"
#include "base/nearest.h"

enum { PROFILES_MAX = 1000, FILE_SIZE_MAX = 1024 * 1024 };

static const char NAME_STANDARD[] = "default";

/* A file that is being read. */
struct reading {
    const char *path;
    yaml_document_t document;
    const char *names[PROFILES_MAX]; /* of the profiles in it */
    size_t name_count;
    struct error *error;
};

char *profile_path(void)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    if (config != NULL && config[0] == '/') /* the specification has others ignored */
        return memory_format("%s/leadrouter/leadctl.yaml", config);
    if (home != NULL && home[0] == '/')
        return memory_format("%s/.config/leadrouter/leadctl.yaml", home);
    return NULL;
}

static bool refuse(struct reading *reading, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct reading *reading, const yaml_node_t *node, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return error_set(
        reading->error, ERROR_INVALID, "%s: line %zu: %.300s", reading->path, node->start_mark.line + 1, text);
}

static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
}

/* "~/x" and "x" as full names. The caller's. */
static char *file_name(const char *path, const char *text)
{
    const char *home = getenv("HOME");
    const char *slash = strrchr(path, '/');

    if (strncmp(text, "~/", 2) == 0 && home != NULL)
        return memory_format("%s/%s", home, text + 2);
    if (text[0] == '/' || slash == NULL)
        return memory_copy_string(text);
    return memory_format("%.*s/%s", (int)(slash - path), path, text);
}

static bool unknown_key(struct reading *reading, const yaml_node_t *key)
{
    const char *names[SETTINGS_MAX];
    const char *nearest = NULL;

    if (strcmp(text_of(key), "token") == 0)
        return refuse(
            reading, key, "tokens are not kept here: put it into a file of its own, and name that as token-file");
    for (size_t i = 0; i < setting_count; i++)
        names[i] = settings[i].flag;
    nearest = nearest_word(text_of(key), names, setting_count);
    return refuse(reading, key, "\"%.40s\" is not a setting%s%s%s", text_of(key),
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}

/* Takes one setting; `profile` is NULL when it is only looked at. */
static bool take_setting(
    struct reading *reading, const yaml_node_t *key, const yaml_node_t *value, struct profile *profile)
{
    size_t i = 0;

    while (i < setting_count && strcmp(settings[i].flag, text_of(key)) != 0)
        i++;
    if (i == setting_count)
        return unknown_key(reading, key);
    if (text_of(value)[0] == '\0')
        return refuse(reading, value, "%s: must be a text", settings[i].flag);
    if (profile == NULL)
        return true;
    if (profile->values[i] != NULL)
        return refuse(reading, key, "%s: is there twice", settings[i].flag);
    profile->values[i] =
        settings[i].is_file ? file_name(reading->path, text_of(value)) : memory_copy_string(text_of(value));
    return true;
}

static bool take_profile(
    struct reading *reading, const yaml_node_t *key, const yaml_node_t *value, struct profile *profile)
{
    if (value->type != YAML_MAPPING_NODE)
        return refuse(
            reading, value, "a profile is a mapping of settings, as in \"%.40s: {target: HOST:PORT}\"", text_of(key));
    for (const yaml_node_pair_t *pair = value->data.mapping.pairs.start; pair < value->data.mapping.pairs.top; pair++)
        if (!take_setting(reading, yaml_document_get_node(&reading->document, pair->key),
                yaml_document_get_node(&reading->document, pair->value), profile))
            return false;
    return true;
}

static bool no_such_profile(struct reading *reading, const char *name)
{
    const char *nearest = nearest_word(name, reading->names, reading->name_count);

    return error_set(reading->error, ERROR_INVALID, "no profile \"%.60s\" in %s%s%s%s", name, reading->path,
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}

/* All profiles are looked at, so that a slip in one is not found when it is needed most. */
static bool take_document(struct reading *reading, const char *name, struct profile *ret_profile)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
    const char *wanted = name == NULL ? NAME_STANDARD : name;
    bool is_found = name == NULL;

    if (root != NULL && root->type != YAML_MAPPING_NODE)
        return refuse(reading, root, "must be a mapping of names to profiles");
    if (root == NULL)
        return is_found || no_such_profile(reading, wanted);
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
        bool is_wanted = strcmp(text_of(key), wanted) == 0;
        is_found = is_found || is_wanted;
        if (reading->name_count < PROFILES_MAX)
            reading->names[reading->name_count++] = text_of(key);
        if (!take_profile(
                reading, key, yaml_document_get_node(&reading->document, pair->value), is_wanted ? ret_profile : NULL))
            return false;
    }
    return is_found || no_such_profile(reading, wanted);
}

static bool parse(struct reading *reading, FILE *input, const char *name, struct profile *ret_profile)
{
    yaml_parser_t parser;
    bool ok = false;

    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, input);
    if (yaml_parser_load(&parser, &reading->document) == 0) {
        error_set(reading->error, ERROR_INVALID, "%s: line %zu: %s", reading->path, parser.problem_mark.line + 1,
            parser.problem == NULL ? "no YAML" : parser.problem);
    } else {
        ok = take_document(reading, name, ret_profile);
        yaml_document_delete(&reading->document);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* Whoever may change the file says where tokens are sent. */
static bool check_owner(int descriptor, const char *path, struct error *reterr_error)
{
    struct stat status;

    if (fstat(descriptor, &status) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not read %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "%s: must be a file of at most a megabyte", path);
    if ((status.st_mode & S_IWOTH) != 0 || (status.st_uid != geteuid() && status.st_uid != 0))
        return error_set(reterr_error, ERROR_INVALID,
            "%s: others may change it; make it yours alone (chown, chmod go-w), since it says where tokens are sent",
            path);
    return true;
}

bool profile_read(const char *path, const char *name, struct profile *ret_profile, struct error *reterr_error)
{
    struct reading *reading = NULL;
    FILE *input = NULL;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = false;

    *ret_profile = (struct profile){0};
    if (descriptor < 0 && errno == ENOENT && name == NULL)
        return true;
    if (descriptor < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not open %s: %s", path, strerror(errno));
    if (!check_owner(descriptor, path, reterr_error)) {
        close(descriptor);
        return false;
    }
    input = fdopen(descriptor, "rb");
    reading = memory_new(sizeof(*reading));
    reading->path = path;
    reading->error = reterr_error;
    ok = parse(reading, input, name, ret_profile);
    fclose(input);
    free(reading);
    if (!ok)
        profile_release(ret_profile);
    return ok;
}

void profile_release(struct profile *profile)
{
    for (size_t i = 0; i < SETTINGS_MAX; i++)
        free(profile->values[i]);
    *profile = (struct profile){0};
}
