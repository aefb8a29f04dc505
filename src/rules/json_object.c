#include "rules/json_object.h"

#include <string.h>

json_t *json_object_read(const char *json, size_t size_max, struct error *reterr_error)
{
    json_error_t error = {0};
    size_t size = json == NULL ? 0 : strlen(json);
    if (size > size_max) {
        (void)error_set(reterr_error, ERROR_INVALID, "$: longer than %zu bytes", size_max);
        return NULL;
    }
    json_t *root = json_loadb(json == NULL ? "" : json, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL) {
        /* The parser's own words quote the text. */
        (void)error_set(reterr_error, ERROR_INVALID, "$: not valid JSON%s at byte %d",
            json_error_code(&error) == json_error_duplicate_key ? ": a key is there twice" : "", error.position);
        return NULL;
    }
    if (!json_is_object(root)) {
        (void)error_set(reterr_error, ERROR_INVALID, "$: must be an object");
        json_decref(root);
        return NULL;
    }
    return root;
}
