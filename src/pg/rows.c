#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pg/connection.h"

struct pg_result {
    PGresult *rows;
};

struct pg_result *pg_result_new(PGresult *result)
{
    struct pg_result *wrapped = memory_new(sizeof(*wrapped));

    wrapped->rows = result;
    return wrapped;
}

void pg_result_free(struct pg_result *result)
{
    if (result == NULL)
        return;
    PQclear(result->rows);
    free(result);
}

int pg_result_row_count(const struct pg_result *result)
{
    return PQntuples(result->rows);
}

bool pg_result_is_null(const struct pg_result *result, int row, int column)
{
    assert(row >= 0 && row < PQntuples(result->rows) && column >= 0 && column < PQnfields(result->rows));
    return PQgetisnull(result->rows, row, column) != 0;
}

/* The bytes of a value that must be there and have this type. */
static const char *value_of(const struct pg_result *result, int row, int column, enum pg_type type, size_t size)
{
    assert(!pg_result_is_null(result, row, column));
    assert(PQftype(result->rows, column) == (Oid)type);
    assert((size_t)PQgetlength(result->rows, row, column) == size);
    return PQgetvalue(result->rows, row, column);
}

bool pg_result_bool(const struct pg_result *result, int row, int column)
{
    return *value_of(result, row, column, PG_BOOL, 1) != 0;
}

int16_t pg_result_int2(const struct pg_result *result, int row, int column)
{
    uint16_t value;

    memcpy(&value, value_of(result, row, column, PG_INT2, sizeof(value)), sizeof(value));
    return (int16_t)be16toh(value);
}

int32_t pg_result_int4(const struct pg_result *result, int row, int column)
{
    uint32_t value;

    memcpy(&value, value_of(result, row, column, PG_INT4, sizeof(value)), sizeof(value));
    return (int32_t)be32toh(value);
}

static uint64_t eight_bytes(const struct pg_result *result, int row, int column, enum pg_type type)
{
    uint64_t value;

    memcpy(&value, value_of(result, row, column, type, sizeof(value)), sizeof(value));
    return be64toh(value);
}

int64_t pg_result_int8(const struct pg_result *result, int row, int column)
{
    return (int64_t)eight_bytes(result, row, column, PG_INT8);
}

double pg_result_float8(const struct pg_result *result, int row, int column)
{
    uint64_t bits = eight_bytes(result, row, column, PG_FLOAT8);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

struct uuid pg_result_uuid(const struct pg_result *result, int row, int column)
{
    struct uuid value = uuid_nil;

    if (!pg_result_is_null(result, row, column))
        memcpy(value.bytes, value_of(result, row, column, PG_UUID, sizeof(value.bytes)), sizeof(value.bytes));
    return value;
}

struct pg_tid pg_result_tid(const struct pg_result *result, int row, int column)
{
    uint32_t block;
    uint16_t offset;

    if (pg_result_is_null(result, row, column))
        return (struct pg_tid){0};
    const char *bytes = value_of(result, row, column, PG_TID, sizeof(block) + sizeof(offset));
    memcpy(&block, bytes, sizeof(block));
    memcpy(&offset, bytes + sizeof(block), sizeof(offset));
    return (struct pg_tid){.block = be32toh(block), .offset = be16toh(offset)};
}

/* Types whose binary form is their text, and those that a database defines itself: enums are among them. */
static bool is_text(Oid type)
{
    static const Oid types[] = {PG_TEXT, PG_JSONB, 1043 /* varchar */, 1042 /* bpchar */, 19 /* name */, 114 /* json */,
        705 /* unknown: a bare literal */};
    static const Oid FIRST_OWN = 16384; /* FirstNormalObjectId, PostgreSQL source, access/transam.h */

    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i] == type)
            return true;
    return type >= FIRST_OWN;
}

const char *pg_result_text(const struct pg_result *result, int row, int column)
{
    if (pg_result_is_null(result, row, column))
        return NULL;
    Oid type = PQftype(result->rows, column);
    assert(is_text(type));
    const char *text = PQgetvalue(result->rows, row, column);
    if (type != PG_JSONB)
        return text;
    assert(text[0] == 1); /* jsonb: a version, then the text (PostgreSQL source, jsonb_send()) */
    return text + 1;
}
