/* What a supervisor is told: systemd, with Type=notify in the unit, or whatever else speaks sd_notify(3). */
#ifndef SERVER_SUPERVISOR_H
#define SERVER_SUPERVISOR_H

/* Remembers where the supervisor listens (NOTIFY_SOCKET) and takes the variable away, so that no child speaks for us: an embedded
 * PostgreSQL would. For every command, before there are threads. */
void supervisor_begin(void);

/* Tells it "READY=1" and the like. Nothing where there is no supervisor, or it does not listen: it finds out by its own deadline. One
 * thread only. */
void supervisor_tell(const char *state);

#endif
