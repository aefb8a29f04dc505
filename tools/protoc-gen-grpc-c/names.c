#include "names.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/memory.h"

/* protoc-c appends "_" to fields with these names; some are keywords of C++ only, where headers are read, too. */
static const char *const keywords[] = {
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "const",
    "const_cast",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "not",
    "not_eq",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
};

/* The C locale whatever the environment says. */
static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_word(char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static char to_lower(char c)
{
    return is_upper(c) ? (char)(c - 'A' + 'a') : c;
}

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool name_is_valid(const char *full_name)
{
    bool is_part_empty = true;

    if (full_name == NULL)
        return false;
    for (const char *c = full_name + (*full_name == '.'); *c != '\0'; c++) {
        if (*c == '.' ? is_part_empty : !is_word(*c))
            return false;
        is_part_empty = *c == '.';
    }
    return !is_part_empty;
}

char *name_of_type(struct arena *arena, const char *full_name)
{
    char *name = NULL;
    char *end = NULL;
    bool next_is_upper = true;

    assert(name_is_valid(full_name));
    full_name += *full_name == '.';
    name = end = arena_alloc(arena, 2 * strlen(full_name) + 1);
    for (const char *c = full_name; *c != '\0'; c++) {
        if (*c == '.') {
            *end++ = '_';
            *end++ = '_';
            next_is_upper = true;
        } else if (*c == '_') {
            next_is_upper = true;
        } else {
            *end++ = next_is_upper ? to_upper(*c) : *c;
            next_is_upper = false;
        }
    }
    return name;
}

char *name_of_prefix(struct arena *arena, const char *full_name)
{
    char *name = NULL;
    char *end = NULL;
    bool was_upper = true; /* no "_" at the start of a part, nor between capitals */

    assert(name_is_valid(full_name));
    full_name += *full_name == '.';
    name = end = arena_alloc(arena, 2 * strlen(full_name) + 1);
    for (const char *c = full_name; *c != '\0'; c++) {
        if (*c == '.') {
            *end++ = '_';
            *end++ = '_';
            was_upper = true;
        } else {
            if (is_upper(*c) && !was_upper)
                *end++ = '_';
            *end++ = to_lower(*c);
            was_upper = is_upper(*c);
        }
    }
    return name;
}

char *name_of_member(struct arena *arena, const char *name)
{
    char *member = name_of_prefix(arena, name);

    for (size_t i = 0; i < COUNT_OF(keywords); i++) {
        if (strcmp(keywords[i], member) == 0)
            return arena_format(arena, "%s_", member);
    }
    return member;
}

char *name_of_guard(struct arena *arena, const char *stem)
{
    static const char digits[] = "0123456789abcdef";
    static const char before[] = "GRPC_C_";
    static const char after[] = "_INCLUDED";
    char *guard = arena_alloc(arena, sizeof(before) + 3 * strlen(stem) + sizeof(after));
    char *end = guard + strlen(before);

    memcpy(guard, before, strlen(before));
    for (const char *c = stem; *c != '\0'; c++) {
        if (is_word(*c) && *c != '_') {
            *end++ = *c;
        } else {
            *end++ = '_';
            *end++ = digits[(unsigned char)*c >> 4];
            *end++ = digits[(unsigned char)*c & 15];
        }
    }
    memcpy(end, after, strlen(after));
    return guard;
}
