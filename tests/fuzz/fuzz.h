/* What a fuzz target is: libFuzzer's interface, so that it links with that (clang -fsanitize=fuzzer) as well as with driver.c. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Takes any bytes; crashes on a finding. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
