#include "places.h"

#include <string.h>

/* NULL when protoc did not say. */
static const Google__Protobuf__SourceCodeInfo__Location *location_of(
    const Google__Protobuf__FileDescriptorProto *file, const int32_t *path, size_t size)
{
    const Google__Protobuf__SourceCodeInfo *info = file->source_code_info;

    for (size_t i = 0; info != NULL && i < info->n_location; i++) {
        const Google__Protobuf__SourceCodeInfo__Location *location = info->location[i];

        if (location->n_path == size && memcmp(location->path, path, size * sizeof(*path)) == 0)
            return location;
    }
    return NULL;
}

const char *place_comment(const Google__Protobuf__FileDescriptorProto *file, const int32_t *path, size_t size)
{
    const Google__Protobuf__SourceCodeInfo__Location *location = location_of(file, path, size);

    if (location != NULL && location->leading_comments != NULL)
        return location->leading_comments;
    if (location != NULL && location->trailing_comments != NULL)
        return location->trailing_comments;
    return "";
}

/* The span's first number is the line, from 0. */
const char *place_of(
    struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, const int32_t *path, size_t size)
{
    const Google__Protobuf__SourceCodeInfo__Location *location = location_of(file, path, size);

    if (location == NULL || location->n_span == 0)
        return file->name;
    return arena_format(arena, "%s:%d", file->name, location->span[0] + 1);
}
