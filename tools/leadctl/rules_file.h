/* Files of rules, in YAML or JSON (docs/rules.md): read into a JSON value, and written from one. */
#ifndef LEADCTL_RULES_FILE_H
#define LEADCTL_RULES_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "leadrouter/v1/rules.pb-c.h"

/* Rules and sets of a file as a request has them. */
struct rules_file {
    json_t *value; /* owned; texts lie in it */
    Leadrouter__V1__Rule *rules;
    Leadrouter__V1__Rule **rule_pointers;
    char **conditions; /* owned */
    size_t rule_count;
    Leadrouter__V1__NamedSet *sets;
    Leadrouter__V1__NamedSet **set_pointers;
    size_t set_count;
};

/* Reads a file ("-": standard input) of at most 16 MiB and checks its form; whether conditions and destinations are right is the server's
 * to say. Errors: ERROR_SYSTEM; ERROR_INVALID with the line, or with the place, as in "rules[2].destination: must be a text". Released with
 * rules_file_release(), also after a failure. */
bool rules_file_load(const char *path, struct rules_file *ret_file, struct error *reterr_error);
void rules_file_release(struct rules_file *file);

/* A file's value of the rules and sets that a workspace has. The caller's. */
json_t *rules_file_value(const Leadrouter__V1__ListRulesResponse *response);

/* Writes a value as YAML. False when `output` takes no more. */
bool rules_file_write(FILE *output, const json_t *value);

#endif
