#include "roff.h"

#include <stdbool.h>
#include <utf8proc.h>

void roff_put(FILE *output, const char *text)
{
    bool is_line_start = true;

    while (*text != '\0') {
        unsigned char c = (unsigned char)*text;
        utf8proc_int32_t code_point = c;
        utf8proc_ssize_t size = c < 0x80 ? 1 : utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code_point);
        if (is_line_start && (c == '.' || c == '\''))
            fputs("\\&", output);
        is_line_start = c == '\n';
        if (code_point == 0xa0)
            fputs("\\ ", output);
        else if (code_point >= 0x80)
            fprintf(output, "\\[u%04X]", (unsigned)code_point);
        else if (c == '\\')
            fputs("\\e", output);
        else if (c == '-')
            fputs("\\-", output);
        else if (c == '\n' && text[1] == '\n')
            fputs("\n.PP", output);
        else
            fputc(c, output);
        text += size > 0 ? size : 1;
    }
}

void roff_put_flag(FILE *output, const char *name, const char *placeholder)
{
    fputs(".TP\n.B \\-\\-", output);
    roff_put(output, name);
    if (placeholder != NULL) {
        fputs(" \\fI", output);
        roff_put(output, placeholder);
        fputs("\\fR", output);
    }
    fputc('\n', output);
}
