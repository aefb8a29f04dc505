#include "wire_proxy.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"

enum { PAIRS_MAX = 64, CHUNK_SIZE = 65536 };

/* CommandComplete for COMMIT: type, length 11, tag (PostgreSQL manual, section 55.7). */
static const unsigned char commit_answer[] = {'C', 0, 0, 0, 11, 'C', 'O', 'M', 'M', 'I', 'T', 0};

struct pair {
    int client;
    int server;
};

struct wire_proxy {
    char directory[64];
    char path[108];
    char target[108];
    int listener;
    int wake[2];
    atomic_int to_lose;
    atomic_int lost;
    pthread_t thread;
    struct pair pairs[PAIRS_MAX]; /* the thread's */
    size_t pair_count;
};

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    return address;
}

static void accept_one(struct wire_proxy *proxy)
{
    struct sockaddr_un address = address_of(proxy->target);
    int client = accept(proxy->listener, NULL, NULL);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(client >= 0 && server >= 0 && proxy->pair_count < PAIRS_MAX);
    if (connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(client);
        close(server);
        return;
    }
    proxy->pairs[proxy->pair_count++] = (struct pair){client, server};
}

static void close_pair(struct wire_proxy *proxy, size_t i)
{
    close(proxy->pairs[i].client);
    close(proxy->pairs[i].server);
    proxy->pairs[i] = proxy->pairs[--proxy->pair_count];
}

static bool write_all(int descriptor, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = send(descriptor, data, size, MSG_NOSIGNAL);
        if (written <= 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* Forwards what is there; false when the pair is to be closed. */
static bool forward(struct wire_proxy *proxy, int from, int to, bool is_answer)
{
    static char chunk[CHUNK_SIZE];
    ssize_t size = recv(from, chunk, sizeof(chunk), 0);

    if (size <= 0)
        return false;
    if (is_answer && atomic_load(&proxy->to_lose) > 0 &&
        memmem(chunk, (size_t)size, commit_answer, sizeof(commit_answer)) != NULL) {
        atomic_fetch_sub(&proxy->to_lose, 1);
        atomic_fetch_add(&proxy->lost, 1);
        return false;
    }
    return write_all(to, chunk, (size_t)size);
}

static void *proxy_main(void *argument)
{
    struct wire_proxy *proxy = argument;
    struct pollfd polls[2 + 2 * PAIRS_MAX];

    while (true) {
        size_t pair_count = proxy->pair_count;
        polls[0] = (struct pollfd){.fd = proxy->wake[0], .events = POLLIN};
        polls[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
        for (size_t i = 0; i < pair_count; i++) {
            polls[2 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].client, .events = POLLIN};
            polls[3 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].server, .events = POLLIN};
        }
        poll(polls, 2 + 2 * pair_count, -1);
        if (polls[0].revents != 0)
            break;
        for (size_t i = pair_count; i-- > 0;) {
            struct pair pair = proxy->pairs[i];
            if ((polls[2 + 2 * i].revents != 0 && !forward(proxy, pair.client, pair.server, false)) ||
                (polls[3 + 2 * i].revents != 0 && !forward(proxy, pair.server, pair.client, true)))
                close_pair(proxy, i);
        }
        if (polls[1].revents != 0)
            accept_one(proxy);
    }
    while (proxy->pair_count > 0)
        close_pair(proxy, 0);
    return NULL;
}

struct wire_proxy *wire_proxy_new(const char *socket_path, int port)
{
    struct wire_proxy *proxy = memory_new(sizeof(*proxy));

    snprintf(proxy->directory, sizeof(proxy->directory), "/tmp/wire-proxy-XXXXXX");
    if (mkdtemp(proxy->directory) == NULL)
        abort();
    snprintf(proxy->path, sizeof(proxy->path), "%s/.s.PGSQL.%d", proxy->directory, port);
    snprintf(proxy->target, sizeof(proxy->target), "%s", socket_path);
    struct sockaddr_un address = address_of(proxy->path);
    proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(proxy->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(proxy->listener, PAIRS_MAX) != 0 || pipe(proxy->wake) != 0 ||
        pthread_create(&proxy->thread, NULL, proxy_main, proxy) != 0)
        abort();
    return proxy;
}

const char *wire_proxy_directory(const struct wire_proxy *proxy)
{
    return proxy->directory;
}

void wire_proxy_lose_commits(struct wire_proxy *proxy, int count)
{
    atomic_store(&proxy->to_lose, count);
}

int wire_proxy_lost(struct wire_proxy *proxy)
{
    return atomic_load(&proxy->lost);
}

void wire_proxy_free(struct wire_proxy *proxy)
{
    if (write(proxy->wake[1], "x", 1) != 1)
        abort();
    pthread_join(proxy->thread, NULL);
    close(proxy->wake[0]);
    close(proxy->wake[1]);
    close(proxy->listener);
    unlink(proxy->path);
    rmdir(proxy->directory);
    free(proxy);
}
