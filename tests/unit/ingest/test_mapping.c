/* Goal: every word of the mapping language does what docs/mappings.md says, on rows of CSV and of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "ingest/mapping.h"

enum { SHOWN_SIZE_MAX = 1024 * 1024 };

static void show_lead(struct buffer *shown, const struct ingest_lead *lead)
{
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (lead->fields[i][0] != '\0')
            buffer_append_format(shown, "%s=%s;", ingest_field_name(i), lead->fields[i]);
    buffer_append_format(shown, "%s\n", lead->attributes_json);
}

/* The rows of a text by a mapping, one a line: "email=a@b.example;{...}", or "!email: is missing"; or what is wrong with them. */
static char *apply(const char *mapping_text, const char *rows)
{
    struct ingest_mapping *mapping = NULL;
    struct ingest_binding *binding = NULL;
    struct ingest_reader *reader = NULL;
    struct arena *arena = arena_new(0);
    struct buffer shown = {0};
    struct ingest_row row;
    struct ingest_lead lead;
    struct ingest_rejection rejection;
    struct error error = {0};
    enum ingest_step step = INGEST_STEP_MORE;
    bool ok = ingest_mapping_parse(mapping_text, strlen(mapping_text), "mapping", &mapping, &error);

    buffer_init(&shown, SHOWN_SIZE_MAX);
    if (ok) {
        const struct ingest_reader_options options = {.unwrap = ingest_mapping_unwrap(mapping)};
        reader = ingest_reader_new(&options);
        ingest_reader_feed(reader, rows, strlen(rows));
    }
    while (ok && (step = ingest_reader_next(reader, &row, &error)) != INGEST_STEP_END) {
        if (step == INGEST_STEP_MORE)
            ingest_reader_finish(reader);
        else if (step == INGEST_STEP_STARTED)
            ok = ingest_binding_new(mapping, ingest_reader_source(reader), &binding, &error);
        else if (step == INGEST_STEP_FAILED)
            ok = false;
        else if (ingest_binding_apply(binding, &row, arena, &lead, &rejection))
            show_lead(&shown, &lead);
        else
            buffer_append_format(&shown, "!%s: %s\n", rejection.field, rejection.reason);
    }
    if (!ok)
        buffer_append_format(&shown, "!%s", error.text);
    char *text = memory_copy_string(buffer_text(&shown));
    buffer_release(&shown);
    ingest_binding_free(binding);
    ingest_reader_free(reader);
    ingest_mapping_free(mapping);
    arena_free(arena);
    return text;
}

static void check(const char *mapping, const char *rows, const char *expected)
{
    char *shown = apply(mapping, rows);

    assert_string_equal(shown, expected);
    free(shown);
}

/* Goal: names of columns are found as they are, then without case and fillers; one that fits two is refused, one that is not there too. */
static void test_columns(void **state)
{
    (void)state;
    check("fields: {city: First Name, source: E-Mail}", "first_name,email,E-Mail\na,b,c\n", "city=a;source=c;\n");
    check("fields: {source: EMAIL}", "E-Mail,E Mail\na,b\n", "!\"EMAIL\" fits two columns, \"E-Mail\" and \"E Mail\"");
    check("fields: {source: [x, y]}", "a,b\n1,2\n",
        "!source: the file has no column \"x\" nor one of the others; it has a, b");
    check("fields: {source: b}\nattributes: {t: x}", "a,b\n1,2\n", "!t: the file has no column \"x\"; it has a, b");
    check("columns: optional\nfields: {source: x, city: a}", "a,b\n1,2\n", "city=1;\n");
}

/* Goal: the first alternative that is not blank; then the default; a constant always. */
static void test_alternatives(void **state)
{
    (void)state;
    check("blanks: [Select]\nfields:\n  city: [a, b]\n  state: {from: a, default: TX, blanks: none}\n  source: "
          "{constant: s}",
        "a,b\n1,2\n,2\nSELECT,2\nNone,2\n , \n",
        "state=1;city=1;source=s;\nstate=TX;city=2;source=s;\nstate=TX;city=2;source=s;\nstate=TX;city=None;source=s;\n"
        "state=TX;source=s;\n");
}

/* Goal: value maps compare without case; what they do not have is kept, dropped or rejected. */
static void test_values(void **state)
{
    (void)state;
    check("fields: {company_industry: {from: i, values: {real_estate: Real Estate}}, source: i}",
        "i\nREAL_ESTATE\nother\n",
        "company_industry=Real Estate;source=REAL_ESTATE;{\"original\":{\"company_industry\":\"REAL_ESTATE\"}}\n"
        "company_industry=other;source=other;\n");
    check("fields: {source: {from: i, values: {a: A}, otherwise: drop}}", "i\na\nb\n",
        "source=A;{\"original\":{\"source\":\"a\"}}\n\n");
    check("fields: {source: {from: i, values: {a: A}, otherwise: reject}}", "i\na\nb\n",
        "source=A;{\"original\":{\"source\":\"a\"}}\n!source: has a value that the mapping does not know\n");
}

/* Goal: lists in a text: the first or last that is not blank and not flagged; the whole is kept. */
static void test_split(void **state)
{
    (void)state;
    check("fields: {city: {from: a, split: ','}, state: {from: a, split: ',', take: last}}", "a\n\" , x, y ,\"\nz\n",
        "state=y;city=x;{\"original\":{\"state\":\" , x, y ,\",\"city\":\" , x, y ,\"}}\nstate=z;city=z;\n");
    check("fields: {city: {from: a, split: ';', take: last}}",
        "a,b\n1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;"
        "1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;hundred;"
        "more\n",
        "city=hundred;{\"original\":{\"city\":\"1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;"
        "6;7;8;9;0;"
        "1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;"
        "6;7;8;9;"
        "hundred;more\"}}\n");
    check("fields: {phone: [{from: m, split: ',', unless: d}, p]}",
        "m,d,p\n\"5045550101,5045550102\",\"Y,N\",5045550109\n\"5045550101,5045550102\",Y,5045550109\n"
        "5045550101,(504) 555-0101,\n5045550101,no,\n",
        "phone=+15045550102;{\"original\":{\"phone\":\"5045550101,5045550102\"}}\n"
        "phone=+15045550109;{\"original\":{\"phone\":\"5045550109\"}}\n\n"
        "phone=+15045550101;{\"original\":{\"phone\":\"5045550101\"}}\n");
}

/* Goal: the best element of a list by filter and order; without a filter it may be a list of texts. */
static void test_pick(void **state)
{
    static const char mapping[] =
        "fields:\n  phone: {from: p, pick: {where: {t: [1, 3]}, where_not: {dnc: true}, order: [rank, -q], take: n}}\n";

    (void)state;
    check(mapping,
        "{\"p\":[{\"n\":5045550101,\"t\":1,\"dnc\":true,\"rank\":1},{\"n\":5045550102,\"t\":2,\"rank\":1},"
        "{\"n\":5045550103,\"t\":3,\"rank\":2,\"q\":1},{\"n\":5045550104,\"t\":1,\"rank\":2,\"q\":3},{\"n\":5045550105,"
        "\"t\":1}]}\n"
        "{\"p\":{\"n\":5045550106,\"t\":1}}\n{\"p\":[]}\n{\"p\":[{\"t\":1},7]}\n{}\n",
        "phone=+15045550104;{\"original\":{\"phone\":\"5045550104\"}}\n"
        "phone=+15045550106;{\"original\":{\"phone\":\"5045550106\"}}\n\n\n\n");
    check("fields: {source: a, city: {from: b, pick: {}}}\nattributes: {a: a}",
        "{\"a\":[\"\",null,\"x\",\"y\"],\"b\":[\"u\",\"v\"]}\n", "city=u;source=x;{\"a\":[\"\",null,\"x\",\"y\"]}\n");
}

/* Goal: a place may be a text or an object. */
static void test_location(void **state)
{
    static const char mapping[] = "fields:\n  city: {from: l, part: city}\n  state: {from: l, part: state}\n"
                                  "  country: {from: l, part: country}\n  postal_code: {from: l, part: postal_code}\n";

    (void)state;
    check(mapping,
        "{\"l\":\"Austin, Texas, "
        "78701\"}\n{\"l\":{\"City\":\"Ulm\",\"state\":\"Bayern\",\"country\":\"Germany\",\"zip\":89073}}\n",
        "state=TX;city=Austin;postal_code=78701;{\"original\":{\"state\":\"Texas\"}}\n"
        "country=DE;state=Bayern;city=Ulm;postal_code=89073;{\"original\":{\"country\":\"Germany\"}}\n");
}

/* Goal: keys may lie in several places, of which the first wins; paths, positions, keys with dots; case does not count. */
static void test_paths(void **state)
{
    (void)state;
    check("within: [r, e.d]\nfields: {city: NAME, state: only.deep, source: 'l[1].x', company_name: a.b}",
        "{\"r\":{\"name\":\"r\"},\"e\":{\"d\":{\"name\":\"e\",\"only\":{\"Deep\":\"d\"}}},\"l\":[0,{\"X\":\"second\"}],"
        "\"a.b\":\"dot\"}\n"
        "{\"Name\":\"top\",\"r\":{\"name\":\"r\"}}\n",
        "company_name=dot;state=d;city=r;source=second;\ncity=top;\n");
}

/* Goal: what stands once beside many rows is each of theirs, unless they have it themselves; it is nobody's rest, and a row that is the
 * record has nothing beside it. */
static void test_beside(void **state)
{
    (void)state;
    check("unwrap: rows\nbeside: [a, b]\nfields: {city: city, source: s}\nrest: true",
        "{\"rows\":[{\"city\":\"Ulm\"},{\"x\":1},{\"s\":\"own\"}],\"a\":{\"city\":\"Bonn\",\"y\":2},\"b\":{\"city\":"
        "\"Kiel\",\"S\":\"b\"}}\n"
        "{\"a\":{\"city\":\"Bonn\"},\"x\":3}\n",
        "city=Ulm;source=b;\ncity=Bonn;source=b;{\"x\":1}\ncity=Bonn;source=own;\n{\"a\":{\"city\":\"Bonn\"},\"x\":3}"
        "\n");
}

/* Goal: what no field has taken as a whole is kept, under a key or beside; what was taken is not there twice; blanks are not kept. */
static void test_rest(void **state)
{
    (void)state;
    check("fields: {city: a}\nrest: {under: r}", "a,b,c\n1,2,\n1,,\n", "city=1;{\"r\":{\"b\":\"2\"}}\ncity=1;\n");
    check("fields: {city: a}\nattributes: {b: c}\nrest: true", "a,b,c,original\n1,2,3,4\n",
        "city=1;{\"b\":\"3\",\"b (rest)\":\"2\",\"original (rest)\":\"4\"}\n");
    check("fields: {city: a}\nattributes: {b: c}\nrest: true", "a,b,c,b (rest)\n1,2,3,4\n",
        "city=1;{\"b\":\"3\",\"b (rest) (rest)\":\"2\",\"b (rest)\":\"4\"}\n");
    check("fields: {city: [a, b]}\nrest: true", "a,b\n1,2\n,2\n", "city=1;{\"b\":\"2\"}\ncity=2;\n");
    check("fields: {city: p.a, first_name: {from: n, part: first_name}}\nrest: true",
        "{\"p\":{\"a\":\"x\",\"b\":0.10},\"n\":\"Ann Lee\",\"z\":null,\"e\":{}}\n{\"p\":{\"a\":\"x\"}}\n",
        "first_name=Ann;city=x;{\"p\":{\"b\":0.10},\"n\":\"Ann Lee\"}\ncity=x;\n");
    check("fields: {city: a}", "a,b\n1,2\n", "city=1;\n");
}

/* Goal: types of attributes; JSON stays what it was unless one is named. */
static void test_types(void **state)
{
    (void)state;
    check("columns: optional\nfields: {city: c}\nattributes: {n: {from: n, type: number}, b: {from: b, type: boolean}, "
          "t: {from: t, type: text}, d: {from: none, default: 50, type: number}}",
        "n,b,t\n1.50,Yes,7\nabc,maybe,x\n01,0,x\n",
        "{\"n\":1.50,\"b\":true,\"t\":\"7\",\"d\":50}\n{\"n\":\"abc\",\"b\":\"maybe\",\"t\":\"x\",\"d\":50}\n"
        "{\"n\":\"01\",\"b\":false,\"t\":\"x\",\"d\":50}\n");
    check("fields: {city: c}\nattributes: {n: n, t: {from: n, type: text}}", "{\"n\":12345678901234567890123}\n",
        "{\"n\":12345678901234567890123,\"t\":\"12345678901234567890123\"}\n");
}

/* Goal: what is no e-mail address rejects the row and what is no phone number is dropped, unless the mapping says otherwise; what came is
 * kept. */
static void test_invalid(void **state)
{
    (void)state;
    check("fields: {email: e, phone: p}", "e,p\nx,5045550101\na@b.example,call me\n",
        "!email: is not an e-mail address\nemail=a@b.example;{\"original\":{\"phone\":\"call me\"}}\n");
    check("fields: {email: {from: e, invalid: drop}, phone: {from: p, invalid: reject}}",
        "e,p\nx,5045550101\na@b.example,call me\n",
        "phone=+15045550101;{\"original\":{\"email\":\"x\",\"phone\":\"5045550101\"}}\n!phone: is not a phone "
        "number\n");
    check("fields: {email: {from: e, invalid: keep}}", "e\n x \n", "email=x;\n");
}

/* Goal: required fields, one of several too. */
static void test_required(void **state)
{
    (void)state;
    check("fields: {email: e, city: c, source: s}\nrequired: [city, [email, source]]",
        "e,c,s\n,x,y\n,,y\na@b.example,x,\n,x,\n",
        "city=x;source=y;\n!city: is missing\nemail=a@b.example;city=x;\n!email: one of these must be there: email, "
        "source\n");
}

/* Goal: fields and attributes have the bounds that the service has. */
static void test_bounds(void **state)
{
    char *rows = memory_new(200000);
    char *shown = NULL;

    (void)state;
    (void)snprintf(rows, 200000, "{\"c\":\"%01000d\"}\n{\"c\":\"%01001d\"}\n{\"a\":\"%070000d\"}\n", 0, 0, 0);
    shown = apply("fields: {city: c}\nattributes: {a: a}", rows);
    assert_true(strncmp(shown, "city=0000", 9) == 0);
    assert_non_null(strstr(shown, ";\n!city: longer than 1000 bytes\n!attributes: longer than 65536 bytes\n"));
    free(shown);
    free(rows);
}

/* Goal: a cell of half a million combining marks, which would take hours to put in order, is refused or kept at once, wherever it is looked
 * at. */
static void test_marks(void **state)
{
    enum { MARKS = 400000 };
    char *rows = memory_new(2 * MARKS + 100);
    size_t size = (size_t)snprintf(rows, 100, "a,b\n");

    (void)state;
    for (size_t i = 0; i < MARKS; i++)
        memcpy(rows + size + 2 * i, i % 2 == 0 ? "\xCC\x81" : "\xCC\x96", 2);
    memcpy(rows + size + 2 * MARKS, "\n", 2);
    check("fields: {city: a}", rows, "!city: longer than 1000 bytes\n");
    check("blanks: [x]\nfields: {city: {from: a, split: ','}}", rows, "!city: longer than 1000 bytes\n");
    check("fields: {city: {from: a, values: {x: y}, otherwise: drop}, state: {from: a, part: state}}", rows, "\n");
    check("fields: {city: b}\nblanks: [x]\nattributes: {a: {from: a, type: number}}", rows,
        "!attributes: longer than 65536 bytes\n");
    free(rows);
}

/* Goal: rejected rows of the reader stay rejected. */
static void test_rejected_rows(void **state)
{
    (void)state;
    check("fields: {city: a}", "a,b\n1,2,3\n", "!: has 3 fields where the header has 2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_alternatives),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_location),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_rejected_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
