/* Explanations of rules, for people and for programs. */
#ifndef LEADCTL_EXPLANATION_H
#define LEADCTL_EXPLANATION_H

#include <jansson.h>
#include <stdbool.h>

#include "leadrouter/v1/rules.pb-c.h"

/* Prints what each rule does with a lead, a line for each rule and for each test that fails; with `is_copy` what it would do: the lead was
 * found to be a duplicate. */
void explanation_print(const Leadrouter__V1__LeadExplanation *explanation, bool is_copy);

/* The same as JSON. The caller's. */
json_t *explanation_json(const Leadrouter__V1__LeadExplanation *explanation);

#endif
