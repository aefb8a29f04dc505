#include "grpc_c/services/symbols.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;

struct symbol {
    const char *name; /* full, no leading dot */
    int file;
    bool is_message;
};

struct extension {
    const char *message; /* full, no leading dot */
    int32_t number;
    int file;
};

struct symbols {
    struct arena *arena;
    const struct grpc_c_file **files;
    file_proto **protos;
    size_t file_count;
    struct symbol *symbols; /* sorted by name when all are there */
    size_t symbol_count;
    struct extension *extensions;
    size_t extension_count;
};

/* --- Building ----------------------------------------------------------------------------------------------------- */

static const char *join(struct symbols *symbols, const char *scope, const char *name)
{
    return *scope == '\0' ? name : arena_format(symbols->arena, "%s.%s", scope, name);
}

static void add_symbol(struct symbols *symbols, const char *name, int file, bool is_message)
{
    symbols->symbols = memory_resize(symbols->symbols, symbols->symbol_count + 1, sizeof(*symbols->symbols));
    symbols->symbols[symbols->symbol_count++] = (struct symbol){.name = name, .file = file, .is_message = is_message};
}

/* An enum's values stand beside it, not inside: as in C++. */
static void add_enum(struct symbols *symbols, const char *scope, const enum_proto *declared, int file)
{
    add_symbol(symbols, join(symbols, scope, declared->name), file, false);
    for (size_t i = 0; i < declared->n_value; i++)
        add_symbol(symbols, join(symbols, scope, declared->value[i]->name), file, false);
}

static void add_extensions(
    struct symbols *symbols, const char *scope, field_proto *const *fields, size_t count, int file)
{
    for (size_t i = 0; i < count; i++) {
        const char *extendee = fields[i]->extendee;
        add_symbol(symbols, join(symbols, scope, fields[i]->name), file, false);
        symbols->extensions =
            memory_resize(symbols->extensions, symbols->extension_count + 1, sizeof(*symbols->extensions));
        symbols->extensions[symbols->extension_count++] = (struct extension){
            .message = extendee[0] == '.' ? extendee + 1 : extendee, .number = fields[i]->number, .file = file};
    }
}

/* A message and what is declared in it. protoc has bounded how deep messages nest: it parsed them recursively too. */
static void add_message(struct symbols *symbols, const char *scope, const message_proto *message, int file)
{
    const char *name = join(symbols, scope, message->name);

    add_symbol(symbols, name, file, true);
    for (size_t i = 0; i < message->n_field; i++)
        add_symbol(symbols, join(symbols, name, message->field[i]->name), file, false);
    for (size_t i = 0; i < message->n_oneof_decl; i++)
        add_symbol(symbols, join(symbols, name, message->oneof_decl[i]->name), file, false);
    for (size_t i = 0; i < message->n_nested_type; i++)
        add_message(symbols, name, message->nested_type[i], file);
    for (size_t i = 0; i < message->n_enum_type; i++)
        add_enum(symbols, name, message->enum_type[i], file);
    add_extensions(symbols, name, message->extension, message->n_extension, file);
}

static void add_file(struct symbols *symbols, const file_proto *proto, int file)
{
    const char *package = proto->package == NULL ? "" : proto->package;

    for (size_t i = 0; i < proto->n_message_type; i++)
        add_message(symbols, package, proto->message_type[i], file);
    for (size_t i = 0; i < proto->n_enum_type; i++)
        add_enum(symbols, package, proto->enum_type[i], file);
    add_extensions(symbols, package, proto->extension, proto->n_extension, file);
    for (size_t i = 0; i < proto->n_service; i++) {
        const char *service = join(symbols, package, proto->service[i]->name);
        add_symbol(symbols, service, file, false);
        for (size_t m = 0; m < proto->service[i]->n_method; m++)
            add_symbol(symbols, join(symbols, service, proto->service[i]->method[m]->name), file, false);
    }
}

static int compare_symbols(const void *left, const void *right)
{
    return strcmp(((const struct symbol *)left)->name, ((const struct symbol *)right)->name);
}

struct symbols *symbols_new(const struct grpc_c_service *const *services, size_t service_count)
{
    struct symbols *symbols = memory_new(sizeof(*symbols));

    symbols->arena = arena_new(0);
    for (size_t s = 0; s < service_count; s++) {
        for (size_t f = 0; f < services[s]->file_count; f++) {
            const struct grpc_c_file *file = &services[s]->files[f];
            if (symbols_file(symbols, file->name) >= 0)
                continue;
            file_proto *proto = google__protobuf__file_descriptor_proto__unpack(NULL, file->size, file->descriptor);
            assert(proto != NULL);
            symbols->files = memory_resize(symbols->files, symbols->file_count + 1, sizeof(*symbols->files));
            symbols->protos = memory_resize(symbols->protos, symbols->file_count + 1, sizeof(*symbols->protos));
            symbols->files[symbols->file_count] = file;
            symbols->protos[symbols->file_count] = proto;
            add_file(symbols, proto, (int)symbols->file_count);
            symbols->file_count++;
        }
    }
    if (symbols->symbol_count > 0)
        qsort(symbols->symbols, symbols->symbol_count, sizeof(*symbols->symbols), compare_symbols);
    return symbols;
}

void symbols_free(struct symbols *symbols)
{
    if (symbols == NULL)
        return;
    for (size_t i = 0; i < symbols->file_count; i++)
        google__protobuf__file_descriptor_proto__free_unpacked(symbols->protos[i], NULL);
    free(symbols->files);
    free(symbols->protos);
    free(symbols->symbols);
    free(symbols->extensions);
    arena_free(symbols->arena);
    free(symbols);
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

int symbols_file(const struct symbols *symbols, const char *name)
{
    for (size_t i = 0; i < symbols->file_count; i++)
        if (strcmp(symbols->files[i]->name, name) == 0)
            return (int)i;
    return -1;
}

static const struct symbol *find_symbol(const struct symbols *symbols, const char *full_name)
{
    const struct symbol key = {.name = full_name};

    if (symbols->symbol_count == 0)
        return NULL;
    return bsearch(&key, symbols->symbols, symbols->symbol_count, sizeof(key), compare_symbols);
}

int symbols_declaring_file(const struct symbols *symbols, const char *full_name)
{
    const struct symbol *symbol = find_symbol(symbols, full_name);

    return symbol == NULL ? -1 : symbol->file;
}

int symbols_extending_file(const struct symbols *symbols, const char *message, int32_t number)
{
    for (size_t i = 0; i < symbols->extension_count; i++)
        if (symbols->extensions[i].number == number && strcmp(symbols->extensions[i].message, message) == 0)
            return symbols->extensions[i].file;
    return -1;
}

size_t symbols_extension_numbers(
    const struct symbols *symbols, const char *message, struct arena *arena, int32_t **ret_numbers, bool *ret_is_known)
{
    const struct symbol *symbol = find_symbol(symbols, message);
    int32_t *numbers = arena_alloc_array(arena, symbols->extension_count + 1, sizeof(*numbers));
    size_t count = 0;

    for (size_t i = 0; i < symbols->extension_count; i++)
        if (strcmp(symbols->extensions[i].message, message) == 0)
            numbers[count++] = symbols->extensions[i].number;
    *ret_numbers = numbers;
    *ret_is_known = symbol != NULL && symbol->is_message;
    return count;
}

size_t symbols_closure(
    const struct symbols *symbols, int file, struct arena *arena, const struct grpc_c_file ***ret_files)
{
    const struct grpc_c_file **files = arena_alloc_array(arena, symbols->file_count, sizeof(*files));
    int *indexes = arena_alloc_array(arena, symbols->file_count, sizeof(*indexes));
    bool *is_in = arena_alloc_array(arena, symbols->file_count, sizeof(*is_in));
    size_t count = 0;

    indexes[count++] = file;
    is_in[file] = true;
    for (size_t i = 0; i < count; i++) {
        const file_proto *proto = symbols->protos[indexes[i]];
        files[i] = symbols->files[indexes[i]];
        for (size_t d = 0; d < proto->n_dependency; d++) {
            int import = symbols_file(symbols, proto->dependency[d]);
            assert(import >= 0); /* a service's files are closed */
            if (!is_in[import])
                indexes[count++] = import;
            is_in[import] = true;
        }
    }
    *ret_files = files;
    return count;
}
