#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Text that was cut by snprintf() must not end inside a code point. */
static void cut_text(char text[ERROR_TEXT_SIZE], int wanted)
{
    if (wanted >= ERROR_TEXT_SIZE)
        text[utf8_cut(text, ERROR_TEXT_SIZE - 1)] = '\0';
}

static void fill(struct error *error, enum error_code code, const char *sqlstate, const char *format, va_list arguments)
{
    char text[ERROR_TEXT_SIZE] = ""; /* the arguments may lie in the error that is overwritten */

    cut_text(text, vsnprintf(text, sizeof(text), format, arguments));
    memcpy(error->text, text, sizeof(text));
    error->code = code;
    error->retry_after_ms = 0;
    if (sqlstate != NULL && strlen(sqlstate) == ERROR_SQLSTATE_SIZE - 1)
        memmove(error->sqlstate, sqlstate, ERROR_SQLSTATE_SIZE);
    else
        error->sqlstate[0] = '\0';
}

bool error_set(struct error *reterr_error, enum error_code code, const char *format, ...)
{
    va_list arguments;

    if (reterr_error == NULL)
        return false;
    va_start(arguments, format);
    fill(reterr_error, code, NULL, format, arguments);
    va_end(arguments);
    return false;
}

bool error_set_sql(struct error *reterr_error, enum error_code code, const char *sqlstate, const char *format, ...)
{
    va_list arguments;

    if (reterr_error == NULL)
        return false;
    va_start(arguments, format);
    fill(reterr_error, code, sqlstate, format, arguments);
    va_end(arguments);
    return false;
}

bool error_set_full(struct error *reterr_error, int32_t retry_after_ms, const char *format, ...)
{
    va_list arguments;

    if (reterr_error == NULL)
        return false;
    va_start(arguments, format);
    fill(reterr_error, ERROR_FULL, NULL, format, arguments);
    va_end(arguments);
    reterr_error->retry_after_ms = retry_after_ms;
    return false;
}

bool error_add_context(struct error *reterr_error, const char *format, ...)
{
    char context[ERROR_TEXT_SIZE];
    char text[ERROR_TEXT_SIZE];
    va_list arguments;

    if (reterr_error == NULL)
        return false;
    va_start(arguments, format);
    cut_text(context, vsnprintf(context, sizeof(context), format, arguments));
    va_end(arguments);
    memcpy(text, reterr_error->text, sizeof(text));
    int wanted = snprintf(reterr_error->text, sizeof(reterr_error->text), "%s: %s", context, text);
    cut_text(reterr_error->text, wanted);
    return false;
}

const char *error_code_name(enum error_code code)
{
    switch (code) {
    case ERROR_NONE:
        return "none";
    case ERROR_INVALID:
        return "invalid";
    case ERROR_NOT_FOUND:
        return "not_found";
    case ERROR_EXISTS:
        return "exists";
    case ERROR_BUSY:
        return "busy";
    case ERROR_FULL:
        return "full";
    case ERROR_UNAVAILABLE:
        return "unavailable";
    case ERROR_RESULT_UNKNOWN:
        return "result_unknown";
    case ERROR_DEADLINE:
        return "deadline";
    case ERROR_CANCELLED:
        return "cancelled";
    case ERROR_PERMISSION:
        return "permission";
    case ERROR_FORBIDDEN:
        return "forbidden";
    case ERROR_PRECONDITION:
        return "precondition";
    case ERROR_UNAUTHENTICATED:
        return "unauthenticated";
    case ERROR_SYSTEM:
        return "system";
    case ERROR_DATABASE:
        return "database";
    case ERROR_INTERNAL:
        return "internal";
    }
    return "internal";
}

bool error_is_transaction_retryable(const struct error *error)
{
    return strcmp(error->sqlstate, "40001") == 0 || strcmp(error->sqlstate, "40P01") == 0;
}
