#include <stddef.h>

#include "command.h"

const struct server_command server_commands[] = {
    {"serve", command_serve, "serve gRPC on a database, or on an embedded one", command_serve_usage, CONFIG_SERVE},
    {"migrate", command_migrate, "bring the schema up, take it down, or say where it stands", command_migrate_usage,
        CONFIG_MIGRATE},
    {"cluster", command_cluster, "run the embedded database alone, for psql and backups", command_cluster_usage,
        CONFIG_CLUSTER},
    {.name = NULL},
};
