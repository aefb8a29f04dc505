#include "rules/pattern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/memory.h"

enum {
    DEPTH_MAX = 1000,
    HEAP_KIB_MAX = 1024,
    MESSAGE_SIZE = 160,
    PROBE_SIZE = 240,
    PROBE_PAIRS_MAX = 12, /* different characters of an expression that are tried in pairs */
};

struct rule_pattern {
    pcre2_code *code;
    pcre2_match_context *limits; /* read-only while matching: shared by threads */
};

static bool refuse(int code, size_t offset, struct error *reterr_error)
{
    PCRE2_UCHAR message[MESSAGE_SIZE] = "";

    (void)pcre2_get_error_message(code, message, sizeof(message));
    return error_set(
        reterr_error, ERROR_INVALID, "is no regular expression: %s at byte %zu", (const char *)message, offset);
}

/* Fills a text with two characters in turn, then one that is seldom matched, then all others: backtracking that grows
 * fast does so on long runs of what the expression repeats, when what follows does not fit; and PCRE2 does not even try
 * when a character that the expression must end with is nowhere behind. */
static void make_probe(const char *characters, size_t count, size_t first, size_t second, char *ret_probe)
{
    const size_t run = PROBE_SIZE - count - 1;

    for (size_t i = 0; i < run; i++)
        ret_probe[i] = characters[i % 2 == 0 ? first : second];
    ret_probe[run] = '\x01';
    memcpy(ret_probe + run + 1, characters, count);
}

/* The different ASCII letters, digits and signs of an expression, and some that its classes may stand for. */
static size_t probe_characters(const char *expression, char ret_characters[PROBE_PAIRS_MAX])
{
    static const char always[] = "a0 @";
    size_t count = sizeof(always) - 1;

    memcpy(ret_characters, always, count);
    for (; *expression != '\0' && count < PROBE_PAIRS_MAX; expression++) {
        if ((unsigned char)*expression > ' ' && (unsigned char)*expression < 0x7F &&
            strchr("\\()[]{}*+?|^$", *expression) == NULL && memchr(ret_characters, *expression, count) == NULL)
            ret_characters[count++] = *expression;
    }
    return count;
}

bool rule_pattern_is_bounded(const struct rule_pattern *pattern, const char *expression)
{
    char characters[PROBE_PAIRS_MAX];
    char probe[PROBE_SIZE];
    size_t count = probe_characters(expression, characters);

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            make_probe(characters, count, i, k, probe);
            if (rule_pattern_search(pattern, probe, sizeof(probe)) == RULE_PATTERN_GAVE_UP)
                return false;
        }
    }
    return true;
}

bool rule_pattern_new(
    const char *expression, bool is_case, struct rule_pattern **ret_pattern, struct error *reterr_error)
{
    struct rule_pattern *pattern = memory_new(sizeof(*pattern));
    /* Not \C, which splits code points; names and comments are harmless. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (is_case ? 0 : PCRE2_CASELESS);
    int code = 0;
    size_t offset = 0;

    pattern->limits = pcre2_match_context_create(NULL);
    assert(pattern->limits != NULL);
    pcre2_set_match_limit(pattern->limits, RULE_PATTERN_STEPS_MAX);
    pcre2_set_depth_limit(pattern->limits, DEPTH_MAX);
    pcre2_set_heap_limit(pattern->limits, HEAP_KIB_MAX);
    pattern->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
    if (pattern->code == NULL) {
        rule_pattern_free(pattern);
        return refuse(code, offset, reterr_error);
    }
    *ret_pattern = pattern;
    return true;
}

void rule_pattern_free(struct rule_pattern *pattern)
{
    if (pattern == NULL)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->limits);
    free(pattern);
}

enum rule_pattern_result rule_pattern_search(const struct rule_pattern *pattern, const char *text, size_t size)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int result = 0;

    assert(data != NULL);
    result = pcre2_match(pattern->code, (PCRE2_SPTR)text, size, 0, PCRE2_NO_UTF_CHECK, data, pattern->limits);
    pcre2_match_data_free(data);
    if (result == PCRE2_ERROR_NOMATCH)
        return RULE_PATTERN_DIFFERS;
    return result >= 0 ? RULE_PATTERN_MATCHES : RULE_PATTERN_GAVE_UP;
}
