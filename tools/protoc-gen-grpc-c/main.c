/* protoc-gen-grpc-c: a plugin of protoc that writes gRPC stubs in C (tools/protoc-gen-grpc-c/README.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"

enum { EXIT_OPERATION = 1, EXIT_USAGE = 2, CHUNK_SIZE = 65536, SIZE_MAX_BYTES = 256 * 1024 * 1024 };

static const char usage[] = "usage: protoc --grpc-c_out=DIR FILE.proto...\n"
                            "       protoc-gen-grpc-c --without-services SET_IN SET_OUT\n"
                            "As a plugin of protoc, writes FILE.grpc.h and FILE.grpc.c for each file with a service.\n"
                            "--without-services copies a descriptor set (protoc --descriptor_set_out) without its "
                            "services, for protoc-c.\n";

static bool read_all(FILE *input, const char *name, struct buffer *out, struct error *reterr_error)
{
    uint8_t chunk[CHUNK_SIZE];

    for (;;) {
        size_t size = fread(chunk, 1, sizeof(chunk), input);

        if (!buffer_append(out, chunk, size))
            return error_set(reterr_error, ERROR_FULL, "%s has more than %d bytes", name, SIZE_MAX_BYTES);
        if (size == 0)
            break;
    }
    if (ferror(input))
        return error_set(reterr_error, ERROR_SYSTEM, "could not read %s: %s", name, strerror(errno));
    return true;
}

static bool write_all(FILE *output, const char *name, const struct buffer *bytes, struct error *reterr_error)
{
    if (fwrite(bytes->data, 1, bytes->size, output) != bytes->size || fflush(output) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", name, strerror(errno));
    return true;
}

static bool run_plugin(struct buffer *input, struct buffer *output, struct error *reterr_error)
{
    return read_all(stdin, "standard input", input, reterr_error) &&
           generate_stubs(input->data, input->size, output, reterr_error) &&
           write_all(stdout, "standard output", output, reterr_error);
}

static bool run_without_services(const char *input_path, const char *output_path, struct buffer *input,
    struct buffer *output, struct error *reterr_error)
{
    FILE *from = fopen(input_path, "rb");
    FILE *to = NULL;
    bool ok = false;

    if (from == NULL) {
        error_set(reterr_error, ERROR_SYSTEM, "could not open %s: %s", input_path, strerror(errno));
        goto cleanup;
    }
    if (!read_all(from, input_path, input, reterr_error))
        goto cleanup;
    if (!generate_set_without_services(input->data, input->size, output, reterr_error)) {
        error_add_context(reterr_error, "%s", input_path);
        goto cleanup;
    }
    to = fopen(output_path, "wb");
    if (to == NULL) {
        error_set(reterr_error, ERROR_SYSTEM, "could not create %s: %s", output_path, strerror(errno));
        goto cleanup;
    }
    ok = write_all(to, output_path, output, reterr_error);

cleanup:
    if (to != NULL && fclose(to) != 0 && ok)
        ok = error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", output_path, strerror(errno));
    if (from != NULL)
        fclose(from);
    return ok;
}

int main(int argc, char **argv)
{
    struct buffer input = {0};
    struct buffer output = {0};
    struct error error = {0};
    bool ok = false;

    buffer_init(&input, SIZE_MAX_BYTES);
    buffer_init(&output, SIZE_MAX_BYTES);
    if (argc == 1) {
        ok = run_plugin(&input, &output, &error);
    } else if (argc == 4 && strcmp(argv[1], "--without-services") == 0) {
        ok = run_without_services(argv[2], argv[3], &input, &output, &error);
    } else {
        bool is_asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, is_asked ? stdout : stderr);
        return is_asked ? EXIT_SUCCESS : EXIT_USAGE;
    }
    if (!ok)
        fprintf(stderr, "protoc-gen-grpc-c: %s\n", error.text);
    buffer_release(&input);
    buffer_release(&output);
    return ok ? EXIT_SUCCESS : EXIT_OPERATION;
}
