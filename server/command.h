/* The commands of leadrouterd. Each takes its own argv ([0] is the command's name) and returns an exit code of
 * config.h. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "config.h"

struct server_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    const char *usage;           /* what its --help says before the settings */
    enum config_command setting; /* whose settings it has */
};

/* All of them; a name that is NULL ends the list. */
extern const struct server_command server_commands[];

/* Serves until SIGTERM or SIGINT. */
int command_serve(int argc, char **argv);

/* Brings the schema up, takes it down, or says where it stands. */
int command_migrate(int argc, char **argv);

/* Runs the embedded database alone: for psql, backups and tests. */
int command_cluster(int argc, char **argv);

extern const char command_serve_usage[];
extern const char command_migrate_usage[];
extern const char command_cluster_usage[];

#endif
