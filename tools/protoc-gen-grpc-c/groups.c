#include "groups.h"

#include <string.h>

#include "places.h"

/* Where the search is: a message with its name and its path in the file. */
struct spot {
    const Google__Protobuf__DescriptorProto *message;
    const char *name;
    const int32_t *path;
    size_t path_size;
};

/* The path to a part of what `path` leads to. */
static const int32_t *path_to(struct arena *arena, const int32_t *path, size_t size, int32_t list, size_t index)
{
    int32_t *longer = arena_alloc_array(arena, size + 2, sizeof(*longer));

    if (size > 0)
        memcpy(longer, path, size * sizeof(*path));
    longer[size] = list;
    longer[size + 1] = (int32_t)index;
    return longer;
}

static const char *name_shown(const char *name)
{
    return name == NULL ? "?" : name;
}

/* As deep as messages nest, which protoc bounds. */
static bool check_message(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file,
    const struct spot *spot, struct error *reterr_error)
{
    const Google__Protobuf__DescriptorProto *message = spot->message;

    for (size_t i = 0; i < message->n_field; i++) {
        const Google__Protobuf__FieldDescriptorProto *field = message->field[i];

        if (field->has_type == 0 || field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP)
            continue;
        const int32_t *path = path_to(arena, spot->path, spot->path_size, PLACE_MESSAGE_FIELD, i);
        return error_set(reterr_error, ERROR_INVALID, "%s: field %s.%s is a group, which protobuf-c does not have",
            place_of(arena, file, path, spot->path_size + 2), spot->name, name_shown(field->name));
    }
    for (size_t i = 0; i < message->n_nested_type; i++) {
        const Google__Protobuf__DescriptorProto *nested = message->nested_type[i];
        const struct spot inner = {.message = nested,
            .name = arena_format(arena, "%s.%s", spot->name, name_shown(nested->name)),
            .path = path_to(arena, spot->path, spot->path_size, PLACE_MESSAGE_NESTED, i),
            .path_size = spot->path_size + 2};

        if (!check_message(arena, file, &inner, reterr_error))
            return false;
    }
    return true;
}

bool groups_check(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, struct error *reterr_error)
{
    for (size_t i = 0; i < file->n_message_type; i++) {
        const struct spot spot = {.message = file->message_type[i],
            .name = name_shown(file->message_type[i]->name),
            .path = path_to(arena, NULL, 0, PLACE_FILE_MESSAGE, i),
            .path_size = 2};

        if (!check_message(arena, file, &spot, reterr_error))
            return false;
    }
    return true;
}
