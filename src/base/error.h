/* Errors as values: what went wrong, as a class that callers branch on and a text that people read. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* Classes of failure. They say what a caller can do about it, not where it happened. */
enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID,         /* the input is wrong; the text names the field and the reason */
    ERROR_NOT_FOUND,       /* the thing named does not exist, or not for this caller */
    ERROR_EXISTS,          /* the thing to be made is there already */
    ERROR_BUSY,            /* held by somebody else; trying again may help */
    ERROR_FULL,            /* a bound was reached; trying again later may help */
    ERROR_UNAVAILABLE,     /* the other side is away; nothing was done */
    ERROR_RESULT_UNKNOWN,  /* a write was sent and its result could not be learnt */
    ERROR_DEADLINE,        /* out of time; nothing was done */
    ERROR_CANCELLED,       /* the caller has gone */
    ERROR_PERMISSION,      /* the database or the system does not allow it */
    ERROR_FORBIDDEN,       /* this caller may not */
    ERROR_PRECONDITION,    /* things are in a state that does not allow it; somebody has to change that first */
    ERROR_UNAUTHENTICATED, /* who is asking could not be established */
    ERROR_SYSTEM,          /* the operating system refused: files, sockets, memory locks */
    ERROR_DATABASE,        /* the database answered with an error; `sqlstate` says which */
    ERROR_INTERNAL,        /* a bug of ours */
};

enum {
    ERROR_SQLSTATE_SIZE = 6,
    ERROR_TEXT_SIZE = 512,
};

/* A failure. Plain data: copied by assignment, owns nothing, safe to move between threads.
 * The text is lower case, without a full stop, and never holds personal data or connection strings. */
struct error {
    enum error_code code;
    char sqlstate[ERROR_SQLSTATE_SIZE]; /* five characters, or "" where no database answered */
    int32_t retry_after_ms;     /* of ERROR_FULL: when trying again may help; 0: nobody knows; -1: it does not */
    char text[ERROR_TEXT_SIZE]; /* UTF-8, cut on a code point when too long */
};

/* Fills `reterr_error` (may be NULL: the failure is then dropped) and returns false, so that a failing function can
 * `return error_set(...)`. `format` is printf's; its arguments may lie in `reterr_error` itself. Any thread. */
bool error_set(struct error *reterr_error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the SQLSTATE that the database gave (five characters; anything else is kept as ""). */
bool error_set_sql(struct error *reterr_error, enum error_code code, const char *sqlstate, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a bound that was reached (ERROR_FULL), with the time after which trying again may help. */
bool error_set_full(struct error *reterr_error, int32_t retry_after_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " in front of the text of a failure that is passed on; does nothing with NULL. Returns false. */
bool error_add_context(struct error *reterr_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code's name in lower case ("not_found"), for logs. Static storage; never NULL. */
const char *error_code_name(enum error_code code);

/* True for a failure that repeating the whole transaction can cure: SQLSTATE 40001 (serialization failure) and 40P01
 * (deadlock detected), PostgreSQL manual, appendix A and section 13.5. */
bool error_is_transaction_retryable(const struct error *error);

#endif
