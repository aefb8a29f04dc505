/* Goal: a setting comes from its flag, else from its variable, else from its default; each command knows its own;
 * what is wrong is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "config.h"

enum { WORDS_MAX = 8 };

/* Parses words separated by single blanks; the strings in `ret_config` live until the next call. */
static enum config_result parse(enum config_command command, const char *line, bool wants_operand,
    struct config *ret_config, const char **ret_operand)
{
    static char text[256];
    static char *words[WORDS_MAX + 1];
    int count = 0;
    char *rest = text;

    snprintf(text, sizeof(text), "command%s%s", line[0] == '\0' ? "" : " ", line);
    while (rest != NULL && count < WORDS_MAX)
        words[count++] = strsep(&rest, " ");
    words[count] = NULL;
    return config_parse(command, "Usage: test", count, words, wants_operand, ret_config, ret_operand);
}

static int clear_environment(void **state)
{
    static const char *const variables[] = {"LEADROUTER_LISTEN", "LEADROUTER_DATABASE", "LEADROUTER_EMBEDDED",
        "LEADROUTER_LANES", "LEADROUTER_DRAIN_MS", "LEADROUTER_UNNAMED_STATEMENTS", "LEADROUTER_LOG_LEVEL",
        "LEADROUTER_BATCH_LEADS_MAX", "LEADROUTER_WAITING_MAX", "LEADROUTER_RETRY_LANES", "LEADROUTER_LOG_KEEP_DAYS",
        "LEADROUTER_LISTEN_DATABASE", "LEADROUTER_NO_JOBS", "LEADROUTER_DATABASE_FILE", "LEADROUTER_ADMIN_LISTEN",
        "LEADROUTER_ADMIN_TOKEN_FILE", "LEADROUTER_NO_METRICS", "LEADROUTER_LISTEN_DATABASE_FILE", "PGPASSWORD"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        unsetenv(variables[i]);
    return 0;
}

static void defaults(void **state)
{
    struct config config;
    const char *operand = NULL;

    (void)state;
    assert_int_equal(parse(CONFIG_SERVE, "", false, &config, &operand), CONFIG_OK);
    assert_string_equal(config.listen, "127.0.0.1:7450");
    assert_null(config.database);
    assert_null(config.embedded);
    assert_string_equal(config.log_level, "info");
    assert_int_equal(config.lanes, 2);
    assert_int_equal(config.batch_leads_max, 256);
    assert_int_equal(config.waiting_max, 10000);
    assert_int_equal(config.drain_ms, 10000);
    assert_int_equal(config.retry_lanes, 2);
    assert_int_equal(config.log_keep_days, 90);
    assert_null(config.listen_database);
    assert_false(config.no_jobs);
    assert_int_equal(config.workspace_calls_per_second, 0);
    assert_int_equal(config.workspace_calls_burst, 0);
    assert_int_equal(config.workspace_calls_in_flight, 1024);
    assert_int_equal(config.workspace_imports, 2);
    assert_int_equal(config.workspace_rules, 0);
    assert_false(config.unnamed_statements);
    assert_null(operand);
}

static void flags_before_variables_before_defaults(void **state)
{
    struct config config;
    const char *operand = NULL;

    (void)state;
    setenv("LEADROUTER_LANES", "3", 1);
    setenv("LEADROUTER_DRAIN_MS", "", 1); /* empty is not set */
    setenv("LEADROUTER_UNNAMED_STATEMENTS", "1", 1);
    assert_int_equal(parse(CONFIG_SERVE, "", false, &config, &operand), CONFIG_OK);
    assert_int_equal(config.lanes, 3);
    assert_int_equal(config.drain_ms, 10000);
    assert_true(config.unnamed_statements);
    setenv("LEADROUTER_UNNAMED_STATEMENTS", "0", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--lanes 4 --drain-ms=0", false, &config, &operand), CONFIG_OK);
    assert_int_equal(config.lanes, 4);
    assert_int_equal(config.drain_ms, 0);
    assert_false(config.unnamed_statements);
}

static void switches_by_word(void **state)
{
    static const struct {
        const char *word;
        enum config_result result;
        bool is_on;
    } cases[] = {{"1", CONFIG_OK, true}, {"true", CONFIG_OK, true}, {"yes", CONFIG_OK, true}, {"on", CONFIG_OK, true},
        {"0", CONFIG_OK, false}, {"false", CONFIG_OK, false}, {"no", CONFIG_OK, false}, {"off", CONFIG_OK, false},
        {"maybe", CONFIG_WRONG, false}};
    struct config config;
    const char *operand = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        setenv("LEADROUTER_UNNAMED_STATEMENTS", cases[i].word, 1);
        assert_int_equal(parse(CONFIG_SERVE, "", false, &config, &operand), cases[i].result);
        assert_true(cases[i].result == CONFIG_WRONG || config.unnamed_statements == cases[i].is_on);
    }
    unsetenv("LEADROUTER_UNNAMED_STATEMENTS");
    assert_int_equal(parse(CONFIG_SERVE, "--unnamed-statements=off", false, &config, &operand), CONFIG_OK);
    assert_false(config.unnamed_statements);
}

static void a_flag_for_the_database_beats_the_other_variable(void **state)
{
    struct config config;
    const char *operand = NULL;

    (void)state;
    setenv("LEADROUTER_DATABASE", "of the environment", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--embedded dir", false, &config, &operand), CONFIG_OK);
    assert_null(config.database);
    assert_string_equal(config.embedded, "dir");
    setenv("LEADROUTER_EMBEDDED", "of the environment", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--database url", false, &config, &operand), CONFIG_OK);
    assert_string_equal(config.database, "url");
    assert_null(config.embedded);
    assert_int_equal(parse(CONFIG_SERVE, "--database url --embedded dir", false, &config, &operand), CONFIG_OK);
    assert_non_null(config.database); /* both by flag: for the command to refuse */
    assert_non_null(config.embedded);
    assert_false(config_has_database(&config));
    assert_int_equal(parse(CONFIG_SERVE, "--database-file f", false, &config, &operand), CONFIG_OK);
    assert_null(config.database);
    assert_null(config.embedded);
    assert_true(config_has_database(&config));
    setenv("LEADROUTER_DATABASE_FILE", "of the environment", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--database url", false, &config, &operand), CONFIG_OK);
    assert_null(config.database_file);
}

/* Neither arguments nor variables may hold a password, whichever way a URL says it. */
static void passwords_are_refused(void **state)
{
    static const char *const urls[] = {
        "postgres://u:hunter2@db/x", "postgresql://db/x?password=hunter2", "password=hunter2", "sslpassword=hunter2"};
    static const char *const variables[] = {"LEADROUTER_DATABASE", "LEADROUTER_LISTEN_DATABASE"};
    struct config config;
    const char *operand = NULL;
    char line[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        snprintf(line, sizeof(line), "--database %s", urls[i]);
        assert_int_equal(parse(CONFIG_SERVE, line, false, &config, &operand), CONFIG_WRONG);
        assert_int_equal(parse(CONFIG_MIGRATE, line, true, &config, &operand), CONFIG_WRONG);
        snprintf(line, sizeof(line), "--database x --listen-database %s", urls[i]);
        assert_int_equal(parse(CONFIG_SERVE, line, false, &config, &operand), CONFIG_WRONG);
        for (size_t v = 0; v < COUNT_OF(variables); v++) {
            setenv(variables[v], urls[i], 1);
            assert_int_equal(parse(CONFIG_SERVE, "", false, &config, &operand), CONFIG_WRONG);
            unsetenv(variables[v]);
        }
    }
    assert_int_equal(parse(CONFIG_SERVE, "--database passfile=/x", false, &config, &operand), CONFIG_OK);
    setenv("PGPASSWORD", "hunter2", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--database host=db", false, &config, &operand), CONFIG_WRONG);
    assert_int_equal(parse(CONFIG_SERVE, "--database-file x", false, &config, &operand), CONFIG_WRONG);
    assert_int_equal(parse(CONFIG_SERVE, "--embedded x", false, &config, &operand), CONFIG_OK);
}

static void write_url(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

/* A file may hold a password, unless everybody can read it; blanks at its end are none of the URL. */
static void urls_of_files(void **state)
{
    char path[] = "/tmp/leadrouter-test-url-XXXXXX";
    char line[128];
    struct config config;
    struct error error = {0};
    const char *operand = NULL;

    (void)state;
    close(mkstemp(path));
    snprintf(line, sizeof(line), "--database-file %s --listen-database-file %s", path, path);
    write_url(path, "postgres://u:hunter2@db/x\n", 0640);
    assert_int_equal(parse(CONFIG_SERVE, line, false, &config, &operand), CONFIG_OK);
    assert_true(config_has_database(&config));
    assert_true(config_read_files(&config, &error));
    assert_string_equal(config.database, "postgres://u:hunter2@db/x");
    assert_string_equal(config.listen_database, "postgres://u:hunter2@db/x");
    config_wipe(&config);
    assert_null(config.database);
    assert_null(config.listen_database);

    write_url(path, "postgres://u:hunter2@db/x\n", 0644);
    assert_false(config_read_files(&config, &error));
    assert_non_null(strstr(error.text, "open to everybody"));
    assert_null(strstr(error.text, "hunter2"));
    config_wipe(&config);
    write_url(path, " \n", 0600);
    assert_false(config_read_files(&config, &error));
    assert_non_null(strstr(error.text, "no connection string"));
    config_wipe(&config);
    unlink(path);
    assert_false(config_read_files(&config, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    config_wipe(&config);
}

static void operands(void **state)
{
    struct config config;
    const char *operand = NULL;

    (void)state;
    assert_int_equal(parse(CONFIG_MIGRATE, "down --yes --database x", true, &config, &operand), CONFIG_OK);
    assert_string_equal(operand, "down");
    assert_string_equal(config.database, "x");
    assert_true(config.yes);
    assert_int_equal(parse(CONFIG_MIGRATE, "up down", true, &config, &operand), CONFIG_WRONG);
    assert_int_equal(parse(CONFIG_SERVE, "up", false, &config, &operand), CONFIG_WRONG);
}

static void refused(void **state)
{
    static const struct {
        enum config_command command;
        const char *line;
    } cases[] = {{CONFIG_SERVE, "--nonsense"}, {CONFIG_SERVE, "--yes"}, {CONFIG_CLUSTER, "--database x"},
        {CONFIG_SERVE, "--lanes"}, {CONFIG_SERVE, "--lanes 0"}, {CONFIG_SERVE, "--lanes 65"},
        {CONFIG_SERVE, "--lanes 2x"}, {CONFIG_SERVE, "--lanes="}, {CONFIG_SERVE, "--waiting-max 99999999999999999999"},
        {CONFIG_SERVE, "--drain-ms -1"}, {CONFIG_SERVE, "--lane 2"}, {CONFIG_SERVE, "--database="},
        {CONFIG_SERVE, "-x"}, {CONFIG_SERVE, "--"}};
    struct config config;
    const char *operand = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(parse(cases[i].command, cases[i].line, false, &config, &operand), CONFIG_WRONG);
    setenv("LEADROUTER_LANES", "many", 1);
    assert_int_equal(parse(CONFIG_SERVE, "--lanes 2", false, &config, &operand), CONFIG_WRONG);
    assert_int_equal(parse(CONFIG_MIGRATE, "", true, &config, &operand), CONFIG_OK); /* not migrate's */
}

/* A misspelt variable would change nothing, without a word; those of others are none of ours. */
static void misspelt_variables(void **state)
{
    static const char *const others[] = {"LEADROUTER_TARGET", "LEADROUTER_TLS_CA", "LEADROUTER_TLS_CLIENT_CERTIFICATE",
        "LEADROUTER_TLS_CLIENT_KEY", "LEADROUTER_TLS_SERVER_NAME", "LEADROUTER_TOKEN_FILE", "LEADROUTER_WORKSPACE",
        "LEADROUTER_PROFILE", "LEADROUTER_PORT", "LEADROUTER_SERVICE_HOST", "LEADROUTER_PORT_7450_TCP_ADDR",
        "LEADROUTER_LONG", "LEADROUTER"};
    static const char *const slips[] = {"LEADROUTER_LANSE", "LEADROUTER_LOGLEVEL", "LEADROUTER_ADMIN_LISTN"};
    struct config config;
    const char *operand = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(others); i++)
        setenv(others[i], "x", 1);
    assert_int_equal(parse(CONFIG_SERVE, "", false, &config, &operand), CONFIG_OK);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        unsetenv(others[i]);
    for (size_t i = 0; i < COUNT_OF(slips); i++) {
        setenv(slips[i], "3", 1);
        assert_int_equal(parse(CONFIG_MIGRATE, "up", true, &config, &operand), CONFIG_WRONG);
        unsetenv(slips[i]);
    }
}

static void help(void **state)
{
    struct config config;
    const char *operand = NULL;

    (void)state;
    assert_int_equal(parse(CONFIG_SERVE, "--help", false, &config, &operand), CONFIG_HELP_SHOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(defaults, clear_environment),
        cmocka_unit_test_setup(flags_before_variables_before_defaults, clear_environment),
        cmocka_unit_test_setup(switches_by_word, clear_environment),
        cmocka_unit_test_setup(a_flag_for_the_database_beats_the_other_variable, clear_environment),
        cmocka_unit_test_setup(passwords_are_refused, clear_environment),
        cmocka_unit_test_setup(urls_of_files, clear_environment), cmocka_unit_test_setup(operands, clear_environment),
        cmocka_unit_test_setup(refused, clear_environment),
        cmocka_unit_test_setup(misspelt_variables, clear_environment), cmocka_unit_test_setup(help, clear_environment)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
