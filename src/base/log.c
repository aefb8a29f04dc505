#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "base/log_writer.h"
#include "base/memory.h"
#include "base/utf8.h"

enum { LINE_SIZE_MAX = PIPE_BUF, VALUE_SIZE_MAX = 1024 };

#define END_OF_CUT_LINE ",\"cut\":true}\n"

static atomic_int log_descriptor = STDERR_FILENO;
static atomic_int log_lowest = LOG_LEVEL_INFO;
static _Atomic(log_observer *) log_told;

void log_setup(int descriptor, enum log_level lowest)
{
    atomic_store(&log_descriptor, descriptor);
    atomic_store(&log_lowest, (int)lowest);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load(&log_lowest);
}

void log_set_observer(log_observer *observer)
{
    atomic_store(&log_told, observer);
}

static void tell(enum log_level level, const char *event, const char *message)
{
    log_observer *observer = atomic_load(&log_told);

    if (observer != NULL)
        observer(level, event, message);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_ERROR:
        break;
    }
    return "error";
}

/* Appends `text`, cut to VALUE_SIZE_MAX bytes with an ellipsis in place of the rest. */
static bool append_text(struct buffer *line, const char *text)
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    char cut[VALUE_SIZE_MAX + sizeof(ellipsis)];
    size_t size = strlen(text);

    if (size > VALUE_SIZE_MAX) {
        size = utf8_cut(text, VALUE_SIZE_MAX);
        memcpy(cut, text, size);
        memcpy(cut + size, ellipsis, sizeof(ellipsis) - 1);
        text = cut;
        size += sizeof(ellipsis) - 1;
    }
    return buffer_append_json_string(line, text, size);
}

static bool append_value(struct buffer *line, const struct log_field *field)
{
    if (field->type == LOG_FIELD_STRING)
        return append_text(line, field->string);
    if (field->type == LOG_FIELD_BOOLEAN)
        return buffer_append_string(line, field->integer != 0 ? "true" : "false");
    assert(field->type == LOG_FIELD_INTEGER);
    return buffer_append_format(line, "%lld", (long long)field->integer);
}

/* A member either stands in the line whole or not at all; `ret_cut` then becomes true. */
static void append_field(struct buffer *line, const struct log_field *field, bool *ret_cut)
{
    size_t before = line->size;

    if (field->type == LOG_FIELD_STRING && field->string == NULL)
        return;
    if (buffer_append_string(line, ",") && append_text(line, field->name) && buffer_append_string(line, ":") &&
        append_value(line, field))
        return;
    line->size = before;
    *ret_cut = true;
}

/* One write() per line: a pipe takes up to PIPE_BUF bytes whole, so that the lines of threads and processes do not mix
 * (POSIX, write()). What else makes a write short, such as a full disk, loses the line. */
static void write_line(enum log_level level, const struct buffer *line)
{
    int descriptor = atomic_load(&log_descriptor);
    ssize_t written = 0;

    assert(line->size <= PIPE_BUF);
    if (log_writer_put(line->data, line->size, level >= LOG_LEVEL_WARNING))
        return;
    do
        written = write(descriptor, line->data, line->size);
    while (written < 0 && errno == EINTR);
}

static void begin_line(struct buffer *line, enum log_level level, const char *event, const char *message, bool *ret_cut)
{
    const struct log_field first[] = {LOG_STRING("event", event), LOG_STRING("message", message)};
    char time[CLOCK_RFC3339_SIZE];

    buffer_init(line, LINE_SIZE_MAX - (sizeof(END_OF_CUT_LINE) - 1));
    buffer_append_format(line, "{\"time\":\"%s\",\"level\":\"%s\"", clock_format_now(time), level_name(level));
    for (size_t i = 0; i < COUNT_OF(first); i++)
        append_field(line, &first[i], ret_cut);
}

static void end_line(struct buffer *line, bool cut)
{
    line->size_max = LINE_SIZE_MAX;
    bool ended = buffer_append_string(line, cut ? END_OF_CUT_LINE : "}\n");
    assert(ended);
}

void log_write(enum log_level level, const char *event, const char *message, const struct log_field *fields)
{
    int errno_before = errno;
    struct buffer line;
    bool cut = false;

    if (!log_is_on(level))
        return;
    tell(level, event, message);
    begin_line(&line, level, event, message, &cut);
    for (; fields != NULL && fields->type != LOG_FIELD_END; fields++)
        append_field(&line, fields, &cut);
    end_line(&line, cut);
    write_line(level, &line);
    buffer_release(&line);
    errno = errno_before;
}

/* --- Lines that are alike ----------------------------------------------------------------------------------------- */

static void write_left_out(const struct log_left_out *left_out)
{
    struct buffer line;
    bool cut = false;

    begin_line(&line, (enum log_level)left_out->level, left_out->event, "more of these, left out", &cut);
    buffer_append_string(&line, left_out->key);
    buffer_append_format(&line, ",\"repeated\":%llu", (unsigned long long)left_out->lines);
    end_line(&line, cut);
    write_line((enum log_level)left_out->level, &line);
    buffer_release(&line);
}

static void write_all_left_out(bool everything)
{
    struct log_left_out left_out;

    while (log_limit_take(clock_now_ns(), everything, &left_out))
        write_left_out(&left_out);
}

void log_write_limited(
    enum log_level level, const char *event, const char *message, const struct log_field *fields, size_t key_count)
{
    int errno_before = errno;
    struct log_left_out forgotten;
    struct buffer key;
    bool cut = false;

    if (!log_is_on(level))
        return;
    buffer_init(&key, LOG_LIMIT_KEY_SIZE);
    for (size_t i = 0; i < key_count; i++)
        append_field(&key, &fields[i], &cut);
    bool is_admitted = log_limit_admit((int)level, event, buffer_text(&key), clock_now_ns(), &forgotten);
    buffer_release(&key);
    if (forgotten.lines > 0)
        write_left_out(&forgotten);
    if (is_admitted)
        log_write(level, event, message, fields);
    else
        tell(level, event, message);
    errno = errno_before;
}

/* --- The writer --------------------------------------------------------------------------------------------------- */

static const char *loss_line(uint64_t lines)
{
    static char text[256]; /* the writer's thread */
    char time[CLOCK_RFC3339_SIZE];

    snprintf(text, sizeof(text),
        "{\"time\":\"%s\",\"level\":\"warning\",\"event\":\"log.lost\",\"message\":\"lines of the log were lost\","
        "\"lines\":%llu}\n",
        clock_format_now(time), (unsigned long long)lines);
    return text;
}

bool log_writer_begin(size_t size, struct error *reterr_error)
{
    return log_writer_start(atomic_load(&log_descriptor), size, write_all_left_out, loss_line, reterr_error);
}

bool log_flush(int64_t deadline_ns)
{
    write_all_left_out(true);
    return log_writer_flush(deadline_ns);
}

void log_writer_end(int64_t deadline_ns)
{
    log_writer_stop(deadline_ns);
}

uint64_t log_lost(void)
{
    return log_writer_lost();
}
