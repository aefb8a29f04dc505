/* Any bytes as a file of leads. In the corpus, which has one input a line, ~ stands for LF, ^ for CR and ` for NUL. Fed byte by
 * byte, it gives what it gives as a whole. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "support/reading.h"

static const char *const paths[] = {"data.identities", "leads", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ingest_reader_options options = {.unwrap = paths};
    char *bytes = memory_new(size);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(data[i] == '~' ? '\n' : data[i] == '^' ? '\r' : data[i] == '`' ? '\0' : data[i]);
    if (size > 0)
        options.header = data[size - 1] % 3;
    char *whole = read_all(&options, bytes, size, SIZE_MAX);
    char *single = read_all(&options, bytes, size, 1);
    if (strcmp(whole, single) != 0) {
        fprintf(stderr, "as a whole:\n%s\nbyte by byte:\n%s\n", whole, single);
        abort();
    }
    free(whole);
    free(single);
    free(bytes);
    return 0;
}
