#include "privacy.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "google/protobuf/descriptor.pb-c.h"

enum { DATA_CLASS = 57450, DEPTH_MAX = 8 };

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;

struct mark {
    const char *message; /* "leadrouter.v1.NewLead" */
    unsigned number;
    enum privacy_class class;
};

struct privacy {
    struct arena *arena;
    struct mark *marks; /* sorted */
    size_t count;
};

/* --- Reading the marks -------------------------------------------------------------------------------------------- */

/* protobuf-c knows no extensions: an option of ours is a field that it does not know. A value that is none of ours counts as personal. */
static enum privacy_class read_class(const field_proto *field)
{
    const ProtobufCMessage *options = field->options == NULL ? NULL : &field->options->base;

    for (unsigned i = 0; options != NULL && i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *unknown = &options->unknown_fields[i];
        if (unknown->tag == DATA_CLASS)
            return unknown->len == 1 && unknown->data[0] <= PRIVACY_PROFILE ? (enum privacy_class)unknown->data[0]
                                                                            : PRIVACY_PERSONAL;
    }
    return PRIVACY_UNKNOWN;
}

static void add_message(struct privacy *privacy, const char *scope, const message_proto *message)
{
    const char *name = arena_format(privacy->arena, "%s.%s", scope, message->name);

    privacy->marks =
        memory_resize(privacy->marks, privacy->count + message->n_field + 1, sizeof(*privacy->marks)); /* never 0 */
    for (size_t i = 0; i < message->n_field; i++)
        if (read_class(message->field[i]) != PRIVACY_UNKNOWN)
            privacy->marks[privacy->count++] = (struct mark){
                .message = name, .number = (unsigned)message->field[i]->number, .class = read_class(message->field[i])};
    for (size_t i = 0; i < message->n_nested_type; i++)
        add_message(privacy, name, message->nested_type[i]);
}

static int compare_marks(const void *left, const void *right)
{
    const struct mark *a = left, *b = right;
    int order = strcmp(a->message, b->message);

    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

/* True for a file that was read already: services share what they import. */
static bool is_known(const struct grpc_c_service *const *services, size_t service, size_t file)
{
    for (size_t s = 0; s <= service; s++)
        for (size_t f = 0; f < (s == service ? file : services[s]->file_count); f++)
            if (strcmp(services[s]->files[f].name, services[service]->files[file].name) == 0)
                return true;
    return false;
}

struct privacy *privacy_new(const struct grpc_c_service *const *services, size_t service_count)
{
    struct privacy *privacy = memory_new(sizeof(*privacy));

    privacy->arena = arena_new(0);
    for (size_t s = 0; s < service_count; s++) {
        for (size_t f = 0; f < services[s]->file_count; f++) {
            const struct grpc_c_file *file = &services[s]->files[f];
            if (is_known(services, s, f))
                continue;
            file_proto *proto = google__protobuf__file_descriptor_proto__unpack(NULL, file->size, file->descriptor);
            assert(proto != NULL);
            for (size_t m = 0; m < proto->n_message_type; m++)
                add_message(privacy, arena_copy_string(privacy->arena, proto->package), proto->message_type[m]);
            google__protobuf__file_descriptor_proto__free_unpacked(proto, NULL);
        }
    }
    if (privacy->count > 0)
        qsort(privacy->marks, privacy->count, sizeof(*privacy->marks), compare_marks);
    return privacy;
}

void privacy_free(struct privacy *privacy)
{
    if (privacy == NULL)
        return;
    arena_free(privacy->arena);
    free(privacy->marks);
    free(privacy);
}

enum privacy_class privacy_class(const struct privacy *privacy, const char *message, unsigned number)
{
    const struct mark key = {.message = message, .number = number};
    const struct mark *found =
        privacy->count == 0 ? NULL : bsearch(&key, privacy->marks, privacy->count, sizeof(key), compare_marks);

    return found == NULL ? PRIVACY_UNKNOWN : found->class;
}

/* --- The form for the log ----------------------------------------------------------------------------------------- */

static void append_message(
    const struct privacy *privacy, const ProtobufCMessage *message, int depth, struct buffer *out);

static void append_enum(const ProtobufCEnumDescriptor *descriptor, int32_t number, struct buffer *out)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

    if (value == NULL)
        buffer_append_format(out, "%d", (int)number);
    else
        buffer_append_format(out, "\"%s\"", value->name);
}

/* True for text that is a UUID and belongs where one is expected. */
static bool is_id(enum privacy_class class, const char *text)
{
    struct uuid id;

    return class == PRIVACY_ID && text != NULL && uuid_parse(text, &id);
}

/* True when a single field of these has something that may be seen. */
static bool is_shown(const ProtobufCFieldDescriptor *field, enum privacy_class class, const void *value)
{
    if (class == PRIVACY_PERSONAL || class == PRIVACY_PROFILE)
        return false;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return is_id(class, *(char *const *)value);
    case PROTOBUF_C_TYPE_BYTES:
        return false;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(ProtobufCMessage *const *)value != NULL;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const uint64_t *)value != 0;
    default:
        return *(const uint32_t *)value != 0;
    }
}

static void append_value(const struct privacy *privacy, const ProtobufCFieldDescriptor *field, const void *value,
    int depth, struct buffer *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        buffer_append_format(out, "\"%s\"", *(char *const *)value); /* a UUID */
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        append_message(privacy, *(ProtobufCMessage *const *)value, depth + 1, out);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        append_enum(field->descriptor, *(const int32_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buffer_append_string(out, "true");
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buffer_append_format(out, "%d", *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buffer_append_format(out, "%u", *(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buffer_append_format(out, "%lld", (long long)*(const int64_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buffer_append_format(out, "%llu", (unsigned long long)*(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        buffer_append_format(out, "%g", (double)*(const float *)value);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        buffer_append_format(out, "%g", *(const double *)value);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        break;
    }
}

/* Unknown fields of the message are not among its descriptor's and so are not seen. */
static void append_message(
    const struct privacy *privacy, const ProtobufCMessage *message, int depth, struct buffer *out)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *separator = "";

    buffer_append_string(out, "{");
    for (unsigned i = 0; i < descriptor->n_fields && depth < DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *base = (const char *)message;
        size_t count =
            field->label == PROTOBUF_C_LABEL_REPEATED ? *(const size_t *)(base + field->quantifier_offset) : 0;
        enum privacy_class class = privacy_class(privacy, descriptor->name, field->id);
        bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
        if (is_list ? count == 0 : !is_shown(field, class, base + field->offset))
            continue;
        buffer_append_format(out, "%s\"%s\":", separator, field->name);
        separator = ",";
        if (is_list)
            buffer_append_format(out, "%zu", count);
        else
            append_value(privacy, field, base + field->offset, depth, out);
    }
    buffer_append_string(out, "}");
}

void privacy_append_safe(const struct privacy *privacy, const ProtobufCMessage *message, struct buffer *buffer)
{
    append_message(privacy, message, 0, buffer);
}
