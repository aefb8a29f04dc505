#include "grpc_c/wire.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum {
    COUNTED_FIELDS_MAX = 64,
    PATH_SIZE = 256,
    VARINT_SIZE_MAX = 10,
    /* What protobuf-c 1.4.1 takes from its allocator for each field that it meets, all slack included: the note about a
     * scanned member (40 bytes, in slabs that double) and the pointer or the note about an unknown field. */
    MEMORY_PER_FIELD = 128,
    MEMORY_PER_PACKED = 8,
};

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* One message being walked; `parent` and `place` say where it lies. */
struct frame {
    const struct frame *parent;
    const ProtobufCFieldDescriptor *place; /* the field of the parent that holds it; NULL at the top */
    uint32_t place_index;                  /* which element, for repeated fields */
    const ProtobufCMessageDescriptor *descriptor;
    const uint8_t *next;
    const uint8_t *end;
    unsigned depth_left;
    size_t *memory_left;               /* of the whole message */
    uint32_t seen[COUNTED_FIELDS_MAX]; /* elements met so far, by the field's position in the descriptor */
};

/* "leads[3]." for a frame, outermost first. */
static size_t write_path(const struct frame *frame, char *path, size_t size)
{
    size_t used = 0;

    if (frame == NULL || frame->place == NULL)
        return 0;
    used = write_path(frame->parent, path, size);
    if (used < size) {
        int wrote = frame->place->label == PROTOBUF_C_LABEL_REPEATED
                        ? snprintf(path + used, size - used, "%s[%u].", frame->place->name, frame->place_index)
                        : snprintf(path + used, size - used, "%s.", frame->place->name);
        used += wrote < 0 ? 0 : (size_t)wrote;
    }
    return used < size ? used : size - 1;
}

/* The failure of a field (or of the message itself, when `field` is NULL). Returns false. */
static bool fault(const struct frame *frame, const ProtobufCFieldDescriptor *field, uint32_t index, const char *what,
    struct error *reterr_error)
{
    char path[PATH_SIZE] = "";

    write_path(frame, path, sizeof(path));
    if (field == NULL) {
        size_t size = strlen(path);
        if (size > 0)
            path[size - 1] = '\0';
        return error_set(reterr_error, ERROR_INVALID, "%s: %s", size > 0 ? path : frame->descriptor->short_name, what);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return error_set(reterr_error, ERROR_INVALID, "%s%s[%u]: %s", path, field->name, index, what);
    return error_set(reterr_error, ERROR_INVALID, "%s%s: %s", path, field->name, what);
}

/* Counts memory that unpacking will take. */
static bool take_memory(const struct frame *frame, uint64_t size, struct error *reterr_error)
{
    if (size > *frame->memory_left)
        return error_set(
            reterr_error, ERROR_FULL, "%s: takes too much memory once unpacked", frame->descriptor->short_name);
    *frame->memory_left -= (size_t)size;
    return true;
}

static bool read_varint(struct frame *frame, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_SIZE_MAX && frame->next < frame->end; i++) {
        uint8_t byte = *frame->next++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool skip_bytes(struct frame *frame, uint64_t size)
{
    if (size > (uint64_t)(frame->end - frame->next))
        return false;
    frame->next += size;
    return true;
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

static bool walk(struct frame *frame, struct error *reterr_error);

static bool check_string(const struct frame *frame, const ProtobufCFieldDescriptor *field, uint32_t index,
    const uint8_t *bytes, size_t size, struct error *reterr_error)
{
    if (memchr(bytes, 0, size) != NULL)
        return fault(frame, field, index, "contains a NUL byte", reterr_error);
    if (!utf8_is_valid((const char *)bytes, size, NULL))
        return fault(frame, field, index, "is not valid UTF-8", reterr_error);
    return true;
}

static bool check_message(const struct frame *frame, const ProtobufCFieldDescriptor *field, uint32_t index,
    const uint8_t *bytes, size_t size, struct error *reterr_error)
{
    struct frame inner = {.parent = frame,
        .place = field,
        .place_index = index,
        .descriptor = field->descriptor,
        .next = bytes,
        .end = bytes + size,
        .depth_left = frame->depth_left - 1,
        .memory_left = frame->memory_left};

    if (frame->depth_left <= 1)
        return fault(frame, field, index, "is nested too deep", reterr_error);
    return walk(&inner, reterr_error);
}

/* Packed elements must fill their bytes exactly. */
static bool check_packed(const struct frame *frame, const ProtobufCFieldDescriptor *field, const uint8_t *bytes,
    size_t size, struct error *reterr_error)
{
    struct frame elements = {.next = bytes, .end = bytes + size};
    enum wire_type type = wire_type_of(field->type);
    uint64_t ignored = 0;
    uint32_t index = 0;

    if (!take_memory(frame, (uint64_t)size * MEMORY_PER_PACKED, reterr_error))
        return false;
    for (; elements.next < elements.end; index++) {
        bool ok = type == WIRE_VARINT ? read_varint(&elements, &ignored)
                                      : skip_bytes(&elements, type == WIRE_FIXED64 ? 8 : 4);
        if (!ok)
            return fault(frame, field, index, "ends in the middle", reterr_error);
    }
    return true;
}

/* A length-delimited value of a known field. */
static bool check_bytes(
    struct frame *frame, const ProtobufCFieldDescriptor *field, uint32_t index, struct error *reterr_error)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;

    if (!read_varint(frame, &size) || size > (uint64_t)(frame->end - frame->next))
        return fault(frame, field, index, "ends in the middle", reterr_error);
    bytes = frame->next;
    frame->next += size;
    if ((field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES) &&
        !take_memory(frame, size, reterr_error))
        return false;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return check_string(frame, field, index, bytes, (size_t)size, reterr_error);
    case PROTOBUF_C_TYPE_MESSAGE:
        return check_message(frame, field, index, bytes, (size_t)size, reterr_error);
    case PROTOBUF_C_TYPE_BYTES:
        return true;
    default:
        if (field->label != PROTOBUF_C_LABEL_REPEATED)
            return fault(frame, field, index, "has the wrong wire type", reterr_error);
        return check_packed(frame, field, bytes, (size_t)size, reterr_error);
    }
}

static uint32_t count_element(struct frame *frame, const ProtobufCFieldDescriptor *field)
{
    size_t position = (size_t)(field - frame->descriptor->fields);

    return position < COUNTED_FIELDS_MAX ? frame->seen[position]++ : 0;
}

static bool check_known(
    struct frame *frame, const ProtobufCFieldDescriptor *field, unsigned type, struct error *reterr_error)
{
    uint32_t index = count_element(frame, field);
    uint64_t ignored = 0;

    if (type == WIRE_BYTES)
        return check_bytes(frame, field, index, reterr_error);
    if (type != wire_type_of(field->type))
        return fault(frame, field, index, "has the wrong wire type", reterr_error);
    if (type == WIRE_VARINT ? read_varint(frame, &ignored) : skip_bytes(frame, type == WIRE_FIXED64 ? 8 : 4))
        return true;
    return fault(frame, field, index, "ends in the middle", reterr_error);
}

static bool skip_unknown(struct frame *frame, unsigned type, struct error *reterr_error)
{
    uint64_t value = 0;
    bool ok = false;

    switch (type) {
    case WIRE_VARINT:
        ok = read_varint(frame, &value);
        break;
    case WIRE_FIXED64:
        ok = skip_bytes(frame, 8);
        break;
    case WIRE_FIXED32:
        ok = skip_bytes(frame, 4);
        break;
    case WIRE_BYTES:
        ok = read_varint(frame, &value) && skip_bytes(frame, value);
        if (ok && !take_memory(frame, value, reterr_error))
            return false;
        break;
    default:
        return fault(frame, NULL, 0, "has a field of an unknown wire type", reterr_error);
    }
    return ok || fault(frame, NULL, 0, "ends in the middle of a field", reterr_error);
}

/* proto2: what must be there, is. protobuf-c checks the fields that are beyond our count. */
static bool check_required(const struct frame *frame, struct error *reterr_error)
{
    for (unsigned i = 0; i < frame->descriptor->n_fields && i < COUNTED_FIELDS_MAX; i++) {
        const ProtobufCFieldDescriptor *field = &frame->descriptor->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REQUIRED && frame->seen[i] == 0)
            return fault(frame, field, 0, "is missing", reterr_error);
    }
    return true;
}

static bool walk(struct frame *frame, struct error *reterr_error)
{
    if (!take_memory(frame, frame->descriptor->sizeof_message, reterr_error))
        return false;
    while (frame->next < frame->end) {
        uint64_t key = 0;
        if (!take_memory(frame, MEMORY_PER_FIELD, reterr_error))
            return false;
        if (!read_varint(frame, &key))
            return fault(frame, NULL, 0, "ends in the middle of a field", reterr_error);
        uint64_t number = key >> 3;
        unsigned type = (unsigned)(key & 7);
        if (number == 0 || number > 0x1fffffff)
            return fault(frame, NULL, 0, "has a field number that cannot be", reterr_error);
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(frame->descriptor, (unsigned)number);
        if (!(field == NULL ? skip_unknown(frame, type, reterr_error) : check_known(frame, field, type, reterr_error)))
            return false;
    }
    return check_required(frame, reterr_error);
}

bool wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size,
    const struct wire_limits *limits, struct error *reterr_error)
{
    static const uint8_t nothing[1] = {0};
    size_t memory_left = limits->memory_size_max;
    struct frame top = {.descriptor = descriptor,
        .next = size == 0 ? nothing : bytes,
        .depth_left = limits->depth_max,
        .memory_left = &memory_left};

    assert(limits->depth_max >= 1 && limits->depth_max <= WIRE_DEPTH_LIMIT);
    top.end = top.next + size;
    return walk(&top, reterr_error);
}

static void *arena_allocate(void *data, size_t size)
{
    return arena_alloc(data, size);
}

static void arena_keep(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

ProtobufCMessage *wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size,
    const struct wire_limits *limits, struct arena *arena, struct error *reterr_error)
{
    ProtobufCAllocator allocator = {.alloc = arena_allocate, .free = arena_keep, .allocator_data = arena};

    if (!wire_check(descriptor, bytes, size, limits, reterr_error))
        return NULL;
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, size, bytes);
    if (message == NULL)
        error_set(reterr_error, ERROR_INVALID, "%s: not a valid message", descriptor->short_name);
    return message;
}
