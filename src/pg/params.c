#include <assert.h>
#include <endian.h>
#include <limits.h>
#include <string.h>

#include "pg/pg.h"

void pg_params_init(struct pg_params *params, struct arena *arena)
{
    params->arena = arena;
    params->count = 0;
}

static void add(struct pg_params *params, const void *value, size_t size)
{
    assert(params->count < PG_PARAMS_MAX && size <= INT_MAX);
    params->values[params->count] = value;
    params->lengths[params->count] = (int)size;
    params->formats[params->count] = 1;
    params->count++;
}

static void add_copy(struct pg_params *params, const void *value, size_t size)
{
    void *copy = arena_alloc(params->arena, size);

    memcpy(copy, value, size);
    add(params, copy, size);
}

void pg_params_add_null(struct pg_params *params)
{
    add(params, NULL, 0);
}

void pg_params_add_bool(struct pg_params *params, bool value)
{
    add_copy(params, &(uint8_t){value ? 1 : 0}, 1);
}

void pg_params_add_int4(struct pg_params *params, int32_t value)
{
    add_copy(params, &(uint32_t){htobe32((uint32_t)value)}, 4);
}

void pg_params_add_int8(struct pg_params *params, int64_t value)
{
    add_copy(params, &(uint64_t){htobe64((uint64_t)value)}, 8);
}

void pg_params_add_text(struct pg_params *params, const char *text)
{
    add(params, text, text == NULL ? 0 : strlen(text));
}

void pg_params_add_bytes(struct pg_params *params, const void *bytes, size_t size)
{
    add(params, bytes, size);
}

void pg_params_add_jsonb(struct pg_params *params, const char *json, size_t size)
{
    char *value = arena_alloc(params->arena, size + 1);

    value[0] = 1; /* jsonb's binary format: a version, then the text */
    if (size > 0)
        memcpy(value + 1, json, size);
    add(params, value, size + 1);
}

void pg_params_add_uuid(struct pg_params *params, const struct uuid *value)
{
    if (value == NULL)
        add(params, NULL, 0);
    else
        add_copy(params, value->bytes, sizeof(value->bytes));
}

/* --- Arrays -------------------------------------------------------------------------------------------------------- */

/* The binary form (PostgreSQL source, array_send()): number of dimensions, has-nulls flag, element type; then length and
 * lower bound of each dimension, of which an empty array has none; then the elements, each after its length. */
enum { ARRAY_HEADER_SIZE = 20, ELEMENT_LENGTH_SIZE = 4 };

struct array_writer {
    uint8_t *start;
    uint8_t *end;
};

static void write_int4(struct array_writer *writer, uint32_t value)
{
    uint32_t big_endian = htobe32(value);

    memcpy(writer->end, &big_endian, sizeof(big_endian));
    writer->end += sizeof(big_endian);
}

static struct array_writer array_begin(
    struct pg_params *params, enum pg_type element, size_t count, bool has_nulls, size_t values_size)
{
    size_t size = ARRAY_HEADER_SIZE + count * ELEMENT_LENGTH_SIZE + values_size;
    struct array_writer writer;

    assert(count <= INT32_MAX);
    writer.start = arena_alloc(params->arena, size);
    writer.end = writer.start;
    write_int4(&writer, count == 0 ? 0 : 1);
    write_int4(&writer, has_nulls ? 1 : 0);
    write_int4(&writer, (uint32_t)element);
    if (count > 0) {
        write_int4(&writer, (uint32_t)count);
        write_int4(&writer, 1);
    }
    return writer;
}

static void array_element(struct array_writer *writer, const void *value, size_t size)
{
    if (value == NULL) {
        write_int4(writer, UINT32_MAX);
        return;
    }
    write_int4(writer, (uint32_t)size);
    memcpy(writer->end, value, size);
    writer->end += size;
}

static void array_end(struct pg_params *params, const struct array_writer *writer)
{
    add(params, writer->start, (size_t)(writer->end - writer->start));
}

static bool any_null(const bool *nulls, size_t count)
{
    return nulls != NULL && memchr(nulls, true, count) != NULL;
}

void pg_params_add_uuid_array(struct pg_params *params, const struct uuid *values, const bool *nulls, size_t count)
{
    struct array_writer writer = array_begin(params, PG_UUID, count, any_null(nulls, count), count * sizeof(*values));

    for (size_t i = 0; i < count; i++)
        array_element(&writer, nulls != NULL && nulls[i] ? NULL : values[i].bytes, sizeof(values[i].bytes));
    array_end(params, &writer);
}

void pg_params_add_int2_array(struct pg_params *params, const int16_t *values, const bool *nulls, size_t count)
{
    struct array_writer writer = array_begin(params, PG_INT2, count, any_null(nulls, count), count * sizeof(*values));

    for (size_t i = 0; i < count; i++) {
        uint16_t big_endian = htobe16((uint16_t)values[i]);
        array_element(&writer, nulls != NULL && nulls[i] ? NULL : &big_endian, sizeof(big_endian));
    }
    array_end(params, &writer);
}

void pg_params_add_int4_array(struct pg_params *params, const int32_t *values, const bool *nulls, size_t count)
{
    struct array_writer writer = array_begin(params, PG_INT4, count, any_null(nulls, count), count * sizeof(*values));

    for (size_t i = 0; i < count; i++) {
        uint32_t big_endian = htobe32((uint32_t)values[i]);
        array_element(&writer, nulls != NULL && nulls[i] ? NULL : &big_endian, sizeof(big_endian));
    }
    array_end(params, &writer);
}

void pg_params_add_int8_array(struct pg_params *params, const int64_t *values, const bool *nulls, size_t count)
{
    struct array_writer writer = array_begin(params, PG_INT8, count, any_null(nulls, count), count * sizeof(*values));

    for (size_t i = 0; i < count; i++) {
        uint64_t big_endian = htobe64((uint64_t)values[i]);
        array_element(&writer, nulls != NULL && nulls[i] ? NULL : &big_endian, sizeof(big_endian));
    }
    array_end(params, &writer);
}

void pg_params_add_bool_array(struct pg_params *params, const bool *values, const bool *nulls, size_t count)
{
    struct array_writer writer = array_begin(params, PG_BOOL, count, any_null(nulls, count), count);

    for (size_t i = 0; i < count; i++)
        array_element(&writer, nulls != NULL && nulls[i] ? NULL : &(uint8_t){values[i] ? 1 : 0}, 1);
    array_end(params, &writer);
}

void pg_params_add_text_array(struct pg_params *params, const char *const *values, size_t count)
{
    size_t values_size = 0;
    bool has_nulls = false;

    for (size_t i = 0; i < count; i++) {
        has_nulls = has_nulls || values[i] == NULL;
        values_size += values[i] == NULL ? 0 : strlen(values[i]);
    }
    struct array_writer writer = array_begin(params, PG_TEXT, count, has_nulls, values_size);
    for (size_t i = 0; i < count; i++)
        array_element(&writer, values[i], values[i] == NULL ? 0 : strlen(values[i]));
    array_end(params, &writer);
}

void pg_params_add_tid_array(struct pg_params *params, const struct pg_tid *values, size_t count)
{
    enum { TID_SIZE = 6 };
    bool has_nulls = false;

    for (size_t i = 0; i < count; i++)
        has_nulls = has_nulls || values[i].offset == 0;
    struct array_writer writer = array_begin(params, PG_TID, count, has_nulls, count * TID_SIZE);
    for (size_t i = 0; i < count; i++) {
        uint32_t block = htobe32(values[i].block);
        uint16_t offset = htobe16(values[i].offset);
        uint8_t bytes[TID_SIZE];
        memcpy(bytes, &block, sizeof(block));
        memcpy(bytes + sizeof(block), &offset, sizeof(offset));
        array_element(&writer, values[i].offset == 0 ? NULL : bytes, TID_SIZE);
    }
    array_end(params, &writer);
}
