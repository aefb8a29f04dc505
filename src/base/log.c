#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"

enum { LINE_SIZE_MAX = 16384 };

static atomic_int log_descriptor = STDERR_FILENO;
static atomic_int log_lowest = LOG_LEVEL_INFO;

void log_setup(int descriptor, enum log_level lowest)
{
    atomic_store(&log_descriptor, descriptor);
    atomic_store(&log_lowest, (int)lowest);
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

static void append_field(struct buffer *line, const struct log_field *field)
{
    if (field->type == LOG_FIELD_STRING && field->string == NULL)
        return;
    buffer_append_string(line, ",");
    buffer_append_json_string(line, field->name, strlen(field->name));
    buffer_append_string(line, ":");
    if (field->type == LOG_FIELD_STRING)
        buffer_append_json_string(line, field->string, strlen(field->string));
    else if (field->type == LOG_FIELD_BOOLEAN)
        buffer_append_string(line, field->integer != 0 ? "true" : "false");
    else
        buffer_append_format(line, "%lld", (long long)field->integer);
}

/* One write() per line; a pipe takes up to PIPE_BUF bytes at once, so that lines do not mix (POSIX, write()). */
static void write_line(const struct buffer *line)
{
    int descriptor = atomic_load(&log_descriptor);
    ssize_t written = 0;

    do
        written = write(descriptor, line->data, line->size);
    while (written < 0 && errno == EINTR);
}

void log_write(enum log_level level, const char *event, const char *message, const struct log_field *fields)
{
    struct buffer line;
    char time[CLOCK_RFC3339_SIZE];

    if ((int)level < atomic_load(&log_lowest))
        return;
    buffer_init(&line, LINE_SIZE_MAX);
    buffer_append_format(
        &line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", clock_format_now(time), level_name(level));
    buffer_append_json_string(&line, event, strlen(event));
    buffer_append_string(&line, ",\"message\":");
    buffer_append_json_string(&line, message, strlen(message));
    for (; fields != NULL && fields->type != LOG_FIELD_END; fields++) {
        size_t before = line.size;
        bool overflowed_before = line.overflowed;
        append_field(&line, fields);
        if (line.overflowed && !overflowed_before)
            line.size = before; /* what does not fit is left out whole */
    }
    if (line.size > LINE_SIZE_MAX - 2)
        line.size = 0;
    line.overflowed = false;
    if (buffer_append_string(&line, "}\n"))
        write_line(&line);
    buffer_release(&line);
}
