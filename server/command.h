/* The commands of leadrouterd. Each takes its own argv ([0] is the command's name) and returns an exit code of
 * config.h. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

/* Serves until SIGTERM or SIGINT. */
int command_serve(int argc, char **argv);

/* Brings the schema up, takes it down, or says where it stands. */
int command_migrate(int argc, char **argv);

/* Runs the embedded database alone: for psql, backups and tests. */
int command_cluster(int argc, char **argv);

#endif
