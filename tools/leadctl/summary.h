/* What an import did, counted while it runs and printed at its end. Any thread. */
#ifndef LEADCTL_SUMMARY_H
#define LEADCTL_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>

#include "leadrouter/v1/leads.pb-c.h"

struct summary;

/* Starts counting; `is_routed` says whether outcomes are expected. */
struct summary *summary_new(bool is_routed);

/* Releases it. */
void summary_free(struct summary *summary); /* NULL is fine */

/* Rows: read from the file; rejected, with the line and the reason (the first ones are printed at once on standard
 * error). */
void summary_add_read(struct summary *summary);
void summary_add_rejected(struct summary *summary, size_t line, const char *reason);

/* What became of leads that the server took. */
void summary_add_results(struct summary *summary, const Leadrouter__V1__CreateLeadsResponse *response);

/* How much of the file has been read, 0 to 1; unknown until the first call. */
void summary_set_fraction(struct summary *summary, double fraction);

/* What the import waits for at present, for the progress line; NULL: nothing unusual. Copied. */
void summary_set_note(struct summary *summary, const char *note);

/* A line on a terminal that replaces the one before, at most a few times a second, and none in the first; nothing
 * elsewhere. */
void summary_show_progress(struct summary *summary);

/* Takes that line away, before something else is written to standard error. */
void summary_hide_progress(struct summary *summary);

/* Takes the progress line away and prints the table, or JSON. */
void summary_print(struct summary *summary, bool json);

/* True when every row became a lead, and every lead that was to be routed got an outcome. */
bool summary_is_clean(struct summary *summary);

#endif
