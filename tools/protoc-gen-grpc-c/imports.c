#include "imports.h"

#include <stdbool.h>
#include <string.h>

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;

static const file_proto *find(file_proto *const *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (all[i]->name != NULL && strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

static bool declares_options_only(const file_proto *file)
{
    static const char options[] = ".google.protobuf.";

    for (size_t i = 0; i < file->n_extension; i++)
        if (file->extension[i]->extendee == NULL ||
            strncmp(file->extension[i]->extendee, options, strlen(options)) != 0)
            return false;
    return file->n_message_type == 0 && file->n_service == 0 && file->n_extension > 0;
}

/* True when `type`, a full name with a dot in front, is an enum that `file` declares. */
static bool declares(const file_proto *file, const char *type)
{
    const char *package = file->package == NULL ? "" : file->package;
    size_t size = strlen(package);

    if (type == NULL || strncmp(type + 1, package, size) != 0)
        return false;
    type += size == 0 ? 1 : size + 2;
    for (size_t i = 0; i < file->n_enum_type; i++)
        if (file->enum_type[i]->name != NULL && strcmp(file->enum_type[i]->name, type) == 0)
            return true;
    return false;
}

static bool uses(const message_proto *message, const file_proto *file)
{
    for (size_t i = 0; i < message->n_field; i++)
        if (declares(file, message->field[i]->type_name))
            return true;
    for (size_t i = 0; i < message->n_nested_type; i++)
        if (uses(message->nested_type[i], file))
            return true;
    return false;
}

static bool is_for_options(const file_proto *file, const file_proto *imported)
{
    if (imported == NULL || !declares_options_only(imported))
        return false;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (uses(file->message_type[i], imported))
            return false;
    return true;
}

size_t imports_sort(file_proto *file, file_proto *const *all, size_t all_count)
{
    size_t count = 0;

    if (file->n_public_dependency > 0 || file->n_weak_dependency > 0) /* which are numbers of imports */
        return file->n_dependency;
    for (size_t i = 0; i < file->n_dependency; i++) {
        char *name = file->dependency[i];
        if (is_for_options(file, find(all, all_count, name)))
            continue;
        memmove(&file->dependency[count + 1], &file->dependency[count], (i - count) * sizeof(*file->dependency));
        file->dependency[count++] = name;
    }
    return count;
}
