"""Goal: the evaluator that the compiled rules are compared with says what docs/rules.md says; written by hand, without the program in C."""
import pytest

from rules import evaluator

NOW_US = 1769853600000000  # 2026-01-31T10:00:00Z
DAY_US = 86400 * 10**6
SETS = {"free mail": ["gmail.com", " Yahoo.com "], "lands": ["India", "usa"]}


def test(field, op, value=None, **more):
    return {"field": field, "op": op, **({} if value is None else {"value": value}), **more}


test.__test__ = False # a maker of conditions


def attribute(value):
    return {"attributes": {"a": value}}


# Conditions, a lead, and whether they hold for it.
CASES = [
    # The tree.
    ({"all": []}, {}, True),
    ({"any": []}, {}, False),
    ({}, {}, True),
    ({"not": {"any": []}}, {}, True),
    ({"all": [{}, {"any": []}]}, {}, False),
    ({"any": [{"any": []}, {}]}, {}, True),
    # A missing field passes no test but blank, and `not` turns that round.
    (test("source", "ne", "csv"), {}, False),
    (test("source", "not_in", ["csv"]), {"source": " \u3000\t"}, False),
    (test("source", "not_in_set", "lands"), {"source": None}, False),
    (test("source", "not_contains", "csv"), {"source": ""}, False),
    (test("source", "not_between", [1, 2]), {}, False),
    ({"not": test("source", "eq", "csv")}, {}, True),
    (test("source", "blank"), {"source": "\u00a0"}, True),
    (test("source", "present"), {"source": "\u00a0"}, False),
    (test("source", "present"), {"source": "\u200b"}, True),
    (test("source", "ne", {"field": "city"}), {"source": "x"}, False),
    # Texts: full case folding, white space, accents.
    (test("city", "eq", "Straße"), {"city": " STRASSE\u2003"}, True),
    (test("city", "eq", "STRAẞE"), {"city": "strasse"}, True),
    (test("city", "eq", "σας"), {"city": "ΣΑΣ"}, True),
    (test("city", "eq", "a b"), {"city": "A \u00a0\n B"}, True),
    (test("city", "eq", "café"), {"city": "CAFE\u0301"}, True),
    (test("city", "eq", "Cafe"), {"city": "Café"}, False),
    (test("city", "eq", "istanbul"), {"city": "İstanbul"}, False),
    (test("city", "eq", "i\u0307stanbul"), {"city": "İstanbul"}, True),
    (test("city", "eq", "ı"), {"city": "I"}, False),
    (test("city", "eq", "αι\u0323"), {"city": "α\u0345\u0323"}, True),
    (test("city", "eq", "Rome", case=True), {"city": "rome"}, False),
    (test("city", "eq", "Rome", case=True), {"city": " Rome "}, True),
    (test("city", "in", ["a", "ROME"]), {"city": "rome"}, True),
    (test("city", "ne", "rome"), {"city": "Roma"}, True),
    (test("city", "gt", "a"), {"city": "B"}, True),
    (test("city", "gt", "a", case=True), {"city": "B"}, False),
    (test("city", "gt", "\uffee"), {"city": "\U0001f44b"}, True),
    (test("city", "between", ["a", "C"]), {"city": "c"}, True),
    (test("city", "not_between", ["a", "C"]), {"city": "cc"}, True),
    (test("city", "starts_with", "st"), {"city": "STUTTGART"}, True),
    (test("city", "ends_with", "{"), {"city": "a{"}, True),
    (test("city", "contains", {"field": "source"}), {"city": "New York", "source": "W Y"}, True),
    (test("city", "wildcard", "n*k"), {"city": "New York"}, True),
    (test("city", "wildcard", "?"), {"city": "👋"}, True),
    (test("city", "wildcard", "n?w"), {"city": "New York"}, False),
    (test("city", "wildcard", "a.c"), {"city": "abc"}, False),
    (test("city", "regex", "^new y"), {"city": " NEW\t\tYORK"}, True),
    (test("city", "regex", "^new", case=True), {"city": "New York"}, False),
    # Numbers.
    (test("source", "eq", 100), {"source": " 1e2 "}, True),
    (test("source", "eq", 5), {"source": "+5."}, True),
    (test("source", "eq", 0.5), {"source": ".5"}, True),
    (test("source", "eq", 0), {"source": "-0"}, True),
    (test("source", "ne", 1), {"source": "0x10"}, False),
    (test("source", "ne", 1), {"source": "٣"}, False),
    (test("source", "ne", 1), {"source": "nan"}, False),
    (test("source", "gt", 1), {"source": "1e999"}, False),
    (test("source", "eq", 1000), {"source": "1,000"}, False),
    (test("source", "not_in", [1, 2]), {"source": "three"}, False),
    (test("source", "between", [1, 2]), {"source": "2.0"}, True),
    (test("source", "eq", "100"), {"source": "1e2"}, False),
    (test("source", "lt", {"field": "city"}), {"source": "9", "city": "1e1"}, True),
    (test("source", "lt", {"field": "city"}), {"source": "a", "city": "b"}, False),
    (test("source", "eq", {"field": "city"}), {"source": "10", "city": "1e1"}, False),
    # Attributes.
    (test("attributes.a", "eq", "12"), attribute(12), True),
    (test("attributes.a", "eq", "0.5"), attribute(0.5), True),
    (test("attributes.a", "eq", "1e+30"), attribute(1e30), True),
    (test("attributes.a", "eq", True), attribute("TRUE"), True),
    (test("attributes.a", "eq", "false"), attribute(False), True),
    (test("attributes.a", "blank"), attribute([1]), True),
    (test("attributes.a", "blank"), attribute({"b": 1}), True),
    (test("attributes.a", "blank"), attribute(None), True),
    (test("attributes.a.b", "eq", "x"), {"attributes": {"a.b": "x", "a": {"b": "y"}}}, True),
    (test("attributes.A", "present"), attribute("x"), False),
    (test("attributes.a", "eq", "12345678901234567"), {"attributes": {"a": 12345678901234567, "b": 10**20}}, True),
    (test("attributes.a", "eq", "12345678901234567"), {"attributes": {"a": 12345678901234567, "b": 10**400}}, True),
    (test("attributes.a", "eq", "12345678901234567"), {"attributes": {"a": 12345678901234567, "b": [{"c": 10**400}]}}, True),
    (test("attributes.a", "eq", "12345678901234567"), {"attributes": {"b": ["]\"", {"\\": [10**20]}], "a": 12345678901234567}}, True),
    (test("attributes.a", "eq", "9223372036854775807"), attribute(2**63 - 1), True),
    (test("attributes.a", "eq", "-9223372036854775808"), attribute(-2**63), True),
    (test("attributes.a", "eq", "9.223372036854776e+18"), attribute(2**63), True),
    (test("attributes.a", "eq", "1e+20"), attribute(10**20), True),
    (test("attributes.a", "eq", "1.2345678901234567e+19"), attribute(12345678901234567890), True),
    (test("attributes.a", "eq", "0.1"), attribute(0.1), True),
    (test("attributes.a", "eq", "0.30000000000000004"), attribute(0.1 + 0.2), True),
    (test("attributes.a", "eq", "4.94065645841247e-324"), attribute(5e-324), True),
    (test("attributes.a", "eq", 2**53), attribute(2**53 + 1), True),
    (test("attributes.a", "eq", str(2**53)), attribute(2**53 + 1), False),
    (test("attributes.a", "eq", 1e20), attribute(10**20), True),
    (test("attributes.a", "blank"), attribute(10**400), True),
    (test("attributes.a", "lt", 0), attribute(-10**400), False),
    (test("attributes.a", "gt", 1.7e308), attribute(2**1024 - 2**970 - 1), True),
    (test("attributes.a", "blank"), attribute(2**1024 - 2**970), True),
    # Derived fields.
    (test("email.domain", "eq", "b.example"), {"email": "x@a@B.example"}, True),
    (test("email.domain", "blank"), {"email": "x.example"}, True),
    (test("phone.area_code", "eq", "212"), {"phone": "(212) 555-0100"}, True),
    (test("phone.area_code", "eq", "212"), {"phone": "1 212 555 0100"}, True),
    (test("phone.area_code", "blank"), {"phone": "+49 30 1234567"}, True),
    (test("us_state", "eq", "CA"), {"state": "california"}, True),
    (test("us_state", "eq", "CA"), {"state": "CA", "country": "U.S."}, True),
    (test("us_state", "blank"), {"state": "CA", "country": "India"}, True),
    (test("us_state", "blank"), {"state": "Bavaria"}, True),
    (test("region", "eq", "southeast"), {"state": "dc"}, True),
    (test("region", "blank"), {"state": "PR"}, True),
    (test("location", "present"), {"attributes": {"latitude": -90, "longitude": 180}}, True),
    (test("location", "present"), {"attributes": {"latitude": 90.1, "longitude": 180}}, False),
    (test("location", "present"), {"attributes": {"latitude": " 9e1", "longitude": "-180.0"}}, True),
    (test("location", "present"), {"attributes": {"latitude": 10, "longitude": "2" + " " * 39}}, True),
    (test("location", "present"), {"attributes": {"latitude": 10, "longitude": "2" + " " * 40}}, False),
    (test("location", "present"), {"attributes": {"latitude": "10 N", "longitude": "20"}}, False),
    (test("location", "present"), {"attributes": {"latitude": 10, "longitude": 10**400}}, False),
    # Countries and states.
    (test("country", "eq", "India"), {"country": "IND"}, True),
    (test("country", "in", ["356"]), {"country": "in"}, True),
    (test("country", "in_set", "lands"), {"country": "United States of America"}, True),
    (test("country", "eq", "UK"), {"country": "Great Britain"}, True),
    (test("country", "eq", "atlantis"), {"country": "ATLANTIS"}, True),
    (test("state", "ne", "US-CA"), {"state": "California"}, False),
    (test("state", "eq", "CA"), {"state": "California", "country": "IN"}, True),
    (test("country", "starts_with", "united"), {"country": "US"}, False),
    (test("country", "starts_with", "united"), {"country": "United States"}, True),
    (test("city", "eq", "US"), {"city": "USA"}, False),
    (test("country", "eq", {"field": "state"}), {"country": "Georgia", "state": "GA"}, False),
    (test("state", "eq", {"field": "country"}), {"country": "Georgia", "state": "GA"}, True),
    (test("city", "eq", {"field": "country"}), {"country": "US", "city": "USA"}, True),
    # Dates and times.
    (test("attributes.a", "before", "2026-01-31T10:00:00+01:00"), attribute("2026-01-31 09:00:00Z"), False),
    (test("attributes.a", "before", "2026-01-31T10:00:00+01:00"), attribute("2026-01-31T08:59:59.999999Z"), True),
    (test("attributes.a", "after", "2026-01-31"), attribute("2026-01-31T00:00:00-00:01"), True),
    (test("attributes.a", "after", "2026-01-31"), attribute("2026-01-31"), False),
    (test("attributes.a", "before", "2999-01-01"), attribute("2026-02-30"), False),
    (test("attributes.a", "before", "2999-01-01"), attribute("2026-01-31T10:00:00"), False),
    (test("attributes.a", "before", "2999-01-01"), attribute("0000-02-29"), True),
    (test("attributes.a", "before", "2999-01-01"), attribute("0001-02-29"), False),
    (test("attributes.a", "after", "1999-12-31"), attribute("2000-02-29"), True),
    (test("attributes.a", "before", {"field": "created_at"}), {**attribute("2026-01-31"), "created_at_us": NOW_US}, True),
    (test("created_at", "within_last", {"days": 1}), {"created_at_us": NOW_US - DAY_US}, True),
    (test("created_at", "within_last", {"hours": 24}), {"created_at_us": NOW_US - DAY_US - 1}, False),
    (test("created_at", "within_last", {"minutes": 1}), {"created_at_us": NOW_US + 1}, False),
    # Tests of one kind of field.
    (test("email", "valid"), {"email": "a" * 64 + "@b.example"}, True),
    (test("email", "valid"), {"email": "a" * 65 + "@b.example"}, False),
    (test("email", "valid"), {"email": "é" * 33 + "@b.example"}, False),
    (test("email", "valid"), {"email": "a@b@c.example"}, False),
    (test("email", "valid"), {"email": "a@example"}, False),
    (test("email", "valid"), {"email": "a@b..example"}, False),
    (test("email", "valid"), {"email": "a b@c.example"}, False),
    (test("phone", "valid"), {"phone": "123-4567"}, True),
    (test("phone", "valid"), {"phone": "123456"}, False),
    (test("phone", "valid"), {"phone": "1234567890123456"}, False),
    (test("country", "valid"), {"country": "Atlantis"}, False),
    (test("state", "valid"), {"state": "us-ca"}, True),
    (test("email", "email_domain_in", ["GMAIL.com"]), {"email": "Ann@gmail.COM"}, True),
    (test("email", "email_domain_in", ["gmail.com"]), {"email": "ann@mail.gmail.com"}, False),
    (test("email", "email_domain_in", ["gmail.com"]), {"email": "no address@b @gmail.com"}, True),
    (test("email", "email_domain_in", ["gmail.com"]), {"email": "gmail.com"}, False),
    (test("email.domain", "in_set", "free mail"), {"email": "ann@yahoo.com"}, True),
    (test("postal_code", "postal_prefix_in", ["SW1-A", "9"]), {"postal_code": "sw 1a 1aa"}, True),
    (test("postal_code", "postal_prefix_in", ["10"]), {"postal_code": "01 0"}, False),
    (test("location", "within_radius", {"latitude": 52.52, "longitude": 13.405, "km": 505}),
     {"attributes": {"latitude": 48.137, "longitude": 11.575}}, True),
    (test("location", "within_radius", {"latitude": 52.52, "longitude": 13.405, "km": 500}),
     {"attributes": {"latitude": 48.137, "longitude": 11.575}}, False),
    (test("location", "within_radius", {"latitude": 0, "longitude": 179, "km": 223}),
     {"attributes": {"latitude": 0, "longitude": -179}}, True),
    # The simple form.
    ({"industries": ["Software", "SaaS"], "countries": ["US"], "regions": ["West", "Southwest"]},
     {"company_industry": "saas", "country": "United States", "state": "California"}, True),
    ({"industries": ["Software"], "countries": ["US"]}, {"company_industry": "software"}, False),
    ({"industries": [], "countries": []}, {}, True),
    ({"company_sizes": ["1-10"], "revenue_ranges": ["$1M"]}, {"company_size": "1-10", "company_revenue": "$1m"}, True),
    ({"us_states": ["Texas"]}, {"state": "tx", "country": "IN"}, False),
]


@pytest.mark.parametrize("conditions, lead, expected", CASES, ids=str)
def test_case(conditions, lead, expected):
    assert evaluator.holds(conditions, evaluator.Lead(lead, {}), SETS, NOW_US) is expected


def rule(name, **more):
    return {"id": name, "priority": 0, "created_at_us": 1, "conditions": {}, "destination_is_active": True, **more}


@pytest.mark.parametrize("rules, expected", [
    ([], -1),
    ([rule("b"), rule("a")], 1),
    ([rule("a", created_at_us=2), rule("b")], 1),
    ([rule("a"), rule("b", priority=1, created_at_us=2)], 1),
    ([rule("a", destination_is_active=False), rule("b")], 1),
    ([rule("a", conditions={"any": []})], -1),
], ids=["none", "by id", "the older", "by priority", "an inactive destination is passed over", "nothing holds"])
def test_order(rules, expected):
    assert evaluator.first_match({"rules": rules, "policy": {}, "sets": {}}, {"now_us": NOW_US}) == expected


def test_default_country():
    """Whatever way it is written in the policy, it is its code, for tests of texts as well."""
    lead = evaluator.Lead({"country": " ", "state": "CA"}, {"default_country": "IN"})
    assert evaluator.holds(test("country", "eq", "India"), lead, SETS, NOW_US)
    assert evaluator.holds(test("us_state", "blank"), lead, SETS, NOW_US)
    lead = evaluator.Lead({}, {"default_country": "United States"})
    assert evaluator.holds(test("country", "eq", "USA"), lead, SETS, NOW_US)
    assert evaluator.holds(test("country", "starts_with", "us"), lead, SETS, NOW_US)
    assert not evaluator.holds(test("country", "contains", "states"), lead, SETS, NOW_US)
