/* What the engine's tests share: a private database with the product's schema, workspaces, rules and leads in it,
 * and a way to ask the engine for many leads at once and wait for the answers. */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/pg.h"
#include "routing/engine.h"
#include "support/cluster.h"
#include "wire_proxy.h"

enum { PATIENCE_MS = 60000 /* how long anything may take before a test fails */ };

/* One database of its own, made from a migrated template. */
struct world {
    struct test_cluster *cluster;
    char *url;                  /* as the superuser */
    struct pg_config superuser; /* for the test */
    struct pg_config service;   /* for the engine: the superuser's login, SET ROLE leadrouter_service */
    struct pg_conn *conn;       /* the test's own, as the superuser */
};

/* Group setup and teardown: one cluster for all tests of a program, with a migrated template database. */
int world_group_setup(void **state);
int world_group_teardown(void **state);

/* Test setup and teardown: `*state` is a struct world. */
int world_setup(void **state);
int world_teardown(void **state);

/* Runs SQL as the superuser; fails the test when it fails. `format` is printf's. */
void world_run(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A query that gives one bigint. */
int64_t world_number(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes workspace number `n` (id 00000000-0000-0000-0000-00000000NNNN, n in hexadecimal) with this routing_config. */
struct uuid world_workspace(struct world *world, unsigned n, const char *routing_config);
struct uuid workspace_id(unsigned n);

/* A rule of workspace `n` that gives what meets `conditions` to workspace `destination`. */
void world_rule(
    struct world *world, unsigned n, const char *name, int priority, const char *conditions, unsigned destination);

/* Workspaces 1 and 2, and a rule that gives everything of the first to the second. */
void world_one_to_two(struct world *world);

/* `leads` leads are routed, and the log has one deciding row for each and no other row. */
void world_check_each_decided_once(struct world *world, int64_t leads);

/* A trigger that raises `sqlstate` when a lead whose city is `city` is to be routed. */
void world_break_leads_of(struct world *world, const char *city, const char *sqlstate);

/* Inserts a lead of workspace `n` with this e-mail (NULL: none) and industry; returns its id. */
struct uuid world_lead(struct world *world, unsigned n, const char *email, const char *industry);

/* An engine on this world's database; fails the test when it cannot be made. */
struct routing_engine *world_engine(struct world *world, unsigned lanes, unsigned batch_leads_max);

/* Many requests asked at once. */
struct crowd;

/* Room for `count` answers. */
struct crowd *crowd_new(size_t count);
void crowd_free(struct crowd *crowd);

/* The i-th ticket, filled for this lead with three attempts and PATIENCE_MS; may be changed before it is asked. */
struct routing_ticket *crowd_ticket(
    struct crowd *crowd, size_t i, struct uuid lead_id, struct uuid source_workspace_id);

/* Submits one ticket; fails the test when it is refused. */
void crowd_ask(struct crowd *crowd, struct routing_engine *engine, size_t i);

/* Submits all of them by one call. */
void crowd_ask_all(struct crowd *crowd, struct routing_engine *engine);

/* Waits until `count` answers are there; fails the test after PATIENCE_MS. */
void crowd_wait(struct crowd *crowd, size_t count);

/* Once all are answered: asks again, as callers do, for those whose lead somebody else has held for too long (ERROR_BUSY), which happens to
 * a machine that stands still for a moment. How many these are. */
size_t crowd_ask_again(struct crowd *crowd, struct routing_engine *engine);

/* The i-th answer; it must be there. */
const struct routing_answer *crowd_answer(struct crowd *crowd, size_t i);

/* How many of the answers have this outcome. */
size_t crowd_count(struct crowd *crowd, enum routing_outcome outcome);

/* One lead, asked and waited for. */
struct routing_answer route_one(
    struct routing_engine *engine, struct uuid lead_id, struct uuid source_workspace_id, bool force);

/* Waits until a query gives a number of at least `least`. */
void world_wait_for(struct world *world, int64_t least, const char *query);

/* An engine that reaches the world's database through a proxy. */
struct proxied {
    struct wire_proxy *proxy;
    char url[256];
    struct pg_config config;
    struct routing_engine *engine;
};
void proxied_init(struct proxied *proxied, struct world *world, unsigned lanes);
void proxied_release(struct proxied *proxied);

#endif
