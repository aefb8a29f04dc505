#include "prometheus.h"

#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/display.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "version.h"

enum { CONNECT_MS = 10000, WARNING_SIZE = 256 };

static const char PATH[] = "/api/v1/query";

struct prometheus {
    CURL *curl;
    char *url; /* with PATH, without a query */
    char *shown_url;
    struct secret_file token;
    struct buffer body;
    int timeout_s;
    int64_t deadline_ns;
    double time; /* 0: not known yet */
    char curl_error[CURL_ERROR_SIZE];
    char warning[WARNING_SIZE];
};

/* --- The address -------------------------------------------------------------------------------------------------- */

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;

    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

/* Whether there is a part that an address must not have. */
static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = url_part(url, part);
    bool is_there = text != NULL;

    curl_free(text);
    return is_there;
}

static bool check_scheme(CURLU *url, const char *typed, bool *ret_is_local, struct error *reterr_error)
{
    char *scheme = url_part(url, CURLUPART_SCHEME);
    char *host = url_part(url, CURLUPART_HOST);
    bool is_plain = scheme != NULL && strcmp(scheme, "http") == 0;
    bool is_https = scheme != NULL && strcmp(scheme, "https") == 0;

    *ret_is_local = host != NULL && address_host_is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    if (!is_plain && !is_https)
        return error_set(
            reterr_error, ERROR_INVALID, "\"%.200s\" is no address that begins with http:// or https://", typed);
    if (is_plain && !*ret_is_local)
        return error_set(reterr_error, ERROR_INVALID,
            "\"%.200s\" is not a loopback address (127.0.0.0/8, [::1], localhost), and others need https://", typed);
    return true;
}

/* Sets where to ask, out of what was typed. */
static bool set_url(struct prometheus *prometheus, const char *typed, struct error *reterr_error)
{
    CURLU *url = curl_url();
    bool is_local = false;
    bool ok = curl_url_set(url, CURLUPART_URL, typed, 0) == CURLUE_OK;

    if (!ok)
        error_set(reterr_error, ERROR_INVALID, "\"%.200s\" is no address such as http://127.0.0.1:9090", typed);
    else
        ok = check_scheme(url, typed, &is_local, reterr_error);
    if (ok && (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD)))
        ok = error_set(reterr_error, ERROR_INVALID,
            "a name or password is not part of the address: --prometheus-user and --prometheus-token-file");
    if (ok && (has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT)))
        ok = error_set(reterr_error, ERROR_INVALID,
            "\"%.200s\" has a query or fragment; what is wanted is what stands before /api", typed);
    if (ok) {
        size_t size = strlen(typed);
        while (size > 0 && typed[size - 1] == '/')
            size--;
        prometheus->url = memory_format("%.*s%s", (int)size, typed, PATH);
        prometheus->shown_url = display_safe(typed);
        curl_easy_setopt(prometheus->curl, CURLOPT_NOPROXY, is_local ? "*" : NULL);
    }
    curl_url_cleanup(url);
    return ok;
}

/* --- What is shown ------------------------------------------------------------------------------------------------- */

/* The token, or the password: the first word of the file. */
static bool set_token(
    struct prometheus *prometheus, const struct prometheus_options *options, struct error *reterr_error)
{
    if (options->token_file == NULL)
        return options->user == NULL || error_set(reterr_error, ERROR_INVALID,
                                            "--prometheus-user needs --prometheus-token-file, with the password");
    if (!secret_file_read_word(options->token_file, &prometheus->token, reterr_error))
        return false;
    if (options->user == NULL) {
        curl_easy_setopt(prometheus->curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(prometheus->curl, CURLOPT_XOAUTH2_BEARER, prometheus->token.text);
    } else {
        curl_easy_setopt(prometheus->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(prometheus->curl, CURLOPT_USERNAME, options->user);
        curl_easy_setopt(prometheus->curl, CURLOPT_PASSWORD, prometheus->token.text);
    }
    return true;
}

static size_t take_body(char *bytes, size_t one, size_t size, void *user)
{
    struct prometheus *prometheus = user;

    return buffer_append(&prometheus->body, bytes, one * size) ? one * size : 0;
}

static void set_rest(struct prometheus *prometheus, const struct prometheus_options *options)
{
    CURL *curl = prometheus->curl;

    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* a token is for who was named */
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "leadctl/" SERVER_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, prometheus->curl_error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, prometheus);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(curl, CURLOPT_SSLCERT, options->certificate_file);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, options->key_file);
}

bool prometheus_new(
    const struct prometheus_options *options, struct prometheus **ret_prometheus, struct error *reterr_error)
{
    struct prometheus *prometheus = memory_new(sizeof(*prometheus));

    curl_global_init(CURL_GLOBAL_DEFAULT);
    buffer_init(&prometheus->body, PROMETHEUS_ANSWER_SIZE_MAX);
    prometheus->curl = curl_easy_init();
    prometheus->timeout_s = options->timeout_s;
    prometheus->deadline_ns = clock_after_ms(options->timeout_s * INT64_C(1000));
    if (prometheus->curl == NULL)
        error_set(reterr_error, ERROR_SYSTEM, "could not make an HTTP client");
    else if (set_url(prometheus, options->url, reterr_error) && set_token(prometheus, options, reterr_error)) {
        set_rest(prometheus, options);
        *ret_prometheus = prometheus;
        return true;
    }
    prometheus_free(prometheus);
    return false;
}

void prometheus_free(struct prometheus *prometheus)
{
    if (prometheus == NULL)
        return;
    curl_easy_cleanup(prometheus->curl);
    secret_file_wipe(&prometheus->token);
    buffer_release(&prometheus->body);
    free(prometheus->url);
    free(prometheus->shown_url);
    free(prometheus);
    curl_global_cleanup();
}

double prometheus_time(const struct prometheus *prometheus)
{
    return prometheus->time;
}

const char *prometheus_warning(const struct prometheus *prometheus)
{
    return prometheus->warning;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

void prometheus_answer_release(struct prometheus_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        free(answer->series[i].labels);
    free(answer->series);
    *answer = (struct prometheus_answer){0};
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The labels but the metric's name, in order of their names; the caller's. */
static char *labels_text(json_t *labels)
{
    const char **names = memory_new_array(json_object_size(labels) + 1, sizeof(*names));
    struct buffer text = {0};
    size_t count = 0;
    const char *name = NULL;
    json_t *value = NULL;

    buffer_init(&text, PROMETHEUS_ANSWER_SIZE_MAX);
    json_object_foreach(labels, name, value) if (strcmp(name, "__name__") != 0) names[count++] = name;
    qsort(names, count, sizeof(*names), by_name);
    buffer_append_string(&text, "{");
    for (size_t i = 0; i < count; i++) {
        const char *label = json_string_value(json_object_get(labels, names[i]));
        buffer_append_format(&text, "%s%s=", i == 0 ? "" : ", ", names[i]);
        buffer_append_json_string(&text, label == NULL ? "" : label, label == NULL ? 0 : strlen(label));
    }
    buffer_append_string(&text, "}");
    char *copy = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    free(names);
    return copy;
}

/* "1.5", "NaN", "+Inf": the whole text, or it is none. */
static bool read_number(const char *text, double *ret_number)
{
    char *end = NULL;

    if (text == NULL || text[0] == '\0')
        return false;
    *ret_number = strtod(text, &end);
    return *end == '\0';
}

static bool take_series(
    struct prometheus *prometheus, json_t *result, struct prometheus_answer *answer, struct error *reterr_error)
{
    size_t count = json_array_size(result);

    answer->series = memory_new_array(count + 1, sizeof(*answer->series));
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_array_get(result, i);
        json_t *labels = json_object_get(one, "metric");
        json_t *pair = json_object_get(one, "value");
        double value = NAN;
        if (!json_is_object(labels) || json_array_size(pair) != 2 ||
            !read_number(json_string_value(json_array_get(pair, 1)), &value))
            return error_set(
                reterr_error, ERROR_PRECONDITION, "%s answers with something that is no number", prometheus->shown_url);
        answer->series[answer->count].labels = labels_text(labels);
        answer->series[answer->count++].value = value;
        if (prometheus->time == 0)
            prometheus->time = json_number_value(json_array_get(pair, 0));
    }
    return true;
}

/* What is no answer of a Prometheus, or one that refuses: why, and what may help. */
static bool refused(
    struct prometheus *prometheus, long status, const char *kind, json_t *root, struct error *reterr_error)
{
    const char *reason = json_string_value(json_object_get(root, "error"));
    char *where = NULL;

    if (status == 401 || status == 403)
        return error_set(reterr_error, ERROR_FORBIDDEN,
            "%s answers %ld: --prometheus-token-file and --prometheus-user say who is asking", prometheus->shown_url,
            status);
    if (reason != NULL) {
        const char *type = json_string_value(json_object_get(root, "errorType"));
        return error_set(reterr_error, ERROR_PRECONDITION, "%s refuses the query: %s: %s", prometheus->shown_url,
            type == NULL ? "error" : type, reason);
    }
    if (status >= 300 && status < 400) {
        curl_easy_getinfo(prometheus->curl, CURLINFO_REDIRECT_URL, &where);
        return error_set(reterr_error, ERROR_PRECONDITION,
            "%s answers %ld, and points to %.200s: name the place where Prometheus itself is", prometheus->shown_url,
            status, where == NULL ? "nothing" : where);
    }
    if (status != 200)
        return error_set(reterr_error, ERROR_PRECONDITION,
            "%s answers %ld to %s: is that Prometheus, and the path in front of /api whole?", prometheus->shown_url,
            status, PATH);
    return error_set(reterr_error, ERROR_PRECONDITION, "%s answers with something that is not Prometheus' (%.100s)",
        prometheus->shown_url, kind == NULL ? "of no type" : kind);
}

static bool read_answer(struct prometheus *prometheus, struct prometheus_answer *answer, struct error *reterr_error)
{
    const char *text = buffer_text(&prometheus->body);
    json_t *root = json_loadb(text, prometheus->body.size, 0, NULL);
    json_t *data = json_object_get(root, "data");
    const char *state = json_string_value(json_object_get(root, "status"));
    const char *type = json_string_value(json_object_get(data, "resultType"));
    const char *warning = json_string_value(json_array_get(json_object_get(root, "warnings"), 0));
    char *kind = NULL;
    long status = 0;
    bool ok = false;

    curl_easy_getinfo(prometheus->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(prometheus->curl, CURLINFO_CONTENT_TYPE, &kind);
    if (status == 200 && state != NULL && strcmp(state, "success") == 0 && type != NULL &&
        strcmp(type, "vector") == 0 && json_is_array(json_object_get(data, "result")))
        ok = take_series(prometheus, json_object_get(data, "result"), answer, reterr_error);
    else
        refused(prometheus, status, kind, root, reterr_error);
    if (ok && warning != NULL && prometheus->warning[0] == '\0')
        snprintf(prometheus->warning, sizeof(prometheus->warning), "%s", warning);
    json_decref(root);
    return ok;
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

static bool not_asked(struct prometheus *prometheus, CURLcode code, struct error *reterr_error)
{
    const char *why = prometheus->curl_error[0] == '\0' ? curl_easy_strerror(code) : prometheus->curl_error;

    switch (code) {
    case CURLE_WRITE_ERROR:
        return error_set(reterr_error, ERROR_FULL, "the answer of %s is larger than %d MiB: is that Prometheus?",
            prometheus->shown_url, PROMETHEUS_ANSWER_SIZE_MAX / 1024 / 1024);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(reterr_error, ERROR_DEADLINE, "%s has not answered within %d s (--timeout gives it more)",
            prometheus->shown_url, prometheus->timeout_s);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return error_set(reterr_error, ERROR_UNAVAILABLE,
            "nobody answers at %s (is Prometheus running? --prometheus says where)", prometheus->shown_url);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_PEER_FAILED_VERIFICATION:
        return error_set(
            reterr_error, ERROR_UNAVAILABLE, "no agreement on TLS with %s: %s", prometheus->shown_url, why);
    default:
        return error_set(reterr_error, ERROR_UNAVAILABLE, "%s: %s", prometheus->shown_url, why);
    }
}

bool prometheus_query(
    struct prometheus *prometheus, const char *query, struct prometheus_answer *ret_answer, struct error *reterr_error)
{
    int64_t left_ms = (prometheus->deadline_ns - clock_now_ns()) / 1000000;
    char *escaped = curl_easy_escape(prometheus->curl, query, 0);
    char *url = NULL;
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    struct prometheus_answer answer = {0};

    buffer_clear(&prometheus->body);
    url = prometheus->time == 0 ? memory_format("%s?query=%s", prometheus->url, escaped)
                                : memory_format("%s?time=%.3f&query=%s", prometheus->url, prometheus->time, escaped);
    curl_free(escaped);
    if (left_ms > 0) { /* 0 would be no bound */
        prometheus->curl_error[0] = '\0';
        curl_easy_setopt(prometheus->curl, CURLOPT_URL, url);
        curl_easy_setopt(prometheus->curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
        code = curl_easy_perform(prometheus->curl);
    }
    free(url);
    if (code != CURLE_OK)
        return not_asked(prometheus, code, reterr_error);
    if (!read_answer(prometheus, &answer, reterr_error)) {
        prometheus_answer_release(&answer);
        return false;
    }
    *ret_answer = answer;
    return true;
}
