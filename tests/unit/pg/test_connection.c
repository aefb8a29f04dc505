/* Goal: a connection is opened with the session that was asked for, by the first host that answers, within its
 * time; and each way to fail has its class, its SQLSTATE, and a text that gives nothing away. */
#include "pg_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "silent_server.h"

/* Logins that the tests need: the cluster itself knows only its own users, by the operating system's name. */
static int setup_logins(void **state)
{
    struct fixture *fixture = NULL;

    fixture_group_setup(state);
    fixture_setup((void **)&fixture);
    run(fixture->conn,
        "create role locked nologin; create role crowded login connection limit 0; create role plain login;"
        "create role secret login password 'hunter2-right'; create role stranger;"
        "do $$ begin execute format('copy (select * from (values (''local all secret scram-sha-256''),"
        "(''local all locked,crowded,plain,nobody_at_all trust''), (''local all all peer map=leadrouter'')) as t)"
        "to %%L', current_setting('hba_file')); end $$");
    run(fixture->conn, "select pg_reload_conf()");
    struct pg_config config = {
        .url = arena_format(fixture->arena, "%s user=plain", test_cluster_url(fixture->cluster))};
    struct pg_conn *conn = pg_conn_new(&config);
    int64_t until_ns = patience();
    while (!pg_conn_open(conn, patience(), NULL)) /* until the postmaster has read the file */
        assert_true(clock_left_ms(until_ns) > 0);
    pg_conn_free(conn);
    fixture_teardown((void **)&fixture);
    return 0;
}

/* Tries to open a connection and expects failure. */
static struct error open_error(const struct pg_config *config, int64_t deadline_ns)
{
    struct pg_conn *conn = pg_conn_new(config);
    struct error error = {0};

    assert_false(pg_conn_open(conn, deadline_ns, &error));
    assert_false(pg_conn_is_open(conn));
    assert_int_equal(pg_conn_descriptor(conn), -1);
    assert_int_equal(pg_conn_backend_pid(conn), 0);
    assert_false(pg_conn_open(conn, deadline_ns, NULL));
    pg_conn_free(conn);
    assert_null(strstr(error.text, "hunter2"));
    return error;
}

static struct error url_error(struct fixture *fixture, const char *suffix)
{
    struct pg_config config = {.url = arena_format(fixture->arena, "%s %s", fixture->config.url, suffix)};

    return open_error(&config, patience());
}

static void test_session(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    int pid = pg_conn_backend_pid(fixture->conn);

    assert_true(pg_conn_is_open(fixture->conn) && pg_conn_descriptor(fixture->conn) >= 0 && pid > 0);
    assert_string_equal(ask_text(fixture, "select pg_backend_pid()::text"), arena_format(fixture->arena, "%d", pid));
    assert_string_equal(ask_text(fixture, "select current_setting('timezone')"), "UTC");
    assert_string_equal(ask_text(fixture, "select current_setting('client_encoding')"), "UTF8");
    assert_string_equal(ask_text(fixture, "select current_setting('application_name')"), "test");
    require(pg_conn_open(fixture->conn, 0, &error), &error); /* open already: nothing to do, so no time needed */
    assert_int_equal(pg_conn_backend_pid(fixture->conn), pid);
    pg_conn_close(fixture->conn);
    pg_conn_close(fixture->conn);
    assert_false(pg_conn_is_open(fixture->conn));
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_int_not_equal(pg_conn_backend_pid(fixture->conn), pid);
    pg_conn_free(NULL);
}

/* What must hold wins over the URL, what is a default does not. */
static void test_url_and_settings(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    struct pg_config config = {.url = arena_format(fixture->arena,
                                   "%s client_encoding=LATIN1 application_name=url options='-c timezone=Asia/Tokyo'"
                                   " target_session_attrs=any",
                                   fixture->config.url)};

    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(ask_text(fixture, "select current_setting('timezone')"), "UTC");
    assert_string_equal(ask_text(fixture, "select current_setting('client_encoding')"), "UTF8");
    assert_string_equal(ask_text(fixture, "select current_setting('application_name')"), "url");
    config.application_name = "config";
    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(ask_text(fixture, "select current_setting('application_name')"), "config");
}

static void test_role(void **state)
{
    struct fixture *fixture = *state;
    struct pg_config config = fixture->config;
    struct error error = {0};

    run(fixture->conn, "drop role if exists \"odd \"\" role\"; create role \"odd \"\" role\"");
    config.role = "odd \" role";
    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(ask_text(fixture, "select current_user::text"), "odd \" role");

    config.role = "not_there";
    error = open_error(&config, patience());
    expect_error(&error, ERROR_PERMISSION, "22023");
    config.role = "a_name_that_is_longer_than_the_sixty_three_bytes_that_postgres_allows";
    error = open_error(&config, patience());
    expect_error(&error, ERROR_INVALID, "");
    config.role = "not \xff text";
    error = open_error(&config, patience());
    expect_error(&error, ERROR_INVALID, "");
    config.url = arena_format(fixture->arena, "%s user=plain", test_cluster_url(fixture->cluster));
    config.role = "stranger";
    error = open_error(&config, patience());
    expect_error(&error, ERROR_PERMISSION, "42501");
}

static void test_url_is_wrong(void **state)
{
    static const char *const urls[] = {"hunter2", "postgres://u:hunter2@[broken", "password=hunter2 sslmode=bogus",
        "password=hunter2 no_such_setting=1", "host=/a,/b port=1,2,3 password=hunter2",
        "host=/a,/b hostaddr=127.0.0.1 password=hunter2", "host=/tmp port=hunter2",
        "postgresql://user:hunter2@localhost:99999/x"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct pg_config config = {.url = urls[i]};
        struct error error = open_error(&config, patience());
        expect_error(&error, ERROR_INVALID, "");
    }
}

static void test_secrets_in_urls(void **state)
{
    static const char *const with[] = {"postgres://u:hunter2@h/x", "postgres://h/x?password=hunter2",
        "password=hunter2 host=h", "host=h sslpassword=hunter2"};
    static const char *const without[] = {
        "", "host=h user=u", "postgres://u@h/x", "password=''", "passfile=/x", "hunter2"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(with); i++)
        assert_true(pg_url_has_secret(with[i]));
    for (size_t i = 0; i < COUNT_OF(without); i++)
        assert_false(pg_url_has_secret(without[i]));
}

static void test_nobody_there(void **state)
{
    struct fixture *fixture = *state;
    struct silent_server server = silent_server_start(0);
    struct pg_config config = {.url = "host=/nonexistent/leadrouter user=x password=hunter2"};
    struct error error = open_error(&config, patience());

    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_string_equal(error.text, "could not connect to the database: nobody listens on the socket");
    config.url = arena_format(fixture->arena, "postgres://x:hunter2@127.0.0.1:%d/x", server.port);
    error = open_error(&config, patience());
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_string_equal(error.text, "could not connect to the database: connection refused");
    silent_server_stop(&server);
}

/* The server's SQLSTATE decides, not its words, which may be in any language. */
static void test_refused_by_the_server(void **state)
{
    static const struct {
        const char *url;
        enum error_code code;
        const char *sqlstate;
        const char *text;
    } cases[] = {
        {"user=locked", ERROR_PERMISSION, "28000", "the database refused the login"},
        {"user=nobody_at_all", ERROR_PERMISSION, "28000", "the database refused the login"},
        {"user=leadrouter_nobody", ERROR_PERMISSION, "28000", "the database refused the login"},
        {"user=secret", ERROR_PERMISSION, "", "the database wants a password"},
        {"user=secret password=hunter2-wrong", ERROR_PERMISSION, "28P01", "the database refused the login"},
        {"user=crowded", ERROR_UNAVAILABLE, "53300", "the database has too many clients"},
        {"dbname=not_there", ERROR_PERMISSION, "3D000", "the database does not exist"},
        {"dbname=closed user=plain", ERROR_PERMISSION, "42501", "the role may not connect to the database"},
    };
    struct fixture *fixture = *state;

    free(test_cluster_create_database(fixture->cluster, "closed"));
    run(fixture->conn, "revoke connect on database closed from public");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error = url_error(fixture, cases[i].url);
        expect_error(&error, cases[i].code, cases[i].sqlstate);
        assert_string_equal(error.text, cases[i].text);
    }
    struct pg_config config = {
        .url = arena_format(fixture->arena, "%s user=secret password=hunter2-right", fixture->config.url)};
    struct error error = {0};
    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(ask_text(fixture, "select current_user::text"), "secret");
}

/* After a failover the old address may lead to a standby: a connection that cannot write is none. */
static void test_read_only_database(void **state)
{
    struct fixture *fixture = *state;
    char *url = test_cluster_create_database(fixture->cluster, "reading");
    struct pg_config config = {.url = url};

    run(fixture->conn, "alter database reading set default_transaction_read_only = on");
    struct error error = open_error(&config, patience());
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_string_equal(error.text, "the database is read-only");
    config.url = arena_format(fixture->arena, "%s target_session_attrs=any", url);
    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    free(url);
}

/* A host that hangs costs no more than the time there is; who set that time decides what it is called. */
static void test_silent_host(void **state)
{
    enum { SHORT_MS = 150 };
    struct fixture *fixture = *state;
    struct silent_server server = silent_server_start(1);
    struct pg_config config = {.url = arena_format(fixture->arena, "host=127.0.0.1 port=%d user=x", server.port)};
    struct error error = open_error(&config, clock_after_ms(SHORT_MS));

    expect_error(&error, ERROR_DEADLINE, "");
    config.connect_timeout_ms = SHORT_MS;
    error = open_error(&config, patience());
    expect_error(&error, ERROR_UNAVAILABLE, "");
    silent_server_stop(&server);
}

static const char *many_hosts(struct fixture *fixture, const int *ports, const char *last_directory)
{
    return arena_format(fixture->arena, "host=127.0.0.1,127.0.0.1,%s port=%d,%d,5432 user=postgres dbname=leadrouter",
        last_directory, ports[0], ports[1]);
}

/* Neither a host that refuses nor one that hangs keeps us from the next; and when all fail there is one reason. */
static void test_several_hosts(void **state)
{
    struct fixture *fixture = *state;
    struct silent_server silent = silent_server_start(1);
    struct silent_server refusing = silent_server_start(0);
    const int ports[] = {silent.port, refusing.port};
    const char *directory = ask_text(fixture, "select current_setting('unix_socket_directories')");
    struct pg_config config = {.url = many_hosts(fixture, ports, directory), .connect_timeout_ms = 3000};
    struct error error = {0};

    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(ask_text(fixture, "select current_database()::text"), "leadrouter");
    config.url = many_hosts(fixture, ports, "/nonexistent/leadrouter");
    config.connect_timeout_ms = 300;
    error = open_error(&config, patience());
    expect_error(&error, ERROR_UNAVAILABLE, "");
    config.connect_timeout_ms = PATIENCE_MS; /* no host is silent here */
    /* One port for all hosts, and a refused login that is told although the last host is merely away. */
    config.url = arena_format(fixture->arena, "host=%s,/nonexistent/leadrouter port=5432 user=locked", directory);
    error = open_error(&config, patience());
    expect_error(&error, ERROR_PERMISSION, "28000");
    silent_server_stop(&refusing);
    silent_server_stop(&silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_session),
        FIXTURE_TEST(test_url_and_settings),
        FIXTURE_TEST(test_role),
        FIXTURE_TEST(test_url_is_wrong),
        cmocka_unit_test(test_secrets_in_urls),
        FIXTURE_TEST(test_nobody_there),
        FIXTURE_TEST(test_refused_by_the_server),
        FIXTURE_TEST(test_read_only_database),
        FIXTURE_TEST(test_silent_host),
        FIXTURE_TEST(test_several_hosts),
    };

    return cmocka_run_group_tests(tests, setup_logins, fixture_group_teardown);
}
