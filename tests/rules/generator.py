"""Random rule sets and leads, from pools of values that both draw from, so that about half of the leads meet something."""
import uuid

from rules.evaluator import WHITE_SPACE, exact, fold

TEXTS = ["red", "Red", "RED ", "blue", "Straße", "STRASSE", "straẞe", "İstanbul", "i̇stanbul", "ΣΑΣ", "σας", "café", "cafe\u0301", "CAFÉ",
         "a b", "a\u00a0 b", "a\u2003b", "\t", "", " ", "\u3000", "👋 hello", "x", "true", "False", "10", "1e1", "ab-c", "a*c",
         "o'neil", "ſ", "K", "ﬁn", "fin", "ῼ", "ωι", "\u0345\u0301", "\u0301\u0345", "q\u0323\u0307", "q\u0307\u0323", "각",
         "\u1100\u1161\u11a8", "ŉ", "ʼn",
         "Ǆ", "ǆ", "ΐ", "\u0390", "ΑΙ\u0301", "İ", "i\u0307", "I", "ı", "\u1e9e", "ss", "α\u0345\u0323", "α\u0323ι", "αι\u0323",
         "a\u2001b", "\u2001", *(f"a{blank}b" for blank in WHITE_SPACE), "\u200b", "\ufeff", "\U0001e900", "\U0001e922"]
NUMBERS = ["10", "10.0", "1e1", "+10", " 10 ", "-0", "0", ".5", "5.", "0x10", "1e999", "-1e-3", "٣", "12345678901234567890", "1,000",
           "nan", "inf",
           "1e", "--1", "20", "30", "9007199254740993", "9007199254740992", "1e-400", "-.5e1", "+", ".", "1e+", "1_0", "0.1", "1e308",
           "0.1000000000000000055511151231257827", "1 0", "\uff11\uff10", "10\u00a0", "1" * 400, "0" * 400 + "10",
         "1e0000000000000000000000001", "12345678901234567", "1e+20"]
NUMBER_VALUES = [10, 10.0, 0, -0.0, 0.5, 5, -0.001, 20, 30, 1e19, 12, 1000, 2**53, 2**53 + 1, -2**63, 5e-324, 1.7976931348623157e308, 0.1,
                 12345678901234567]
# Integers that 64 bits do not hold; those that no double holds; the last one that does, and the first that does not.
BIG_NUMBERS = [10**20, 2**63, -2**63 - 1, 10**400, -10**400, 2**1024 - 2**970 - 1, 2**1024 - 2**970]
COUNTRIES = ["CA", "Canada", "Georgia", "US", "usa", "United States", "India", "IN", "356", "Deutschland", "Germany", "de", "Atlantis",
             "", "U.K.", "gb"]
STATES = ["Georgia", "GA", "CA", "california", "US-NY", "New York", "TX", "tx ", "DC", "Puerto Rico", "Bavaria", ""]
STATE_VALUES = ["CA", "california", "NY", "Texas", "DC", "PR"]
REGIONS = ["West", "northeast", "SOUTHWEST", "Midwest", "Southeast"]
EMAILS = ["ann@acme.example", "Ann@ACME.example", "bob@gmail.com", "no at", "a@b", "x@y@z.example", "@acme.example", "ann@", "a b@c.d",
          ""]
DOMAINS = ["acme.example", "GMAIL.com", "z.example", "b"]
PHONES = ["(212) 555-0100", "+1 212 555 0100", "2125550100 x12", "+49 30 1234567", "0049301234567", "011 49 30 123", "12",
          "fax 2125550100", "0012125550100", "123456", "1234567", "123456789012", "123456789012345", "1234567890123456",
         "00123456789012345", ""]
POSTALS = ["10115", "1 0-115", "SW1A 1AA", "sw1a1aa", "-", "94 107"]
MOMENTS = ["2026-01-31", "2026-01-31T10:00:00Z", "2026-01-31 10:00:00+01:00", "2026-01-31T09:00:00.123456789Z", "2026-02-30",
           "yesterday", "2026-1-1",
           "2026-01-31T24:00:00Z", "1969-12-31", "2026-01-31T10:00:00", "2026-01-31T10:00:60Z", "0001-01-01T00:00:00+23:59",
           "9999-12-31T23:59:59.999999-23:59", "2024-02-29t10:00:00z", "2100-02-29", " 2026-01-31 ", "2026-01-31T10:00:00.9999999Z",
           "2026-01-31T10:00:00+24:00", "2026-01-31T09:00:00.0000005Z", "20260131", "2026-01-31T10:00Z", "0000-02-29",
         "0000-01-01T00:00:00-05:30", "2026-01-31T04:00:00-05:30", "2026-01-31T09:00:00-00:30"]
GOOD_MOMENTS = ["2026-01-31", "2026-01-31T10:00:00Z", "2026-01-31 10:00:00+01:00", "2026-01-31T09:00:00.123456789Z", "1969-12-31",
                "2024-02-29t10:00:00z", "2026-01-31T09:00:00.000000Z", "2026-01-31T04:00:00-05:30", "0000-02-29"]
PATTERNS = ["^re", "d$", "a.c", "[0-9]+", "(red|blue)", "a ?b", "^$", "x{1,2}"]
WILDCARDS = ["*", "re*", "?ed", "*e*", "a?c", "", "*10*", "str*e"]
SET_NAMES = ["colours", "lands", "empty"]
TEXT_FIELDS = ["source", "city", "company_industry", "company_size", "company_revenue", "company_name", "first_name", "last_name",
               "external_id", "attributes.w", "attributes.n", "attributes.any", "attributes.a b.c", "attributes.Straße"]
PLACES = ("country", "state", "us_state", "region")
DERIVED = ("email", "email.domain", "phone", "phone.area_code", "postal_code")
NOW_US = 1769853600000000  # 2026-01-31T10:00:00Z
MINUTE_US = 60 * 10**6
SPANS = [({"days": 1}, 1440), ({"hours": 5}, 300), ({"minutes": 1}, 1), ({"days": 400}, 576000), ({"days": 3650}, 5256000)]
SOLID_TEXTS = [text for text in TEXTS if not text.isspace() and text]


def known(texts):
    return [text for text in texts if text]


def value_for(random, field):
    """A text that a rule may ask of a field."""
    pools = {"country": known(COUNTRIES), "state": known(STATES), "us_state": STATE_VALUES, "region": REGIONS, "email.domain": DOMAINS,
             "phone.area_code": ["212", "301"], "email": known(EMAILS), "phone": known(PHONES), "postal_code": POSTALS,
             "attributes.n": NUMBERS}
    return random.choice(pools.get(field, SOLID_TEXTS))


def text_or_truth(random, field):
    """`true` and `false` are texts, but not names of a state or a region."""
    return random.choice([True, False]) if field not in ("us_state", "region") and random.random() < 0.15 else value_for(random, field)


def any_field(random):
    return random.choice([*TEXT_FIELDS, *PLACES, *DERIVED])


def piece(random, text):
    """A part of a text that is not blank."""
    start = random.randrange(len(text))
    part = text[start:start + random.randint(1, 4)]
    return part if part.strip() else "a"


def text_test(random):
    field = any_field(random)
    op = random.choice(["eq", "ne", "in", "not_in", "in_set", "not_in_set", "contains", "not_contains", "starts_with", "ends_with", "gt",
                        "gte", "lt", "lte", "between", "not_between", "wildcard", "regex"])
    if op in ("eq", "ne"):
        value = text_or_truth(random, field)
    elif op in ("in", "not_in"):
        value = [text_or_truth(random, field) for _ in range(random.randint(1, 6))]
    elif op in ("in_set", "not_in_set"):
        value = random.choice(SET_NAMES)
    elif op in ("between", "not_between"):
        value = sorted((value_for(random, field) for _ in range(2)), key=lambda text: fold(text).encode())
    elif op == "wildcard":
        value = random.choice(known(WILDCARDS))
    elif op == "regex":
        value = random.choice(PATTERNS)
    else:
        value = value_for(random, field)
        value = value if op in ("gt", "gte", "lt", "lte") else random.choice([value, piece(random, value)])
    test = {"field": field, "op": op, "value": value}
    if random.random() < 0.2 and not (field in PLACES and op in ("eq", "ne", "in", "not_in", "in_set", "not_in_set")):
        if op not in ("between", "not_between") or exact(value[0]).encode() <= exact(value[1]).encode():
            test["case"] = True
    return test


def number_test(random):
    field = random.choice(["attributes.n", "attributes.n", "attributes.any", "source", "postal_code", "external_id"])
    op = random.choice(["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between", "not_between"])
    count = {"in": random.randint(1, 4), "not_in": random.randint(1, 4), "between": 2, "not_between": 2}.get(op)
    values = [random.choice(NUMBER_VALUES) for _ in range(count or 1)]
    return {"field": field, "op": op, "value": values[0] if count is None else sorted(values, key=float) if count == 2 else values}


def test_of_fields(random):
    op = random.choice(["eq", "ne", "gt", "gte", "lt", "lte", "contains", "not_contains", "starts_with", "ends_with"])
    pair = random.choice([lambda: (any_field(random), any_field(random)), lambda: random.sample(TEXT_FIELDS, 2),
                          lambda: random.sample(["attributes.n", "attributes.any", "source", "postal_code"], 2),
                          lambda: random.sample(PLACES, 2), lambda: random.sample(("state", "country"), 2),
                          lambda: ("email", "email.domain"), lambda: ["city"] * 2])
    field, other = pair()
    test = {"field": field, "op": op, "value": {"field": other}}
    if random.random() < 0.2 and not (op in ("eq", "ne") and {field, other} & {*PLACES}):
        test["case"] = True
    return test


def moment_test(random):
    field, other = random.choice(["created_at", "attributes.day"]), random.choice(["created_at", "attributes.day", "attributes.w"])
    if random.random() < 0.35:
        return {"field": field, "op": "within_last", "value": random.choice(SPANS)[0]}
    return {"field": field, "op": random.choice(["before", "after"]), "value": random.choice([random.choice(GOOD_MOMENTS),
                                                                                              {"field": other}])}


def other_test(random):
    kind = random.randrange(6)
    if kind == 0:
        return {"field": random.choice([any_field(random), "location", "created_at"]), "op": random.choice(["present", "blank"])}
    if kind == 1:
        return {"field": random.choice(["email", "phone", "country", "state", "us_state", "location"]), "op": "valid"}
    if kind == 2:
        return {"field": random.choice(["email", "email", "attributes.w"]), "op": "email_domain_in", "value": random.sample(DOMAINS, 2)}
    if kind == 3:
        return {"field": random.choice(["postal_code", "attributes.w"]), "op": "postal_prefix_in",
                "value": random.choice([["10"], ["SW 1", "9"], ["1-0 1", "sw1a 1"], ["94107", "ß"]])}
    if kind == 4:
        where = {"latitude": random.choice([random.uniform(-90, 90), 52.5, 0, 90]),
                 "longitude": random.choice([random.uniform(-180, 180), 13.4, -180, 0, 20]),
                 "km": random.choice([0, 10, 900, 5000, 15000, 20020, 20100])}
        return {"field": "location", "op": "within_radius", "value": where}
    return random.choice([moment_test, test_of_fields])(random)


def simple_form(random):
    """Each list is there or not; an empty one restricts nothing; none at all is a catch-all."""
    fields = {"industries": "company_industry", "company_sizes": "company_size", "revenue_ranges": "company_revenue",
              "countries": "country", "us_states": "us_state", "regions": "region"}
    return {name: [value_for(random, field) for _ in range(random.choice([0, 1, 3, 8]))]
            for name, field in fields.items() if random.random() < 0.3}


def conditions(random, depth):
    kind = random.random()
    if depth == 0 or kind < 0.45:
        makers = [text_test, text_test, number_test, other_test, moment_test, test_of_fields, simple_form]
        return random.choice(makers)(random)
    if kind < 0.6:
        return {"not": conditions(random, depth - 1)}
    return {random.choice(["all", "all", "any"]): [conditions(random, depth - 1) for _ in range(random.randint(0, 3))]}


def attributes(random):
    odd = [None, True, False, 10, 10.0, 0.1, 1e30, -3, 2**53 + 1, -0.0, 5e-324, [], {}, ["red"], {"a": 1}, "red", "10", "",
           *BIG_NUMBERS, {"]": [{}, 10**400]}, [[10**20], "]\"\\"]]
    found = {"w": random.choice([*TEXTS, *EMAILS, *POSTALS, *MOMENTS]), "n": random.choice([*NUMBERS, *NUMBER_VALUES, *BIG_NUMBERS[:4]]),
             "any": random.choice(odd), "day": random.choice(MOMENTS), "a b.c": random.choice([*TEXTS, *odd]),
             "Straße": random.choice(TEXTS), "strasse": "red", "a b": {"c": "red"},
             "latitude": random.choice([10, "52.5", -91, "x", 89.9, 0, 90, -90.0, " 1e1 ", True]),
             "longitude": random.choice([20, "13.4", 180, -179.5, 200, None, "-180", 0])}
    return {name: value for name, value in found.items() if random.random() < 0.8}


def created_at_us(random):
    """Often exactly where a span ends, or a microsecond beside it; 0: the lead does not say."""
    edge = NOW_US - random.choice(SPANS)[1] * MINUTE_US
    return random.choice([0, NOW_US, NOW_US + 1, edge - 1, edge, edge + 1, 1769817600000000])


def lead(random):
    pools = {"source": [*TEXTS, *NUMBERS], "company_revenue": TEXTS, "country": COUNTRIES, "state": STATES, "email": EMAILS,
             "phone": PHONES, "postal_code": [*POSTALS, *NUMBERS], "external_id": [*TEXTS, *NUMBERS]}
    pools |= {name: TEXTS for name in ("city", "company_industry", "company_size", "company_name", "first_name", "last_name")}
    found = {name: random.choice(pool) for name, pool in pools.items() if random.random() < 0.8}
    found["now_us"] = NOW_US
    found["created_at_us"] = created_at_us(random)
    if random.random() < 0.9:
        found["attributes"] = attributes(random)
    return found


def rule(random, number, depth):
    several = [conditions(random, random.randint(0, depth)) for _ in range(random.randint(1, 4))]
    return {"id": str(uuid.UUID(int=random.getrandbits(128))), "name": f"rule {number}", "priority": random.choice([0, 0, 1, 2]),
            "created_at_us": random.choice([1, 2]), "conditions": several[0] if random.random() < 0.2 else {"all": several},
            "destination_is_active": random.random() < 0.9}


def narrow_rule(random, number):
    """One that few leads meet, so that many of them are asked before one takes the lead."""
    made = rule(random, number, 1)
    names = {"field": random.choice(TEXT_FIELDS), "op": "in", "value": [random.choice(SOLID_TEXTS) for _ in range(2)]}
    return made | {"conditions": {"all": [names, text_test(random), number_test(random), made["conditions"]]}}


def request(random, lead_count):
    """A rule set and leads, as rules_peer takes them. One in twelve is of hundreds of rules: an index of more than a word of bits."""
    if random.random() < 1 / 12:
        rules = [narrow_rule(random, n) for n in range(random.randint(65, 400))]
    else:
        rules = [rule(random, n, 5) for n in range(random.randint(1, 12))]
    return {"rules": rules,
            "policy": random.choice([{}, {}, {"default_country": "US"}, {"default_country": "IN"},
                                     {"default_country": " united  States"}]),
            "sets": {"colours": ["RED", "straße", " blue", "10", "café", ""], "lands": ["India", "usa", "Texas", "west"], "empty": []},
            "leads": [lead(random) for _ in range(lead_count)]}
