/* What a function does to its process, seen from outside: for contracts that end the process. */
#ifndef TESTS_UNIT_BASE_CHILD_H
#define TESTS_UNIT_BASE_CHILD_H

#include <stddef.h>

enum { CHILD_TEXT_SIZE = 4096 };

/* Runs `body` in a child process and returns its wait status. `ret_text` gets what it wrote to standard error, cut at
 * CHILD_TEXT_SIZE - 1 bytes. A child that comes back from `body` exits with 0. */
int child_run(void (*body)(void), char ret_text[CHILD_TEXT_SIZE]);

/* Fails the test unless `body` ends by abort(). */
void child_assert_aborts(void (*body)(void));

#endif
