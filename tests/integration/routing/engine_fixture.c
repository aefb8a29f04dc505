#include "engine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <assert.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "migrate.h"

static struct test_cluster *shared_cluster;
static unsigned databases_made;

static void require(bool ok, const struct error *error)
{
    if (!ok)
        fail_msg("%s: %s %s", error_code_name(error->code), error->sqlstate, error->text);
}

int world_group_setup(void **state)
{
    FILE *quiet = fopen("/dev/null", "w");
    struct migrate_options options = {.output = quiet};
    struct error error = {0};

    (void)state;
    shared_cluster = test_cluster_start();
    char *url = test_cluster_create_database(shared_cluster, "template_routing");
    options.url = url;
    require(migrate_up(&options, &error), &error);
    free(url);
    fclose(quiet);
    return 0;
}

int world_group_teardown(void **state)
{
    (void)state;
    test_cluster_stop(shared_cluster);
    return 0;
}

static void run_on(const char *url, const char *sql)
{
    struct pg_config config = {.url = url};
    struct pg_conn *conn = pg_conn_new(&config);
    struct error error = {0};

    require(pg_conn_open(conn, clock_after_ms(PATIENCE_MS), &error), &error);
    require(pg_execute_script(conn, sql, clock_after_ms(PATIENCE_MS), &error), &error);
    pg_conn_free(conn);
}

int world_setup(void **state)
{
    struct world *world = memory_new(sizeof(*world));
    char name[64];
    char sql[160];
    struct error error = {0};

    world->cluster = shared_cluster;
    snprintf(name, sizeof(name), "routing_%u", databases_made++);
    snprintf(sql, sizeof(sql), "create database %s template template_routing", name);
    run_on(test_cluster_url(shared_cluster), sql);
    world->url = test_cluster_database_url(shared_cluster, name);
    world->superuser = (struct pg_config){.url = world->url, .application_name = "test"};
    world->service = (struct pg_config){.url = world->url, .role = "leadrouter_service", .application_name = "engine"};
    world->conn = pg_conn_new(&world->superuser);
    require(pg_conn_open(world->conn, clock_after_ms(PATIENCE_MS), &error), &error);
    *state = world;
    return 0;
}

int world_teardown(void **state)
{
    struct world *world = *state;

    pg_conn_free(world->conn);
    free(world->url);
    free(world);
    return 0;
}

void world_run(struct world *world, const char *format, ...)
{
    struct error error = {0};
    char *sql = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&sql, format, arguments) >= 0);
    va_end(arguments);
    require(pg_conn_open(world->conn, clock_after_ms(PATIENCE_MS), &error), &error);
    require(pg_execute_script(world->conn, sql, clock_after_ms(PATIENCE_MS), &error), &error);
    free(sql);
}

int64_t world_number(struct world *world, const char *format, ...)
{
    struct pg_statement statement = {.name = NULL};
    struct pg_result *result = NULL;
    struct error error = {0};
    char *sql = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&sql, format, arguments) >= 0);
    va_end(arguments);
    statement.sql = sql;
    require(pg_conn_open(world->conn, clock_after_ms(PATIENCE_MS), &error), &error);
    require(pg_execute(world->conn, &statement, NULL, clock_after_ms(PATIENCE_MS), &result, &error), &error);
    assert_int_equal(pg_result_row_count(result), 1);
    int64_t number = pg_result_int8(result, 0, 0);
    pg_result_free(result);
    free(sql);
    return number;
}

struct uuid workspace_id(unsigned n)
{
    struct uuid id = {{0}};

    id.bytes[14] = (uint8_t)(n >> 8);
    id.bytes[15] = (uint8_t)n;
    return id;
}

struct uuid world_workspace(struct world *world, unsigned n, const char *routing_config)
{
    char id[UUID_TEXT_SIZE];
    struct uuid workspace = workspace_id(n);

    world_run(world,
        "insert into workspaces (id, name, workspace_type, routing_config) values ('%s', 'workspace %u', 'partner', "
        "'%s')",
        uuid_format(&workspace, id), n, routing_config);
    return workspace;
}

void world_rule(
    struct world *world, unsigned n, const char *name, int priority, const char *conditions, unsigned destination)
{
    struct uuid from = workspace_id(n);
    struct uuid to = workspace_id(destination);
    char from_id[UUID_TEXT_SIZE];
    char to_id[UUID_TEXT_SIZE];

    world_run(world,
        "insert into lead_routing_rules (workspace_id, rule_name, priority, conditions, destination_workspace_id)"
        " values ('%s', '%s', %d, '%s', '%s')",
        uuid_format(&from, from_id), name, priority, conditions, uuid_format(&to, to_id));
}

struct uuid world_lead(struct world *world, unsigned n, const char *email, const char *industry)
{
    struct uuid lead = uuid_random();
    struct uuid workspace = workspace_id(n);
    char lead_id[UUID_TEXT_SIZE];
    char from_id[UUID_TEXT_SIZE];

    world_run(world,
        "insert into leads (id, workspace_id, email, company_industry) values ('%s', '%s', nullif('%s', ''), '%s')",
        uuid_format(&lead, lead_id), uuid_format(&workspace, from_id), email == NULL ? "" : email, industry);
    return lead;
}

struct routing_engine *world_engine(struct world *world, unsigned lanes, unsigned batch_leads_max)
{
    struct routing_engine_options options = {
        .database = &world->service, .lanes = lanes, .batch_leads_max = batch_leads_max};
    struct routing_engine *engine = NULL;
    struct error error = {0};

    require(routing_engine_new(&options, &engine, &error), &error);
    return engine;
}

struct crowd_member {
    struct routing_ticket ticket;
    struct routing_answer answer;
    bool is_answered;
};

struct crowd {
    struct crowd_member *members;
    size_t count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t answered;
};

struct crowd *crowd_new(size_t count)
{
    struct crowd *crowd = memory_new(sizeof(*crowd));

    pthread_mutex_init(&crowd->lock, NULL);
    condition_init(&crowd->changed);
    crowd->members = memory_new_array(count, sizeof(*crowd->members));
    crowd->count = count;
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    pthread_cond_destroy(&crowd->changed);
    pthread_mutex_destroy(&crowd->lock);
    free(crowd->members);
    free(crowd);
}

static void take_answer(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct crowd *crowd = ticket->user;
    struct crowd_member *member = (struct crowd_member *)(void *)ticket; /* its first member */

    pthread_mutex_lock(&crowd->lock);
    assert(!member->is_answered); /* not cmocka's: this is the lane's thread */
    member->answer = *answer;
    member->is_answered = true;
    crowd->answered++;
    pthread_cond_broadcast(&crowd->changed);
    pthread_mutex_unlock(&crowd->lock);
}

struct routing_ticket *crowd_ticket(struct crowd *crowd, size_t i, struct uuid lead_id, struct uuid source_workspace_id)
{
    struct routing_ticket *ticket = &crowd->members[i].ticket;

    assert_true(i < crowd->count);
    *ticket = (struct routing_ticket){.callback = take_answer, .user = crowd};
    ticket->request = (struct routing_request){.lead_id = lead_id,
        .source_workspace_id = source_workspace_id,
        .max_attempts = ROUTING_MAX_ATTEMPTS_DEFAULT,
        .deadline_ns = clock_after_ms(PATIENCE_MS)};
    return ticket;
}

void crowd_ask(struct crowd *crowd, struct routing_engine *engine, size_t i)
{
    struct error error = {0};

    require(routing_engine_submit(engine, &crowd->members[i].ticket, &error), &error);
}

void crowd_ask_all(struct crowd *crowd, struct routing_engine *engine)
{
    struct routing_ticket **tickets = memory_new_array(crowd->count, sizeof(*tickets));
    struct error error = {0};

    for (size_t i = 0; i < crowd->count; i++)
        tickets[i] = &crowd->members[i].ticket;
    require(routing_engine_submit_many(engine, tickets, crowd->count, &error), &error);
    free(tickets);
}

void crowd_wait(struct crowd *crowd, size_t count)
{
    int64_t deadline_ns = clock_after_ms(PATIENCE_MS);
    bool in_time = true;

    pthread_mutex_lock(&crowd->lock);
    while (crowd->answered < count && in_time)
        in_time = condition_wait(&crowd->changed, &crowd->lock, deadline_ns);
    size_t answered = crowd->answered;
    pthread_mutex_unlock(&crowd->lock);
    if (answered < count)
        fail_msg("%zu of %zu answers came in time", answered, count);
}

size_t crowd_ask_again(struct crowd *crowd, struct routing_engine *engine)
{
    size_t count = 0;

    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd_answer(crowd, i)->error.code != ERROR_BUSY)
            continue;
        count++;
        pthread_mutex_lock(&crowd->lock);
        crowd->members[i].is_answered = false;
        crowd->answered--;
        pthread_mutex_unlock(&crowd->lock);
        crowd->members[i].ticket.request.deadline_ns = clock_after_ms(PATIENCE_MS);
        crowd_ask(crowd, engine, i);
        crowd_wait(crowd, crowd->count);
    }
    return count;
}

const struct routing_answer *crowd_answer(struct crowd *crowd, size_t i)
{
    pthread_mutex_lock(&crowd->lock);
    bool is_answered = crowd->members[i].is_answered;
    pthread_mutex_unlock(&crowd->lock);
    assert_true(is_answered);
    return &crowd->members[i].answer;
}

size_t crowd_count(struct crowd *crowd, enum routing_outcome outcome)
{
    size_t count = 0;

    for (size_t i = 0; i < crowd->count; i++)
        count += crowd_answer(crowd, i)->error.code == ERROR_NONE && crowd_answer(crowd, i)->outcome == outcome ? 1 : 0;
    return count;
}

struct routing_answer route_one(
    struct routing_engine *engine, struct uuid lead_id, struct uuid source_workspace_id, bool force)
{
    struct crowd *crowd = crowd_new(1);

    crowd_ticket(crowd, 0, lead_id, source_workspace_id)->request.force = force;
    crowd_ask(crowd, engine, 0);
    crowd_wait(crowd, 1);
    struct routing_answer answer = *crowd_answer(crowd, 0);
    crowd_free(crowd);
    return answer;
}

void world_wait_for(struct world *world, int64_t least, const char *query)
{
    int64_t deadline_ns = clock_after_ms(PATIENCE_MS);

    while (world_number(world, "%s", query) < least) {
        if (clock_now_ns() > deadline_ns)
            fail_msg("waited in vain for: %s", query);
        poll(NULL, 0, 5);
    }
}

void world_one_to_two(struct world *world)
{
    world_workspace(world, 1, "{}");
    world_workspace(world, 2, "{}");
    world_rule(world, 1, "all", 0, "{}", 2);
}

void world_check_each_decided_once(struct world *world, int64_t leads)
{
    assert_int_equal(world_number(world, "select count(*) from leads where routing_status = 'routed'"), leads);
    assert_int_equal(
        world_number(world, "select count(*) from lead_routing_logs where routing_result in ('success', 'duplicate')"),
        leads);
    assert_int_equal(world_number(world, "select count(distinct lead_id) from lead_routing_logs"), leads);
}

void world_break_leads_of(struct world *world, const char *city, const char *sqlstate)
{
    world_run(world,
        "create function break_%s() returns trigger language plpgsql as $$ begin"
        " if new.city = '%s' then raise exception 'broken for a test' using errcode = '%s'; end if; return new; end $$;"
        "create trigger break_%s before update of routing_status on leads for each row"
        " when (new.routing_status = 'routed') execute function break_%s()",
        city, city, sqlstate, city, city);
}

void proxied_init(struct proxied *proxied, struct world *world, unsigned lanes)
{
    struct pg_statement statement = {
        .sql = "select setting || '/.s.PGSQL.' || current_setting('port'), current_database()::text,"
               " current_user::text, current_setting('port')::bigint"
               " from pg_settings where name = 'unix_socket_directories'"};
    struct routing_engine_options options = {.database = &proxied->config, .lanes = lanes};
    struct pg_result *result = NULL;

    assert_true(pg_execute(world->conn, &statement, NULL, clock_after_ms(PATIENCE_MS), &result, NULL));
    int port = (int)pg_result_int8(result, 0, 3);
    proxied->proxy = wire_proxy_new(pg_result_text(result, 0, 0), port);
    snprintf(proxied->url, sizeof(proxied->url), "host=%s port=%d dbname=%s user=%s",
        wire_proxy_directory(proxied->proxy), port, pg_result_text(result, 0, 1), pg_result_text(result, 0, 2));
    pg_result_free(result);
    proxied->config = (struct pg_config){.url = proxied->url, .role = "leadrouter_service"};
    assert_true(routing_engine_new(&options, &proxied->engine, NULL));
}

void proxied_release(struct proxied *proxied)
{
    routing_engine_free(proxied->engine, PATIENCE_MS);
    wire_proxy_free(proxied->proxy);
}
