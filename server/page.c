#include "page.h"

bool page_size_read(int32_t page_size, int *ret_size, struct error *reterr_error)
{
    if (page_size < 0 || page_size > PAGE_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "page_size: must be from 1 to %d, or 0 for %d", PAGE_SIZE_MAX,
            PAGE_SIZE_DEFAULT);
    *ret_size = page_size == 0 ? PAGE_SIZE_DEFAULT : page_size;
    return true;
}

bool page_read(
    struct page *page, int32_t page_size, const char *page_token, const char *list, struct error *reterr_error)
{
    page->list = list;
    page->has_place = page_token[0] != '\0';
    return page_size_read(page_size, &page->size, reterr_error) &&
           (!page->has_place || page_token_read(page_token, list, &page->place, reterr_error));
}

void page_add_params(const struct page *page, struct pg_params *params)
{
    if (page->has_place) {
        pg_params_add_int8(params, page->place.time_us);
        pg_params_add_uuid(params, &page->place.id);
    } else {
        pg_params_add_null(params);
        pg_params_add_null(params);
    }
    pg_params_add_int4(params, page->size + 1);
}

char *page_next(const struct page *page, const struct page_place *last, struct arena *arena)
{
    return page_token_write(last, page->list, arena_alloc(arena, PAGE_TOKEN_SIZE));
}
