"""Random rule sets and leads, from pools of values that both draw from, so that about half of the leads meet something."""
import uuid

TEXTS = ["red", "Red", "RED ", "blue", "Straße", "STRASSE", "straẞe", "İstanbul", "i̇stanbul", "ΣΑΣ", "σας", "café", "cafe\u0301", "CAFÉ",
         "a b", "a\u00a0 b", "a\u2003b", "\t", "", " ", "\u3000", "👋 hello", "x", "true", "False", "10", "1e1", "ab-c", "a*c",
         "o'neil", "ſ", "K", "ﬁn"]
NUMBERS = ["10", "10.0", "1e1", "+10", " 10 ", "-0", "0", ".5", "5.", "0x10", "1e999", "-1e-3", "٣", "12345678901234567890", "1,000",
           "nan", "inf",
           "1e", "--1", "20", "30"]
NUMBER_VALUES = [10, 10.0, 0, 0.5, 5, -0.001, 20, 30, 1e19, 12, 1000]
COUNTRIES = ["US", "usa", "United States", "India", "IN", "356", "Deutschland", "Germany", "de", "Atlantis", "", "U.K.", "gb"]
STATES = ["CA", "california", "US-NY", "New York", "TX", "tx ", "DC", "Puerto Rico", "Bavaria", ""]
STATE_VALUES = ["CA", "california", "NY", "Texas", "DC", "PR"]
REGIONS = ["West", "northeast", "SOUTHWEST", "Midwest", "Southeast"]
EMAILS = ["ann@acme.example", "Ann@ACME.example", "bob@gmail.com", "no at", "a@b", "x@y@z.example", "@acme.example", "ann@", "a b@c.d",
          ""]
DOMAINS = ["acme.example", "GMAIL.com", "z.example", "b"]
PHONES = ["(212) 555-0100", "+1 212 555 0100", "2125550100 x12", "+49 30 1234567", "0049301234567", "011 49 30 123", "12",
          "fax 2125550100", ""]
POSTALS = ["10115", "1 0-115", "SW1A 1AA", "sw1a1aa", "-", "94 107"]
MOMENTS = ["2026-01-31", "2026-01-31T10:00:00Z", "2026-01-31 10:00:00+01:00", "2026-01-31T09:00:00.123456789Z", "2026-02-30",
           "yesterday", "2026-1-1",
           "2026-01-31T24:00:00Z", "1969-12-31", "2026-01-31T10:00:00"]
GOOD_MOMENTS = [m for m in MOMENTS if m not in ("2026-02-30", "yesterday", "2026-1-1", "2026-01-31T24:00:00Z", "2026-01-31T10:00:00")]
PATTERNS = ["^re", "d$", "a.c", "[0-9]+", "(red|blue)", "a ?b", "^$", "x{1,2}"]
WILDCARDS = ["*", "re*", "?ed", "*e*", "a?c", "", "*10*", "str*e"]
SET_NAMES = ["colours", "lands", "empty"]
TEXT_FIELDS = ["source", "city", "company_industry", "attributes.w", "attributes.n", "attributes.any", "last_name", "external_id"]
CASELESS = ("country", "state", "us_state", "region")
NOW_US = 1769853600000000  # 2026-01-31T10:00:00Z


def value_for(random, field):
    if field == "country":
        return random.choice([c for c in COUNTRIES if c])
    if field == "state":
        return random.choice([s for s in STATES if s])
    if field == "us_state":
        return random.choice(STATE_VALUES)
    if field == "region":
        return random.choice(REGIONS)
    if field == "email.domain":
        return random.choice(DOMAINS)
    if field == "phone.area_code":
        return random.choice(["212", "301"])
    return random.choice([t for t in TEXTS if t.strip("\t \u3000")])


def any_field(random):
    return random.choice([*TEXT_FIELDS, *TEXT_FIELDS, *CASELESS, "email", "email.domain", "phone", "phone.area_code", "postal_code"])


def text_test(random):
    field = any_field(random)
    kind = random.randrange(7)
    if kind == 0:
        test = {"op": random.choice(["eq", "ne"]), "value": random.choice([value_for(random, field), value_for(random, field), True,
                False])
                if field not in ("us_state", "region") else value_for(random, field)}
    elif kind == 1:
        test = {"op": random.choice(["in", "not_in"]), "value": [value_for(random, field) for _ in range(random.randint(1, 4))]}
    elif kind == 2:
        test = {"op": random.choice(["in_set", "not_in_set"]), "value": random.choice(SET_NAMES)}
    elif kind == 3:
        test = {"op": random.choice(["contains", "not_contains", "starts_with", "ends_with"]), "value": value_for(random,
                "source")[:random.randint(1, 4)]}
        if not test["value"].strip():
            test["value"] = "a"
    elif kind == 4:
        test = {"op": random.choice(["gt", "gte", "lt", "lte"]), "value": value_for(random, "source")}
    elif kind == 5:
        test = {"op": "wildcard", "value": random.choice([w for w in WILDCARDS if w])}
    else:
        test = {"op": "regex", "value": random.choice(PATTERNS)}
    if random.random() < 0.15 and not (field in CASELESS and kind < 3):
        test["case"] = True
    return {"field": field, **test}


def number_test(random):
    field = random.choice(["attributes.n", "attributes.n", "attributes.any", "source", "postal_code"])
    op = random.choice(["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between", "not_between"])
    if op in ("in", "not_in"):
        return {"field": field, "op": op, "value": [random.choice(NUMBER_VALUES) for _ in range(random.randint(1, 3))]}
    if op in ("between", "not_between"):
        return {"field": field, "op": op, "value": sorted(random.choice(NUMBER_VALUES) for _ in range(2))}
    return {"field": field, "op": op, "value": random.choice(NUMBER_VALUES)}


def other_test(random):
    kind = random.randrange(9)
    if kind == 0:
        return {"field": random.choice([any_field(random), "location", "created_at"]), "op": random.choice(["present", "blank"])}
    if kind == 1:
        return {"field": random.choice(["email", "phone", "country", "state", "us_state", "location"]), "op": "valid"}
    if kind == 2:
        return {"field": random.choice(["email", "attributes.w"]), "op": "email_domain_in", "value": random.sample(DOMAINS, 2)}
    if kind == 3:
        return {"field": random.choice(["postal_code", "attributes.w"]), "op": "postal_prefix_in", "value": random.choice([["10"],
                ["SW 1", "9"]])}
    if kind == 4:
        where = {"latitude": random.uniform(-90, 90), "longitude": random.uniform(-180, 180), "km": random.choice([10, 900, 5000, 15000])}
        return {"field": "location", "op": "within_radius", "value": where}
    if kind == 5:
        return {"field": random.choice(["created_at", "attributes.day"]), "op": random.choice(["before", "after"]),
                "value": random.choice([*GOOD_MOMENTS, {"field": random.choice(["attributes.day", "created_at"])}])}
    if kind == 6:
        return {"field": random.choice(["created_at", "attributes.day"]), "op": "within_last",
                "value": random.choice([{"days": 1}, {"days": 400}, {"hours": 5}, {"minutes": 1}])}
    if kind == 7:
        return {"field": any_field(random), "op": random.choice(["eq", "ne", "gt", "lte", "contains", "not_contains", "starts_with",
                "ends_with"]),
                "value": {"field": any_field(random)}}
    return {random.choice(["industries", "company_sizes"]): [value_for(random, "source")], "countries": [value_for(random, "country")],
            **({"us_states": [random.choice(STATE_VALUES)]} if random.random() < 0.3 else {}),
            **({"regions": [random.choice(REGIONS)]} if random.random() < 0.3 else {})}


def conditions(random, depth):
    kind = random.random()
    if depth == 0 or kind < 0.5:
        return random.choice([text_test, text_test, number_test, other_test])(random)
    if kind < 0.65:
        return {"not": conditions(random, depth - 1)}
    return {random.choice(["all", "all", "any"]): [conditions(random, depth - 1) for _ in range(random.randint(0, 3))]}


def attributes(random):
    odd = [None, True, False, 10, 10.0, 0.1, 1e30, -3, 2**63, [], {}, ["red"], "red", "10", ""]
    found = {"w": random.choice([*TEXTS, *EMAILS, *POSTALS]), "n": random.choice([*NUMBERS, *NUMBER_VALUES]), "any": random.choice(odd),
             "day": random.choice(MOMENTS), "latitude": random.choice([10, "52.5", -91, "x", 89.9, 0]),
             "longitude": random.choice([20, "13.4", 180, -179.5, 200, None])}
    return {name: value for name, value in found.items() if random.random() < 0.8}


def lead(random):
    pools = {"source": [*TEXTS, *NUMBERS], "city": TEXTS, "company_industry": TEXTS, "last_name": TEXTS, "external_id": TEXTS,
             "company_size": TEXTS,
             "country": COUNTRIES, "state": STATES, "email": EMAILS, "phone": PHONES, "postal_code": [*POSTALS, *NUMBERS]}
    found = {name: random.choice(pool) for name, pool in pools.items() if random.random() < 0.8}
    found["now_us"] = NOW_US
    found["created_at_us"] = random.choice([0, NOW_US, NOW_US - 3600 * 10**6, NOW_US - 1, NOW_US + 1, NOW_US - 10**15])
    if random.random() < 0.9:
        found["attributes"] = attributes(random)
    return found


def rule(random, number):
    several = [conditions(random, random.randint(0, 3)) for _ in range(random.randint(1, 4))]
    return {"id": str(uuid.UUID(int=random.getrandbits(128))), "name": f"rule {number}", "priority": random.choice([0, 0, 1, 2]),
            "created_at_us": random.choice([1, 2]), "conditions": {"all": several}, "destination_is_active": random.random() < 0.9}


def request(random, lead_count):
    """A rule set and leads, as rules_peer takes them."""
    return {"rules": [rule(random, n) for n in range(random.randint(1, 12))],
            "policy": random.choice([{}, {}, {"default_country": "US"}, {"default_country": "IN"}]),
            "sets": {"colours": ["RED", "straße", " blue", "10", "café", ""], "lands": ["India", "usa", "Texas", "west"], "empty": []},
            "leads": [lead(random) for _ in range(lead_count)]}
