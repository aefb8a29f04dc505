/* What the parts of `leadctl import` share. */
#ifndef LEADCTL_IMPORT_H
#define LEADCTL_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"
#include "import_progress.h"
#include "interrupt.h"
#include "lead_file.h"
#include "rejects_file.h"
#include "sender.h"
#include "server_rejects.h"
#include "summary.h"

/* The flags, and what they have come to. */
struct import {
    struct common_options common;
    const char *path;
    const char *workspace;
    const char *errors_path;
    bool route;
    bool resume;
    bool again;
    bool dry_run;
    bool quiet;
    int batch_rows;
    int patience_s;
    struct lead_file_options options;

    struct interrupt *interrupt;
    struct lead_file *file;
    struct rejects_file *rejects;
    struct import_progress *progress;
    struct summary *summary;
    struct sender *sender;
    struct grpc_c_channel *channel;
    struct server_rejects *server_rejects;
    char import_id[40];
    size_t rejected_shown;
};

/* Shows that a row was rejected, for the first ones, and writes it to the file of rejected rows. False: that could not be written. */
bool import_reject(struct import *import, uint64_t line, int64_t number, const struct rejects_cells *cells,
    const char *field, const char *reason, struct error *reterr_error);

/* Writes why it failed; returns EXIT_FAILED. */
int import_fail(struct import *import, const char *where, const struct error *error);

/* --dry-run, with the file and the file of rejected rows open: what would become of the rows. An exit code. */
int import_try(struct import *import);

#endif
