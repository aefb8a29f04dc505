/* What an import did: counted while it runs, completed by what the server knows of it, printed at its end. Any thread. */
#ifndef LEADCTL_SUMMARY_H
#define LEADCTL_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leadrouter/v1/leads.pb-c.h"

struct summary;

/* Starts counting; `is_routed` says whether outcomes are expected. */
struct summary *summary_new(bool is_routed);
void summary_free(struct summary *summary); /* NULL is fine */

/* The server has begun, or goes on. The id is copied. */
void summary_set_started(struct summary *summary, const Leadrouter__V1__ImportStarted *started);

/* A row was read that is not in yet. */
void summary_add_read(struct summary *summary);

/* What became of a row that is in; NULL: it is in, and its result was lost. */
void summary_add_result(struct summary *summary, const Leadrouter__V1__ImportRowResult *result);

/* The import as the server has it: its counts take the place of those of this run. */
void summary_set_import(struct summary *summary, const Leadrouter__V1__Import *import);

/* Prints the table, or JSON. */
void summary_print(struct summary *summary, bool json);

/* True when every row became a lead, and every lead that was to be routed got an outcome. */
bool summary_is_clean(struct summary *summary);

#endif
