#include "base/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

void secret_wipe(void *bytes, size_t size)
{
    if (bytes != NULL)
        explicit_bzero(bytes, size);
    free(bytes);
}

void secret_file_wipe(struct secret_file *file)
{
    secret_wipe(file->text, file->size);
    *file = (struct secret_file){0};
}

/* Reads all of an open file, or one byte more than is allowed; -1 with errno. The buffer is never moved: moving leaves a copy. */
static ssize_t read_all(int descriptor, char *text)
{
    size_t size = 0;
    ssize_t got = 1;

    while (got != 0 && size <= SECRET_FILE_SIZE_MAX) {
        got = read(descriptor, text + size, SECRET_FILE_SIZE_MAX + 1 - size);
        if (got < 0 && errno != EINTR)
            return -1;
        if (got > 0)
            size += (size_t)got;
    }
    return (ssize_t)size;
}

/* The content of an open regular file, whose length may change meanwhile. */
static bool take_content(int descriptor, const char *path, struct secret_file *file, struct error *reterr_error)
{
    char *text = memory_new(SECRET_FILE_SIZE_MAX + 2);
    ssize_t size = read_all(descriptor, text);
    bool ok = size >= 0 && size <= SECRET_FILE_SIZE_MAX;

    if (size < 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not read %s: %s", path, strerror(errno));
    else if (!ok)
        error_set(reterr_error, ERROR_INVALID, "%s is larger than %d bytes", path, SECRET_FILE_SIZE_MAX);
    if (ok) {
        file->size = (size_t)size;
        file->text = memory_new(file->size + 1);
        memcpy(file->text, text, file->size);
    }
    secret_wipe(text, size > 0 ? (size_t)size : 0);
    return ok;
}

bool secret_file_read(const char *path, struct secret_file *ret_file, struct error *reterr_error)
{
    /* Non-blocking: a pipe by that name must not hang the program. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct secret_file file = {0};
    struct stat status;
    bool ok = false;

    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not open %s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        error_set(reterr_error, ERROR_INVALID, "%s is not a file", path);
    else
        ok = take_content(descriptor, path, &file, reterr_error);
    if (ok) {
        file.is_open_to_all = (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
        *ret_file = file;
    }
    if (descriptor >= 0)
        close(descriptor);
    return ok;
}

bool secret_file_check(const struct secret_file *file, const char *path, struct error *reterr_error)
{
    if (!file->is_open_to_all)
        return true;
    return error_set(reterr_error, ERROR_INVALID,
        "%s holds a secret and is open to everybody on this machine: take that away (chmod o-rwx)", path);
}

bool secret_file_read_word(const char *path, struct secret_file *ret_file, struct error *reterr_error)
{
    struct secret_file file = {0};
    bool ok = secret_file_read(path, &file, reterr_error) && secret_file_check(&file, path, reterr_error);

    if (ok) {
        file.text[strcspn(file.text, " \t\r\n")] = '\0';
        ok = file.text[0] != '\0' || error_set(reterr_error, ERROR_INVALID, "no token in %s", path);
    }
    if (ok)
        *ret_file = file;
    else
        secret_file_wipe(&file);
    return ok;
}
