#include "import_batch.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "lead_input.h"

enum {
    ARENA_SIZE = 256 * 1024,
    REASON_SIZE_MAX = 200,
    FIELD_SIZE_MAX = 64,
    RECOVERY_BATCHES = 16, /* at least as many as can be under way at once: see service_import.c */
};

/* What import_rows() is given, column by column. */
struct import_input {
    struct arena *arena;
    int64_t *numbers;
    const char **fields;  /* of rows that are rejected */
    const char **reasons; /* NULL: the row is taken */
    struct uuid *keys;
    const char **texts[LEAD_INPUT_TEXT_COUNT];
    const char **attributes;
    const char **hashes; /* of the identities; "" for a blank one */
};

static struct import_input *input_new(size_t count)
{
    struct import_input *input = memory_new(sizeof(*input));

    input->arena = arena_new(ARENA_SIZE);
    input->numbers = arena_alloc_array(input->arena, count, sizeof(*input->numbers));
    input->fields = arena_alloc_array(input->arena, count, sizeof(*input->fields));
    input->reasons = arena_alloc_array(input->arena, count, sizeof(*input->reasons));
    input->keys = arena_alloc_array(input->arena, count, sizeof(*input->keys));
    input->attributes = arena_alloc_array(input->arena, count, sizeof(*input->attributes));
    input->hashes = arena_alloc_array(input->arena, count, sizeof(*input->hashes));
    for (size_t i = 0; i < LEAD_INPUT_TEXT_COUNT; i++)
        input->texts[i] = arena_alloc_array(input->arena, count, sizeof(*input->texts[i]));
    return input;
}

static void input_free(struct import_input *input)
{
    if (input == NULL)
        return;
    arena_free(input->arena);
    free(input);
}

/* --- Reading a message -------------------------------------------------------------------------------------------- */

static bool check_numbers(const Leadrouter__V1__ImportRows *message, int64_t after_row, struct error *reterr_error)
{
    if (message->n_rows == 0 || message->n_rows > IMPORT_BATCH_ROWS_MAX)
        return error_set(reterr_error, ERROR_INVALID, "rows.rows: %zu given, must be from 1 to %d", message->n_rows,
            IMPORT_BATCH_ROWS_MAX);
    if (message->end_offset < 0)
        return error_set(reterr_error, ERROR_INVALID, "rows.end_offset: must not be negative");
    for (size_t i = 0; i < message->n_rows; i++) {
        if (message->rows[i]->number <= after_row)
            return error_set(reterr_error, ERROR_INVALID,
                "rows.rows[%zu].number: %lld does not come after %lld, the number of the row before", i,
                (long long)message->rows[i]->number, (long long)after_row);
        after_row = message->rows[i]->number;
    }
    return true;
}

/* Of a text of the client's, at most so many bytes, cut on a code point; control characters become blanks: it is shown to people. */
static const char *cut_copy(struct arena *arena, const char *text, size_t size_max)
{
    size_t size = strlen(text);
    char *copy = arena_copy(arena, text, size > size_max ? utf8_cut(text, size_max) : size);

    for (unsigned char *at = (unsigned char *)copy; *at != '\0'; at++) {
        bool is_c1 = at[0] == 0xC2 && at[1] < 0xA0; /* two bytes */
        if (*at < ' ' || *at == 0x7F || is_c1)
            at[0] = ' ';
        if (is_c1)
            at[1] = ' ';
    }
    return copy;
}

/* Marks a row as rejected. The texts are copied. */
static void reject(struct import_batch *batch, size_t index, const char *field, const char *reason)
{
    struct import_row *row = &batch->rows[index];

    row->field = cut_copy(batch->arena, field, FIELD_SIZE_MAX);
    row->reason = cut_copy(batch->arena, reason, REASON_SIZE_MAX);
    batch->input->fields[index] = row->field;
    batch->input->reasons[index] = row->reason;
}

/* What a row without an external id is known by: the same content again is the same lead. The first bytes of a SHA-256 over its fields,
 * each with its NUL. */
static struct uuid key_of(const Leadrouter__V1__NewLead *lead)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    struct uuid key;

    for (size_t i = 0; ok && i < LEAD_INPUT_TEXT_COUNT; i++) {
        const char *text = lead_input_text(lead, i);
        ok = EVP_DigestUpdate(context, text, strlen(text) + 1) == 1;
    }
    ok = ok && EVP_DigestUpdate(context, lead->attributes_json, strlen(lead->attributes_json)) == 1 &&
         EVP_DigestFinal_ex(context, hash, NULL) == 1;
    assert(ok);
    (void)ok;
    EVP_MD_CTX_free(context);
    memcpy(key.bytes, hash, sizeof(key.bytes));
    return key;
}

/* The same as the table's trigger would make of it, at a fraction of the cost. */
static const char *hash_of(struct arena *arena, const Leadrouter__V1__NewLead *lead)
{
    const struct dedupe_identity identity = {.email = lead->email,
        .phone = lead->phone,
        .company_name = lead->company_name,
        .first_name = lead->first_name,
        .last_name = lead->last_name};
    char hash[DEDUPE_HASH_SIZE];

    return dedupe_hash(&identity, hash) ? arena_copy_string(arena, hash) : "";
}

/* Copies what goes into the database. */
static void copy_lead(struct import_input *input, size_t index, const Leadrouter__V1__NewLead *lead)
{
    for (size_t i = 0; i < LEAD_INPUT_TEXT_COUNT; i++)
        input->texts[i][index] = arena_copy_string(input->arena, lead_input_text(lead, i));
    input->attributes[index] =
        arena_copy_string(input->arena, lead->attributes_json[0] == '\0' ? "{}" : lead->attributes_json);
    input->keys[index] = key_of(lead);
    input->hashes[index] = hash_of(input->arena, lead);
}

static void read_row(struct import_batch *batch, size_t index, const Leadrouter__V1__ImportRow *message)
{
    static const Leadrouter__V1__NewLead no_lead = LEADROUTER__V1__NEW_LEAD__INIT;
    const char *field = "";
    struct error error = {0};

    batch->rows[index].batch = batch;
    batch->rows[index].number = message->number;
    batch->input->numbers[index] = message->number;
    if (message->rejection != NULL)
        reject(batch, index, message->rejection->field,
            message->rejection->reason[0] == '\0' ? "rejected" : message->rejection->reason);
    else if (message->lead == NULL)
        reject(batch, index, "", "no lead");
    else if (!lead_input_check(message->lead, &field, &error))
        reject(batch, index, field, error.text);
    copy_lead(batch->input, index, batch->rows[index].reason == NULL ? message->lead : &no_lead);
}

static struct import_batch *batch_new(size_t count)
{
    struct import_batch *batch = memory_new(sizeof(*batch));

    batch->arena = arena_new(0);
    batch->count = count;
    batch->rows = memory_new_array(count, sizeof(*batch->rows));
    return batch;
}

bool import_batch_new(const Leadrouter__V1__ImportRows *message, int64_t after_row, struct import_batch **ret_batch,
    struct error *reterr_error)
{
    struct import_batch *batch = NULL;

    if (!check_numbers(message, after_row, reterr_error))
        return false;
    batch = batch_new(message->n_rows);
    batch->end_offset = message->end_offset;
    batch->input = input_new(batch->count);
    for (size_t i = 0; i < batch->count; i++)
        read_row(batch, i, message->rows[i]);
    *ret_batch = batch;
    return true;
}

void import_batch_free(struct import_batch *batch)
{
    if (batch == NULL)
        return;
    input_free(batch->input);
    arena_free(batch->arena);
    free(batch->rows);
    free(batch);
}

/* --- Into the database -------------------------------------------------------------------------------------------- */

static void add_rows(struct pg_params *params, const struct import_input *input, size_t from, size_t count)
{
    pg_params_add_int8_array(params, input->numbers + from, NULL, count);
    pg_params_add_text_array(params, input->fields + from, count);
    pg_params_add_text_array(params, input->reasons + from, count);
    pg_params_add_uuid_array(params, input->keys + from, NULL, count);
    for (size_t i = 0; i < LEAD_INPUT_TEXT_COUNT; i++)
        pg_params_add_text_array(params, input->texts[i] + from, count);
    pg_params_add_text_array(params, input->attributes + from, count);
    pg_params_add_text_array(params, input->hashes + from, count);
}

static Leadrouter__V1__ImportResult result_of(const char *name)
{
    static const char *const names[] = {"", "created", "updated", "existing", "duplicate", "rejected"};

    for (size_t i = 1; i < COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (Leadrouter__V1__ImportResult)i;
    assert(false);
    return LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_UNSPECIFIED;
}

static void read_results(struct import_batch *batch, const struct pg_result *result, size_t from)
{
    for (int i = 0; i < pg_result_row_count(result); i++) {
        struct import_row *row = &batch->rows[from + (size_t)pg_result_int4(result, i, 0) - 1];
        row->result = result_of(pg_result_text(result, i, 1));
        if (!pg_result_is_null(result, i, 2))
            row->lead_id = pg_result_uuid(result, i, 2);
        row->needs_routing = !pg_result_is_null(result, i, 3) &&
                             row->result != LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_DUPLICATE_ROW;
        if (row->needs_routing)
            snprintf(row->hash, sizeof(row->hash), "%s", pg_result_text(result, i, 3));
    }
}

static bool take_in_some(const struct service_call *call, struct import_batch *batch, struct import_place *place,
    size_t from, size_t count, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "import_rows",
        .sql =
            "select ord, result, lead_id, dedupe_hash from leadrouter.import_rows($1, $2, $3, $4, $5, $6, $7, $8, $9,"
            " $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
        .param_count = 24,
        .param_types = {PG_UUID, PG_UUID, PG_INT8, PG_INT8, PG_INT8_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_UUID_ARRAY,
            PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY,
            PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY,
            PG_TEXT_ARRAY, PG_TEXT_ARRAY},
    };
    struct arena *arena = arena_new(ARENA_SIZE);
    struct pg_params params;
    struct pg_result *result = NULL;
    const int64_t end_offset =
        from + count == batch->count ? batch->end_offset : 0; /* an offset is behind all of them */
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &place->import_id);
    pg_params_add_uuid(&params, &place->owner);
    pg_params_add_int8(&params, place->last_row);
    pg_params_add_int8(&params, end_offset);
    add_rows(&params, batch->input, from, count);
    ok = service_query(call, &statement, &params, deadline_ns, &result, reterr_error);
    if (ok) {
        read_results(batch, result, from);
        place->last_row = batch->input->numbers[from + count - 1];
    }
    pg_result_free(result);
    arena_free(arena);
    return ok;
}

/* What the database says of data: a host application's own types and constraints on `leads` count too. */
static bool is_about_data(const struct error *error)
{
    return strncmp(error->sqlstate, "22", 2) == 0 || strncmp(error->sqlstate, "23", 2) == 0;
}

void import_batch_note_fenced(const struct service_call *call, struct error *error)
{
    metrics_add(call->service->metrics, METRIC_FENCED, METRICS_FENCED_IMPORT, 0, 1);
    error->code = ERROR_BUSY;
}

/* By halves, until a row that the database refuses stands alone. */
static bool take_in_range(const struct service_call *call, struct import_batch *batch, struct import_place *place,
    size_t from, size_t count, int64_t deadline_ns, struct error *reterr_error)
{
    struct error error = {0};

    if (take_in_some(call, batch, place, from, count, deadline_ns, &error))
        return true;
    if (is_about_data(&error) && count > 1)
        return take_in_range(call, batch, place, from, count / 2, deadline_ns, reterr_error) &&
               take_in_range(call, batch, place, from + count / 2, count - count / 2, deadline_ns, reterr_error);
    if (is_about_data(&error) && batch->rows[from].reason == NULL) {
        char reason[REASON_SIZE_MAX];
        snprintf(reason, sizeof(reason), "a value does not fit the database's own types or constraints (SQLSTATE %s)",
            error.sqlstate);
        reject(batch, from, "", reason);
        return take_in_some(call, batch, place, from, 1, deadline_ns, reterr_error);
    }
    if (strcmp(error.sqlstate, "LR412") == 0)
        import_batch_note_fenced(call, &error);
    else
        service_find_limit(&error);
    *reterr_error = error;
    return false;
}

bool import_batch_take_in(const struct service_call *call, struct import_batch *batch, struct import_place *place,
    int64_t deadline_ns, struct error *reterr_error)
{
    if (!take_in_range(call, batch, place, 0, batch->count, deadline_ns, reterr_error))
        return false;
    for (size_t i = 0; i < batch->count; i++)
        batch->left += batch->rows[i].needs_routing ? 1 : 0;
    input_free(batch->input);
    batch->input = NULL;
    return true;
}

bool import_batch_recover(const struct service_call *call, const struct import_place *place, int64_t deadline_ns,
    struct import_batch **ret_batch, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "import_unrouted",
        .sql = "select lead_id, dedupe_hash from leadrouter.import_unrouted($1, $2)",
        .param_count = 2,
        .param_types = {PG_UUID, PG_INT4},
    };
    struct arena *arena = arena_new(0);
    struct pg_params params;
    struct pg_result *result = NULL;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &place->import_id);
    pg_params_add_int4(&params, RECOVERY_BATCHES);
    ok = service_query(call, &statement, &params, deadline_ns, &result, reterr_error);
    if (ok && pg_result_row_count(result) > 0) {
        struct import_batch *batch = batch_new((size_t)pg_result_row_count(result));
        batch->is_recovery = true;
        batch->is_in = true;
        batch->left = batch->count;
        for (size_t i = 0; i < batch->count; i++) {
            struct import_row *row = &batch->rows[i];
            row->batch = batch;
            row->lead_id = pg_result_uuid(result, (int)i, 0);
            row->needs_routing = true;
            snprintf(row->hash, sizeof(row->hash), "%s", pg_result_text(result, (int)i, 1));
        }
        *ret_batch = batch;
    } else if (ok) {
        *ret_batch = NULL;
    }
    pg_result_free(result);
    arena_free(arena);
    return ok;
}
