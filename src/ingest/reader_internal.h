/* The state of a reader: what reader.c and checkpoint.c share. */
#ifndef INGEST_READER_INTERNAL_H
#define INGEST_READER_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "ingest/encoding.h"
#include "ingest/reader.h"
#include "ingest/rows.h"

struct ingest_reader {
    struct ingest_reader_options options;
    struct ingest_source source;
    struct arena *names; /* of columns */
    struct error error;
    enum ingest_step last; /* INGEST_STEP_END and INGEST_STEP_FAILED stay */
    bool has_begun;        /* the format is known */
    bool has_started;      /* INGEST_STEP_STARTED was given, or is_resumed */
    bool is_resumed;       /* INGEST_STEP_STARTED is to be given */
    bool is_first_row_skipped;
    bool is_row_given; /* the record still lies here */
    bool is_finished;
    bool is_decoded; /* the end of the bytes was told to the decoder */

    /* bytes: the head, then chunks, through the decoder */
    struct buffer head;
    size_t head_used;
    const uint8_t *chunk;
    size_t chunk_size;
    size_t chunk_used;
    struct decoder decoder;
    struct decoded held; /* decoded and not taken yet, from `held_used` on */
    size_t held_used;
    uint64_t held_offset;

    /* records */
    struct csv_rows csv;
    struct json_rows json;
    json_t *root;   /* JSON: the record */
    json_t *items;  /* the array in it that rows are unwrapped from; borrowed from `root` */
    json_t *single; /* or the one row; borrowed */
    size_t item;    /* items given or passed over */
    uint64_t row_count;
    uint64_t end_offset; /* behind the last record */
    struct place end_place;
};

/* Sets a new reader to where a checkpoint says. */
bool reader_load_checkpoint(struct ingest_reader *reader, const char *checkpoint, struct error *reterr_error);

#endif
