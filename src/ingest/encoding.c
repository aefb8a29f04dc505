#include "ingest/encoding.h"

#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/utf8.h"

enum {
    DETECT_PAIRS_MAX = 512, /* of bytes that are looked at for UTF-16 without a mark */
    CONTROLS_SHARE = 10,    /* one byte in so many may be a control character */
    ASCII_END = 0x80,
    REPLACEMENT = 0xFFFD,
    SURROGATE_HIGH = 0xD800,
    SURROGATE_LOW = 0xDC00,
    SURROGATE_END = 0xE000,
};

static const struct {
    const char *name;
    enum ingest_encoding encoding;
} names[] = {
    {"utf-8", INGEST_ENCODING_UTF_8},
    {"utf-16le", INGEST_ENCODING_UTF_16_LE},
    {"utf-16be", INGEST_ENCODING_UTF_16_BE},
    {"windows-1252", INGEST_ENCODING_WINDOWS_1252},
    {"auto", INGEST_ENCODING_DETECT},
    {"utf8", INGEST_ENCODING_UTF_8},
    {"latin-1", INGEST_ENCODING_WINDOWS_1252},
    {"latin1", INGEST_ENCODING_WINDOWS_1252},
    {"iso-8859-1", INGEST_ENCODING_WINDOWS_1252},
    {"cp1252", INGEST_ENCODING_WINDOWS_1252},
};

/* What people send in place of a text file, by its first bytes. */
static const struct {
    const char *magic;
    size_t size;
    const char *what;
} others[] = {
    {"PK\x03\x04", 4, "a ZIP archive, perhaps a workbook of a spreadsheet: save it as CSV"},
    {"\xD0\xCF\x11\xE0", 4, "a workbook of an old spreadsheet: save it as CSV"},
    {"\x1F\x8B", 2, "compressed with gzip: unpack it first"},
    {"\x28\xB5\x2F\xFD", 4, "compressed with zstd: unpack it first"},
    {"BZh", 3, "compressed with bzip2: unpack it first"},
    {"\xFD"
     "7zXZ",
        5, "compressed with xz: unpack it first"},
    {"%PDF", 4, "a PDF document"},
    {"\x89PNG", 4, "a picture"},
    {"\xFF\xD8\xFF", 3, "a picture"},
    {"SQLite format 3", 15, "a database of SQLite"},
    {"\x7F"
     "ELF",
        4, "a program"},
    {"PAR1", 4, "a Parquet file"},
    {"\xFF\xFE\0\0", 4, "in UTF-32: save it as UTF-8"},
    {"\0\0\xFE\xFF", 4, "in UTF-32: save it as UTF-8"},
};

/* Windows-1252 where it is not ISO 8859-1: bytes 80 to 9F; 0 where there is no character. */
static const uint16_t windows_1252[] = {0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030,
    0x0160, 0x2039, 0x0152, 0, 0x017D, 0, //
    0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E,
    0x0178};

const char *ingest_encoding_name(enum ingest_encoding encoding)
{
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].encoding == encoding)
            return names[i].name;
    return "unknown";
}

bool ingest_encoding_find(const char *name, enum ingest_encoding *ret_encoding)
{
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcasecmp(names[i].name, name) == 0) {
            *ret_encoding = names[i].encoding;
            return true;
        }
    return false;
}

/* --- Detecting ---------------------------------------------------------------------------------------------------- */

/* A control character that no text has; Ctrl-Z ends files of old systems, escape and form feed are harmless. */
static bool is_control(uint8_t byte)
{
    return byte < ' ' && byte != '\t' && byte != '\n' && byte != '\r' && byte != '\f' && byte != '\v' && byte != 0x1A &&
           byte != 0x1B;
}

/* UTF-16 without a mark: the first characters of a file of leads are ASCII, so one byte of each pair is zero. */
static enum ingest_encoding detect_utf_16(const uint8_t *head, size_t size)
{
    size_t pairs = size / 2 < DETECT_PAIRS_MAX ? size / 2 : DETECT_PAIRS_MAX;
    size_t low_first = 0;
    size_t high_first = 0;

    for (size_t i = 0; i < pairs; i++) {
        low_first += head[2 * i] != 0 && head[2 * i + 1] == 0;
        high_first += head[2 * i] == 0 && head[2 * i + 1] != 0;
    }
    if (pairs > 1 && low_first * 10 >= pairs * 7 && high_first == 0)
        return INGEST_ENCODING_UTF_16_LE;
    if (pairs > 1 && high_first * 10 >= pairs * 7 && low_first == 0)
        return INGEST_ENCODING_UTF_16_BE;
    return INGEST_ENCODING_DETECT;
}

static bool refuse_binary(const uint8_t *head, size_t size, struct error *reterr_error)
{
    const uint8_t *line_end = memchr(head, '\n', size);
    size_t line_size = line_end == NULL ? size : (size_t)(line_end - head);
    size_t controls = 0;

    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (size >= others[i].size && memcmp(head, others[i].magic, others[i].size) == 0)
            return error_set(reterr_error, ERROR_INVALID, "is no text but %s", others[i].what);
    for (size_t i = 0; i < size; i++) {
        if (!is_control(head[i]))
            continue;
        controls++;
        if (i < line_size)
            return error_set(reterr_error, ERROR_INVALID,
                "is a binary file, not text: byte %02X in its first line, at offset %zu", head[i], i);
    }
    if (controls * CONTROLS_SHARE > size)
        return error_set(reterr_error, ERROR_INVALID,
            "is a binary file, not text: %zu of its first %zu bytes are control characters", controls, size);
    return true;
}

/* UTF-8 unless it holds more of what UTF-8 is not than of its characters. A character that the head cuts off counts as neither. */
static void detect_8_bit(const uint8_t *head, size_t size, struct decoder *decoder)
{
    const char *text = (const char *)head;

    size = size == INGEST_HEAD_SIZE ? utf8_cut(text, size) : size;
    for (size_t at = 0; at < size; at++) {
        size_t valid = size - at;
        bool is_valid = utf8_is_valid(text + at, size - at, &valid);
        for (size_t i = at; i < at + valid; i++)
            decoder->utf8_count += head[i] >= 0xC0;
        at += valid;
        if (!is_valid && decoder->other_count++ == 0)
            decoder->other_offset = at;
    }
    decoder->is_certain = decoder->other_count > 0 || decoder->utf8_count > 0;
    decoder->encoding =
        decoder->other_count > decoder->utf8_count ? INGEST_ENCODING_WINDOWS_1252 : INGEST_ENCODING_UTF_8;
}

bool encoding_detect(
    const uint8_t *head, size_t size, struct decoder *ret_decoder, size_t *ret_skip, struct error *reterr_error)
{
    struct decoder decoder = {.is_certain = true};
    size_t skip = 0;

    if (size >= 4 && (memcmp(head, "\xFF\xFE\0\0", 4) == 0 || memcmp(head, "\0\0\xFE\xFF", 4) == 0))
        return refuse_binary(head, size, reterr_error);
    if (size >= 3 && memcmp(head, "\xEF\xBB\xBF", 3) == 0) {
        decoder.encoding = INGEST_ENCODING_UTF_8;
        skip = 3;
    } else if (size >= 2 && memcmp(head, "\xFF\xFE", 2) == 0) {
        decoder.encoding = INGEST_ENCODING_UTF_16_LE;
        skip = 2;
    } else if (size >= 2 && memcmp(head, "\xFE\xFF", 2) == 0) {
        decoder.encoding = INGEST_ENCODING_UTF_16_BE;
        skip = 2;
    } else {
        decoder.encoding = detect_utf_16(head, size);
    }
    if (decoder.encoding == INGEST_ENCODING_DETECT || decoder.encoding == INGEST_ENCODING_UTF_8) {
        if (!refuse_binary(head + skip, size - skip, reterr_error))
            return false;
        if (decoder.encoding == INGEST_ENCODING_DETECT)
            detect_8_bit(head, size, &decoder);
    }
    *ret_decoder = decoder;
    *ret_skip = skip;
    return true;
}

/* --- Decoding ----------------------------------------------------------------------------------------------------- */

static void put(struct decoded *decoded, uint32_t code_point)
{
    char *bytes = decoded->bytes + decoded->size;

    if (code_point < 0x80) {
        bytes[0] = (char)code_point;
        decoded->size += 1;
    } else if (code_point < 0x800) {
        bytes[0] = (char)(0xC0 | code_point >> 6);
        bytes[1] = (char)(0x80 | (code_point & 0x3F));
        decoded->size += 2;
    } else if (code_point < 0x10000) {
        bytes[0] = (char)(0xE0 | code_point >> 12);
        bytes[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (code_point & 0x3F));
        decoded->size += 3;
    } else {
        bytes[0] = (char)(0xF0 | code_point >> 18);
        bytes[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
        bytes[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
        bytes[3] = (char)(0x80 | (code_point & 0x3F));
        decoded->size += 4;
    }
}

static void put_fault(struct decoder *decoder, uint64_t offset, struct decoded *decoded)
{
    if (!decoder->is_faulty)
        decoder->fault_offset = offset;
    decoder->is_faulty = true;
    put(decoded, REPLACEMENT);
}

/* How many bytes the UTF-8 sequence has that begins so; 0 when none does. */
static size_t utf8_sequence_size(uint8_t lead)
{
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* False for what cannot become UTF-8 any more (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static bool utf8_may_follow(const struct decoder *decoder, uint8_t byte)
{
    uint8_t lead = decoder->pending[0];

    if (decoder->pending_size > 1)
        return byte >= 0x80 && byte <= 0xBF;
    return byte >= (lead == 0xE0      ? 0xA0
                       : lead == 0xF0 ? 0x90
                                      : 0x80) &&
           byte <= (lead == 0xED      ? 0x9F
                       : lead == 0xF4 ? 0x8F
                                      : 0xBF);
}

/* Follows what the bytes would be in UTF-8; false when that is more often right than wrong, and Windows-1252 was only a conclusion. */
static bool doubt_windows_1252(struct decoder *decoder, uint64_t offset, uint8_t byte, struct error *reterr_error)
{
    bool goes_on = byte >= 0x80 && byte <= 0xBF;

    if (offset < INGEST_HEAD_SIZE) /* counted when the encoding was found out */
        return true;
    if (decoder->utf8_expected > 0 && goes_on) {
        decoder->utf8_expected--;
        decoder->utf8_count += decoder->utf8_expected == 0;
    } else if (decoder->utf8_expected > 0 || byte >= ASCII_END) {
        decoder->other_count += decoder->utf8_expected > 0 || utf8_sequence_size(byte) == 0;
        decoder->utf8_expected = utf8_sequence_size(byte) > 0 ? (unsigned)utf8_sequence_size(byte) - 1 : 0;
    }
    return decoder->is_named || decoder->utf8_count <= decoder->other_count ||
           error_set(reterr_error, ERROR_INVALID,
               "byte %llu is not UTF-8, but since then most is, as at byte %llu; name the encoding to have it read all "
               "the same",
               (unsigned long long)decoder->other_offset, (unsigned long long)offset);
}

static bool take_windows_1252(
    struct decoder *decoder, uint64_t offset, uint8_t byte, struct decoded *decoded, struct error *reterr_error)
{
    uint32_t code_point = byte >= 0x80 && byte < 0xA0 ? windows_1252[byte - 0x80] : byte;

    if (!doubt_windows_1252(decoder, offset, byte, reterr_error))
        return false;
    if (code_point == 0 && byte != 0)
        put_fault(decoder, offset, decoded);
    else
        put(decoded, code_point);
    return true;
}

/* What is pending does not fit: the file is in Windows-1252 if nothing speaks for UTF-8 yet, otherwise it is a fault of this place. */
static bool give_up_pending(struct decoder *decoder, struct decoded *decoded, struct error *reterr_error)
{
    size_t size = decoder->pending_size;
    bool ok = true;

    decoder->pending_size = 0;
    if (decoder->is_certain) {
        put_fault(decoder, decoder->pending_offset, decoded);
        return true;
    }
    decoder->encoding = INGEST_ENCODING_WINDOWS_1252;
    decoder->is_certain = true;
    decoder->other_offset = decoder->pending_offset;
    for (size_t i = 0; ok && i < size; i++)
        ok = take_windows_1252(decoder, decoder->pending_offset + i, decoder->pending[i], decoded, reterr_error);
    return ok;
}

static bool take_utf_8(struct decoder *decoder, uint8_t byte, struct decoded *decoded, struct error *reterr_error)
{
    uint64_t offset = decoder->offset - 1;

    if (decoder->pending_size > 0 && !utf8_may_follow(decoder, byte)) {
        if (!give_up_pending(decoder, decoded, reterr_error))
            return false;
        if (decoder->encoding == INGEST_ENCODING_WINDOWS_1252)
            return take_windows_1252(decoder, offset, byte, decoded, reterr_error);
    }
    if (decoder->pending_size == 0) {
        if (byte < ASCII_END) {
            put(decoded, byte);
            return true;
        }
        decoder->pending_offset = offset;
        decoder->pending[decoder->pending_size++] = byte;
        return utf8_sequence_size(byte) > 0 || give_up_pending(decoder, decoded, reterr_error);
    }
    decoder->pending[decoder->pending_size++] = byte;
    if (decoder->pending_size == utf8_sequence_size(decoder->pending[0])) {
        memcpy(decoded->bytes + decoded->size, decoder->pending, decoder->pending_size);
        decoded->size += decoder->pending_size;
        decoder->pending_size = 0;
        decoder->is_certain = true;
    }
    return true;
}

static uint32_t utf_16_unit(const struct decoder *decoder, size_t at)
{
    uint8_t first = decoder->pending[at];
    uint8_t second = decoder->pending[at + 1];

    return decoder->encoding == INGEST_ENCODING_UTF_16_BE ? (uint32_t)first << 8 | second
                                                          : (uint32_t)second << 8 | first;
}

static bool is_high_surrogate(uint32_t unit)
{
    return unit >= SURROGATE_HIGH && unit < SURROGATE_LOW;
}

static bool is_low_surrogate(uint32_t unit)
{
    return unit >= SURROGATE_LOW && unit < SURROGATE_END;
}

static void take_utf_16(struct decoder *decoder, uint8_t byte, struct decoded *decoded)
{
    if (decoder->pending_size == 0)
        decoder->pending_offset = decoder->offset - 1;
    decoder->pending[decoder->pending_size++] = byte;
    if (decoder->pending_size % 2 != 0)
        return;
    uint32_t unit = utf_16_unit(decoder, decoder->pending_size - 2);
    if (decoder->pending_size == 4) {
        uint32_t high = utf_16_unit(decoder, 0);
        decoder->pending_size = 0;
        if (is_low_surrogate(unit)) {
            put(decoded, 0x10000 + ((high - SURROGATE_HIGH) << 10) + (unit - SURROGATE_LOW));
            return;
        }
        put_fault(decoder, decoder->pending_offset, decoded);
        if (is_high_surrogate(unit)) { /* may have its other half yet */
            decoder->pending_offset += 2;
            memmove(decoder->pending, decoder->pending + 2, 2);
            decoder->pending_size = 2;
            return;
        }
        put(decoded, unit);
        return;
    }
    if (is_high_surrogate(unit))
        return;
    decoder->pending_size = 0;
    if (is_low_surrogate(unit))
        put_fault(decoder, decoder->pending_offset, decoded);
    else
        put(decoded, unit);
}

bool decoder_take(struct decoder *decoder, uint8_t byte, struct decoded *ret_decoded, struct error *reterr_error)
{
    ret_decoded->size = 0;
    decoder->offset++;
    switch (decoder->encoding) {
    case INGEST_ENCODING_UTF_16_LE:
    case INGEST_ENCODING_UTF_16_BE:
        take_utf_16(decoder, byte, ret_decoded);
        return true;
    case INGEST_ENCODING_WINDOWS_1252:
        return take_windows_1252(decoder, decoder->offset - 1, byte, ret_decoded, reterr_error);
    case INGEST_ENCODING_UTF_8:
    case INGEST_ENCODING_DETECT:
        break;
    }
    return take_utf_8(decoder, byte, ret_decoded, reterr_error);
}

void decoder_finish(struct decoder *decoder, struct decoded *ret_decoded)
{
    ret_decoded->size = 0;
    if (decoder->pending_size == 0)
        return;
    if (decoder->encoding == INGEST_ENCODING_UTF_8) {
        (void)give_up_pending(decoder, ret_decoded, NULL);
    } else {
        decoder->pending_size = 0;
        put_fault(decoder, decoder->pending_offset, ret_decoded);
    }
}

size_t decoder_run(const struct decoder *decoder, const uint8_t *bytes, size_t size)
{
    size_t run = 0;

    if (decoder->pending_size > 0 || decoder->encoding == INGEST_ENCODING_UTF_16_LE ||
        decoder->encoding == INGEST_ENCODING_UTF_16_BE || decoder->utf8_expected > 0)
        return 0;
    while (run < size && bytes[run] < ASCII_END && bytes[run] != '\n' && bytes[run] != '\r')
        run++;
    return run;
}

void decoder_skip(struct decoder *decoder, size_t size)
{
    decoder->offset += size;
}

uint64_t decoder_position(const struct decoder *decoder)
{
    return decoder->pending_size > 0 ? decoder->pending_offset : decoder->offset;
}
