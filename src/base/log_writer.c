#include "base/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"

enum { TICK_MS = 1000 };

enum state { STATE_NONE, STATE_RUNNING, STATE_ENDING, STATE_ENDED, STATE_ABANDONED };

/* One per process, so that its lock exists for whoever logs at whatever moment. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* there is something to do */
    pthread_cond_t done;   /* the queue is empty and written, or the thread has ended */
    pthread_t thread;

    /* under the lock */
    enum state state;
    uint8_t *queue; /* a ring of whole lines */
    size_t size, first, used;
    bool is_waiting; /* the writer, for something to do */
    bool is_writing;
    uint64_t lost;   /* in all */
    uint64_t unsaid; /* of them those that no line has told of */

    /* the writer's thread */
    int descriptor;
    bool is_torn; /* what was written last ends in the middle of a line */
    log_writer_tick *tick;
    log_writer_loss *loss;
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static uint64_t count_lines(const uint8_t *data, size_t size)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines;
}

/* A write of at most PIPE_BUF bytes: a pipe takes it whole (POSIX, write()). Waits for a descriptor that does not block. */
static ssize_t write_some(const uint8_t *data, size_t size)
{
    for (;;) {
        ssize_t written = write(writer.descriptor, data, size);
        if (written >= 0 || (errno != EINTR && errno != EAGAIN))
            return written;
        struct pollfd waiting = {.fd = writer.descriptor, .events = POLLOUT};
        if (errno == EAGAIN && poll(&waiting, 1, TICK_MS) < 0 && errno != EINTR)
            return -1;
    }
}

/* Writes whole lines; returns how many were lost. After a line that was cut by a full disk the next one begins a line of its own. */
static uint64_t write_lines(const uint8_t *data, size_t size)
{
    size_t written = 0;

    if (writer.is_torn && write_some((const uint8_t *)"\n", 1) != 1)
        return count_lines(data, size);
    writer.is_torn = false;
    while (written < size) {
        ssize_t step = write_some(data + written, size - written);
        if (step <= 0)
            break;
        written += (size_t)step;
    }
    writer.is_torn = written > 0 && written < size && data[written - 1] != '\n';
    return count_lines(data + written, size - written);
}

/* Moves whole lines, PIPE_BUF bytes at most, out of the queue. Under the lock. */
static size_t take_lines(uint8_t ret_lines[PIPE_BUF])
{
    size_t size = writer.used < PIPE_BUF ? writer.used : PIPE_BUF;
    size_t head = writer.size - writer.first < size ? writer.size - writer.first : size;

    memcpy(ret_lines, writer.queue + writer.first, head);
    memcpy(ret_lines + head, writer.queue, size - head);
    while (size > 0 && ret_lines[size - 1] != '\n')
        size--;
    writer.first = (writer.first + size) % writer.size;
    writer.used -= size;
    return size;
}

/* Tells of lost lines; called when something was written, and from time to time. Without the lock. */
static void say_lost(void)
{
    pthread_mutex_lock(&writer.lock);
    uint64_t lost = writer.unsaid;
    writer.unsaid = 0;
    pthread_mutex_unlock(&writer.lock);
    if (lost == 0)
        return;
    const char *line = writer.loss(lost);
    if (write_lines((const uint8_t *)line, strlen(line)) == 0)
        return;
    pthread_mutex_lock(&writer.lock);
    writer.unsaid += lost;
    pthread_mutex_unlock(&writer.lock);
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* Waits for lines or the next tick. Under the lock. */
static void wait_for_lines(int64_t tick_ns)
{
    writer.is_waiting = true;
    pthread_cond_broadcast(&writer.done);
    (void)condition_wait(&writer.wanted, &writer.lock, tick_ns);
    writer.is_waiting = false;
}

static void write_queue(void)
{
    uint8_t lines[PIPE_BUF];

    while (writer.used > 0) {
        size_t size = take_lines(lines);
        writer.is_writing = true;
        pthread_mutex_unlock(&writer.lock);
        uint64_t lost = write_lines(lines, size);
        if (lost == 0)
            say_lost();
        pthread_mutex_lock(&writer.lock);
        writer.is_writing = false;
        writer.lost += lost;
        writer.unsaid += lost;
    }
}

static void *writer_main(void *argument)
{
    int64_t tick_ns = clock_after_ms(TICK_MS);
    bool is_end = false;

    (void)argument;
    pthread_mutex_lock(&writer.lock);
    while (!is_end) {
        is_end = writer.state == STATE_ENDING;
        if (!is_end && writer.used == 0 && clock_now_ns() < tick_ns)
            wait_for_lines(tick_ns);
        if (is_end || clock_now_ns() >= tick_ns) {
            pthread_mutex_unlock(&writer.lock);
            writer.tick(is_end);
            say_lost();
            pthread_mutex_lock(&writer.lock);
            tick_ns = clock_after_ms(TICK_MS);
        }
        write_queue();
    }
    writer.state = STATE_ENDED;
    pthread_cond_broadcast(&writer.done);
    pthread_mutex_unlock(&writer.lock);
    return NULL;
}

/* --- From outside ------------------------------------------------------------------------------------------------- */

bool log_writer_start(
    int descriptor, size_t queue_size, log_writer_tick *tick, log_writer_loss *loss, struct error *reterr_error)
{
    int failure = 0;

    assert(writer.state == STATE_NONE && queue_size >= 2 * PIPE_BUF);
    condition_init(&writer.wanted);
    condition_init(&writer.done);
    writer.queue = memory_new(queue_size);
    writer.size = queue_size;
    writer.first = writer.used = 0;
    writer.unsaid = 0;
    writer.descriptor = descriptor;
    writer.is_torn = false;
    writer.tick = tick;
    writer.loss = loss;
    writer.state = STATE_RUNNING;
    failure = pthread_create(&writer.thread, NULL, writer_main, NULL);
    if (failure == 0)
        return true;
    writer.state = STATE_NONE;
    free(writer.queue);
    return error_set(reterr_error, ERROR_SYSTEM, "could not start the log's thread: %s", strerror(failure));
}

/* Under the lock. */
static void append(const void *line, size_t size)
{
    size_t place = (writer.first + writer.used) % writer.size;
    size_t head = writer.size - place < size ? writer.size - place : size;

    memcpy(writer.queue + place, line, head);
    memcpy(writer.queue, (const uint8_t *)line + head, size - head);
    writer.used += size;
}

bool log_writer_put(const void *line, size_t size, bool matters)
{
    bool is_taken = false, wakes = false;

    assert(size > 0 && size <= PIPE_BUF);
    pthread_mutex_lock(&writer.lock);
    is_taken = writer.state != STATE_NONE && writer.state != STATE_ENDED;
    if (is_taken) {
        size_t most = matters ? writer.size : writer.size / 4 * 3;
        if (writer.state != STATE_ABANDONED && writer.used + size <= most) {
            append(line, size);
            wakes = writer.is_waiting;
        } else {
            writer.lost++;
            writer.unsaid++;
        }
    }
    pthread_mutex_unlock(&writer.lock);
    if (wakes)
        pthread_cond_signal(&writer.wanted);
    return is_taken;
}

bool log_writer_flush(int64_t deadline_ns)
{
    bool is_done = false;
    bool in_time = true;

    pthread_mutex_lock(&writer.lock);
    for (;;) {
        is_done = writer.state == STATE_NONE || writer.state == STATE_ENDED || (writer.used == 0 && !writer.is_writing);
        if (is_done || !in_time || writer.state == STATE_ABANDONED)
            break;
        in_time = condition_wait(&writer.done, &writer.lock, deadline_ns);
    }
    pthread_mutex_unlock(&writer.lock);
    return is_done;
}

void log_writer_stop(int64_t deadline_ns)
{
    bool was_running = false;
    bool in_time = true;

    pthread_mutex_lock(&writer.lock);
    was_running = writer.state == STATE_RUNNING;
    if (was_running)
        writer.state = STATE_ENDING;
    pthread_cond_signal(&writer.wanted);
    while (was_running && writer.state != STATE_ENDED && in_time)
        in_time = condition_wait(&writer.done, &writer.lock, deadline_ns);
    bool has_ended = writer.state == STATE_ENDED;
    if (was_running && !has_ended)
        writer.state = STATE_ABANDONED;
    pthread_mutex_unlock(&writer.lock);
    if (!was_running)
        return;
    if (!has_ended) {
        pthread_detach(writer.thread);
        return;
    }
    pthread_join(writer.thread, NULL);
    pthread_mutex_lock(&writer.lock);
    free(writer.queue);
    writer.queue = NULL;
    writer.state = STATE_NONE;
    pthread_mutex_unlock(&writer.lock);
    pthread_cond_destroy(&writer.wanted);
    pthread_cond_destroy(&writer.done);
}

uint64_t log_writer_lost(void)
{
    pthread_mutex_lock(&writer.lock);
    uint64_t lost = writer.lost;
    pthread_mutex_unlock(&writer.lock);
    return lost;
}
