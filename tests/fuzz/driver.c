/* Runs a fuzz target without libFuzzer: inputs of a corpus, and random changes of them. Blind, so it finds less in the same time; but it
 * runs with every compiler, and repeats exactly.
 *
 *     fuzz_x COUNT [SEED] < CORPUS     corpus: one input a line */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "fuzz.h"

enum { INPUT_SIZE_MAX = 4096, CORPUS_MAX = 1024, CHANGES_MAX = 6 };

/* What inputs are made of: pieces that blind changes would not come up with. */
static const char *const words[] = {"{", "}", "[", "]", ",", ":", "\"", "null", "true", "1e999", "-0", "\\u0000",
    "\\ud800", "\"all\":[", "\"any\":[", "\"not\":", "\"field\":\"source\"", "\"field\":\"attributes.x\"",
    "\"op\":\"regex\"", "\"op\":\"in\"", "\"value\":", "\"case\":true", "(a+)+", "\xc3\x9f", "\xe2\x80\x83", "\xff",
    "\n", "2026-01-31T10:00:00Z", "within_radius", "in_set", ",\"", "\";\"", "~", "^~", "`", "\xef\xbb\xbf", "\xe9",
    "{\"a\":", "from: ", "{from: a, part: city}", "rest: true~", "[a, b]"};

struct input {
    uint8_t bytes[INPUT_SIZE_MAX];
    size_t size;
};

static struct input corpus[CORPUS_MAX];
static size_t corpus_count;

static void read_corpus(void)
{
    char line[INPUT_SIZE_MAX];

    while (corpus_count < CORPUS_MAX && fgets(line, sizeof(line), stdin) != NULL) {
        size_t size = strcspn(line, "\n");
        memcpy(corpus[corpus_count].bytes, line, size);
        corpus[corpus_count++].size = size;
    }
}

static void insert(struct input *input, size_t at, const void *bytes, size_t size)
{
    if (input->size + size > INPUT_SIZE_MAX)
        return;
    memmove(input->bytes + at + size, input->bytes + at, input->size - at);
    memcpy(input->bytes + at, bytes, size);
    input->size += size;
}

/* One random change. */
static void change(struct random_sequence *random, struct input *input)
{
    size_t at = (size_t)random_below(random, input->size + 1);
    size_t size = (size_t)random_below(random, 32);
    const struct input *other = &corpus[random_below(random, corpus_count)];
    const char *word = words[random_below(random, COUNT_OF(words))];

    switch (random_below(random, 5)) {
    case 0: /* a bit */
        if (at < input->size)
            input->bytes[at] ^= (uint8_t)(1U << random_below(random, 8));
        break;
    case 1: /* a part less */
        size = size < input->size - at ? size : input->size - at;
        memmove(input->bytes + at, input->bytes + at + size, input->size - at - size);
        input->size -= size;
        break;
    case 2: /* a word more */
        insert(input, at, word, strlen(word));
        break;
    case 3: /* a part of another input */
        if (other->size > size)
            insert(input, at, other->bytes + random_below(random, other->size - size), size);
        break;
    default: /* a part of its own twice */
        if (input->size > at + size) {
            uint8_t part[32];
            memcpy(part, input->bytes + at, size);
            insert(input, at, part, size);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    struct random_sequence random = random_sequence_from(argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    struct input input;

    read_corpus();
    if (corpus_count == 0) {
        fprintf(stderr, "no corpus on standard input\n");
        return 2;
    }
    for (unsigned long i = 0; i < count; i++) {
        input = corpus[i % corpus_count];
        for (uint64_t changes = i < corpus_count ? 0 : 1 + random_below(&random, CHANGES_MAX); changes > 0; changes--)
            change(&random, &input);
        /* A copy of its own size, so that the sanitizer sees a read behind its end. */
        uint8_t *copy = memory_new(input.size);
        memcpy(copy, input.bytes, input.size);
        LLVMFuzzerTestOneInput(copy, input.size);
        free(copy);
    }
    printf("%lu inputs\n", count);
    return EXIT_SUCCESS;
}
