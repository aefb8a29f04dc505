#include "grpc_c/services/health.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc/health/v1/health.grpc.h"

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

/* A service that is known. */
struct known_service {
    char *name;
    bool is_serving;
};

/* One Watch; in its call's arena. */
struct watch {
    struct grpc_c_health *health;
    struct grpc_c_call *call;
    const char *service;
    serving_status told; /* UNKNOWN: nothing yet */
    bool is_writing;
    bool is_gone;
    struct watch *next;
    struct watch *previous;
};

struct grpc_c_health {
    pthread_mutex_t lock;
    /* under the lock */
    struct known_service *services;
    size_t service_count;
    struct watch *watches;
    bool is_stopping;
};

struct grpc_c_health *grpc_c_health_new(void)
{
    struct grpc_c_health *health = memory_new(sizeof(*health));

    pthread_mutex_init(&health->lock, NULL);
    grpc_c_health_set(health, "", false);
    return health;
}

void grpc_c_health_free(struct grpc_c_health *health)
{
    if (health == NULL)
        return;
    for (size_t i = 0; i < health->service_count; i++)
        free(health->services[i].name);
    free(health->services);
    pthread_mutex_destroy(&health->lock);
    free(health);
}

/* --- What is known ------------------------------------------------------------------------------------------------ */

static struct known_service *find(const struct grpc_c_health *health, const char *name)
{
    for (size_t i = 0; i < health->service_count; i++)
        if (strcmp(health->services[i].name, name) == 0)
            return &health->services[i];
    return NULL;
}

/* Under the lock. */
static serving_status status_of(const struct grpc_c_health *health, const char *name)
{
    const struct known_service *service = find(health, name);

    if (service == NULL)
        return STATUS(SERVICE_UNKNOWN);
    return service->is_serving && !health->is_stopping ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

/* --- Watch -------------------------------------------------------------------------------------------------------- */

static void forget(struct watch *watch)
{
    if (watch->next != NULL)
        watch->next->previous = watch->previous;
    if (watch->previous != NULL)
        watch->previous->next = watch->next;
    else
        watch->health->watches = watch->next;
}

static grpc_c_write_callback told;

/* Tells what has changed since the last time, one message at a time; ends the call when it is over. Under the lock;
 * whoever calls it must not use the watch afterwards. */
static void go_on(struct watch *watch)
{
    struct grpc_c_health *health = watch->health;
    check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status_of(health, watch->service);
    if (watch->is_writing)
        return;
    if (!watch->is_gone && response.status != watch->told) {
        watch->told = response.status;
        watch->is_writing = true;
        grpc__health__v1__health__watch__write(watch->call, &response, told, watch);
    } else if (watch->is_gone || health->is_stopping) {
        forget(watch);
        grpc_c_call_fail(watch->call, watch->is_gone ? GRPC_C_CANCELLED : GRPC_C_UNAVAILABLE,
            watch->is_gone ? "nobody watches any more" : "the server is stopping");
    }
}

static void told(struct grpc_c_call *call, bool is_sent, void *user)
{
    struct watch *watch = user;
    struct grpc_c_health *health = watch->health;

    (void)call;
    pthread_mutex_lock(&health->lock);
    watch->is_writing = false;
    watch->is_gone = watch->is_gone || !is_sent;
    go_on(watch);
    pthread_mutex_unlock(&health->lock);
}

/* Whether the watch is still there is for the list to say: it may have been ended meanwhile, and its arena with it. */
static void gone(struct grpc_c_call *call, void *user)
{
    struct grpc_c_health *health = user;

    pthread_mutex_lock(&health->lock);
    struct watch *watch = health->watches;
    while (watch != NULL && watch->call != call)
        watch = watch->next;
    if (watch != NULL) {
        watch->is_gone = true;
        go_on(watch);
    }
    pthread_mutex_unlock(&health->lock);
}

static void handle_watch(struct grpc_c_call *call, const check_request *request, void *user)
{
    struct grpc_c_health *health = user;
    struct watch *watch = arena_alloc(grpc_c_call_arena(call), sizeof(*watch));

    *watch = (struct watch){.health = health, .call = call, .service = request->service, .told = STATUS(UNKNOWN)};
    /* Whoever goes away before the watch is in the list is missed here, but not by the first write. */
    grpc_c_call_on_gone(call, gone, health);
    pthread_mutex_lock(&health->lock);
    watch->next = health->watches;
    if (watch->next != NULL)
        watch->next->previous = watch;
    health->watches = watch;
    go_on(watch); /* one write at least: the watch is not ended before that is done */
    pthread_mutex_unlock(&health->lock);
}

/* --- Check -------------------------------------------------------------------------------------------------------- */

static void handle_check(struct grpc_c_call *call, const check_request *request, void *user)
{
    struct grpc_c_health *health = user;
    check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    pthread_mutex_lock(&health->lock);
    response.status = status_of(health, request->service);
    pthread_mutex_unlock(&health->lock);
    if (response.status == STATUS(SERVICE_UNKNOWN))
        grpc_c_call_fail(call, GRPC_C_NOT_FOUND, "unknown service");
    else
        grpc__health__v1__health__check__reply(call, &response);
}

void grpc_c_health_add(struct grpc_c_server *server, struct grpc_c_health *health)
{
    static const struct grpc__health__v1__health__handlers handlers = {.check = handle_check, .watch = handle_watch};

    grpc__health__v1__health__add(server, &handlers, health);
}

/* --- Changes ------------------------------------------------------------------------------------------------------ */

/* Under the lock. */
static void tell_all(struct grpc_c_health *health)
{
    for (struct watch *watch = health->watches, *next = NULL; watch != NULL; watch = next) {
        next = watch->next;
        go_on(watch);
    }
}

void grpc_c_health_set(struct grpc_c_health *health, const char *service, bool is_serving)
{
    pthread_mutex_lock(&health->lock);
    struct known_service *known = find(health, service);
    if (known == NULL) {
        health->services = memory_resize(health->services, health->service_count + 1, sizeof(*health->services));
        known = &health->services[health->service_count++];
        known->name = memory_copy_string(service);
    }
    known->is_serving = is_serving;
    tell_all(health);
    pthread_mutex_unlock(&health->lock);
}

void grpc_c_health_stop(struct grpc_c_health *health)
{
    pthread_mutex_lock(&health->lock);
    health->is_stopping = true;
    tell_all(health);
    pthread_mutex_unlock(&health->lock);
}
