#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noreturn)) static void end_without_memory(void)
{
    static const char line[] = "leadrouter: out of memory\n";

    if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
        _exit(70);
    abort();
}

void *memory_new(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);

    if (memory == NULL)
        end_without_memory();
    return memory;
}

void *memory_new_array(size_t count, size_t size)
{
    void *memory = count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);

    if (memory == NULL)
        end_without_memory();
    return memory;
}

void *memory_resize(void *old, size_t count, size_t size)
{
    size_t bytes = 0;

    if (__builtin_mul_overflow(count, size, &bytes))
        end_without_memory();
    void *memory = realloc(old, bytes == 0 ? 1 : bytes);
    if (memory == NULL)
        end_without_memory();
    return memory;
}

char *memory_copy_string(const char *text)
{
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(memory_new(size), text, size);
}

char *memory_format_list(const char *format, va_list arguments)
{
    char *text = NULL;

    if (vasprintf(&text, format, arguments) < 0)
        end_without_memory();
    return text;
}

char *memory_format(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = memory_format_list(format, arguments);
    va_end(arguments);
    return text;
}
