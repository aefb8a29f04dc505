"""The language of rules as docs/rules.md has it, evaluated in the most straightforward way. Written from that page; it shares no
code with src/rules."""
import datetime
import json
import math
import re
import unicodedata

from support.postgres import ROOT

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
BLANKS = re.compile(f"[{WHITE_SPACE}]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)
EARTH_KM = 6371.0088
ISO = "/usr/share/iso-codes/json/iso_3166-{}.json"
PLACES = ("country", "state", "us_state", "region")
PLACE_OPS = ("eq", "ne", "in", "not_in", "in_set", "not_in_set")
REGIONS = {"Northeast": "CT ME MA NH RI VT NY NJ PA", "Southeast": "DE FL GA MD NC SC VA WV KY TN AL MS AR LA DC",
           "Midwest": "IL IN MI OH WI IA KS MN MO NE ND SD", "Southwest": "AZ NM OK TX", "West": "CO ID MT NV UT WY AK CA HI OR WA"}
LISTS = {"industries": "company_industry", "company_sizes": "company_size", "revenue_ranges": "company_revenue", "countries": "country",
         "us_states": "us_state", "regions": "region"}


def exact(text):
    return BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")


def fold(text):
    return unicodedata.normalize("NFC", exact(text).casefold())


def _tables():
    countries, states = {}, {}
    for country in json.load(open(ISO.format(1), encoding="utf-8"))["3166-1"]:
        for key in ("alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name"):
            if key in country:
                countries[fold(country[key])] = country["alpha_2"]
    for state in json.load(open(ISO.format(2), encoding="utf-8"))["3166-2"]:
        if state["code"].startswith("US-"):
            for name in (state["code"], state["code"][3:], state["name"]):
                states[fold(name)] = state["code"][3:]
    aliases = json.loads((ROOT / "tools/gen-countries/aliases.json").read_text(encoding="utf-8"))
    for table, known in ((countries, aliases["countries"]), (states, aliases.get("states", {}))):
        for code, names in known.items():
            table.update({fold(name): code for name in names})
    return countries, states


COUNTRIES, STATES = _tables()
REGION_OF = {state: region for region, states in REGIONS.items() for state in states.split()}
REGION_NAMES = {fold(region): region for region in REGIONS}


def place(text, field):
    table = {"country": COUNTRIES, "state": STATES, "us_state": STATES, "region": REGION_NAMES}[field]
    return table.get(fold(text), fold(text))


def number(text):
    """The number that a text is, or None."""
    text = fold(text)
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def nearest(integer):
    """The double that is nearest to an integer; None when it is too large for one."""
    try:
        return float(integer)
    except OverflowError:
        return None


def moment(text):
    """Microseconds since 1970, or None."""
    found = MOMENT.fullmatch(exact(text))
    if not found:
        return None
    day, time, fraction, zone = found.groups()
    try:
        later = f"{int(day[:4]) % 400 + 2000}{day[4:]}"  # the calendar repeats after 400 years, and datetime has no year 0
        value = datetime.datetime.fromisoformat(f"{later}T{time or '00:00:00'}").replace(tzinfo=datetime.timezone.utc)
        offset = 0
        if zone and zone not in "Zz":
            hours, minutes = int(zone[1:3]), int(zone[4:6])
            if hours > 23 or minutes > 59:
                return None
            offset = (hours * 60 + minutes) * (-60 if zone[0] == "-" else 60)
    except ValueError:
        return None
    micros = int(((fraction or ".")[1:] + "000000")[:6])
    seconds = int((value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds())
    return (seconds + (int(day[:4]) // 400 - 5) * 146097 * 86400 - offset) * 10**6 + micros


def phone_digits(text):
    """Country code first; the extension is cut."""
    words = re.search(r"(?<![A-Za-z])(?:x|ext|extn|extension)(?![A-Za-z])", text, re.IGNORECASE | re.ASCII)
    text = text[:words.start()] if words else text
    digits = re.sub(r"[^0-9]", "", text)
    plus = re.search(r"[+0-9]", text)
    if plus and plus[0] == "+":
        return digits
    for prefix in ("00", "011"):
        if digits.startswith(prefix):
            return digits[len(prefix):]
    return "1" + digits if len(digits) == 10 else digits


class Lead:
    def __init__(self, columns, policy):
        self.columns = columns
        self.policy = policy

    def attribute(self, name):
        attributes = self.columns.get("attributes")
        value = attributes.get(name) if isinstance(attributes, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and not -2**63 <= value < 2**63:
            value = nearest(value)
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return next(text for digits in (15, 16, 17) if float(text := f"{value:.{digits}g}") == value)
        return value if isinstance(value, str) else None

    def raw(self, field):
        """The text of a field as it was written; None when it is missing."""
        text = self._raw(field)
        return None if text is None or exact(text) == "" else text

    def _raw(self, field):
        if field.startswith("attributes."):
            return self.attribute(field[len("attributes."):])
        if field == "country":
            own, default = self.columns.get("country"), self.policy.get("default_country")
            return own if own is not None and exact(own) else default and place(default, "country")
        if field == "email.domain":
            name, at, domain = (self.columns.get("email") or "").rpartition("@")
            return domain if at else None
        if field == "phone.area_code":
            digits = phone_digits(self.columns.get("phone") or "")
            return digits[1:4] if len(digits) == 11 and digits[0] == "1" else None
        if field in ("us_state", "region"):
            country, state = self.raw("country"), self.columns.get("state")
            code = STATES.get(fold(state or "")) if country is None or place(country, "country") == "US" else None
            return code if field == "us_state" else REGION_OF.get(code)
        if field == "location":
            where = self.location()
            return None if where is None else str(where)
        if field == "created_at":
            at = self.columns.get("created_at_us") or 0
            return None if at == 0 else "there"
        return self.columns.get(field)

    def moment(self, field):
        if field == "created_at":
            return self.columns.get("created_at_us") or None
        return moment(self.raw(field))

    def location(self):
        found = []
        for name, limit in (("latitude", 90), ("longitude", 180)):
            text = self.attribute(name)
            value = None if text is None or len(text.encode()) > 40 else number(text)
            if value is None or abs(value) > limit:
                return None
            found.append(value)
        return found


def ordered(op, left, right):
    return {"eq": left == right, "ne": left != right, "gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right,
            "before": left < right, "after": left > right}[op]


def like(text, pattern):
    return re.fullmatch("".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern), text, re.DOTALL) is not None


def email_is_valid(text):
    text = exact(text)
    name, at, domain = text.rpartition("@")
    return bool(at) and 0 < len(name.encode()) <= 64 and "@" not in name and " " not in text and "." in domain and \
        all(domain.split("."))


def valid(lead, field, text):
    if field == "email":
        return email_is_valid(text)
    if field == "phone":
        return 7 <= len(phone_digits(text)) <= 15
    if field == "country":
        return fold(text) in COUNTRIES
    if field in ("state", "us_state"):
        return fold(text) in STATES
    return lead.location() is not None


def distance_km(a, b):
    a, b = [math.radians(x) for x in a], [math.radians(x) for x in b]
    chord = math.sin((b[0] - a[0]) / 2) ** 2 + math.cos(a[0]) * math.cos(b[0]) * math.sin((b[1] - a[1]) / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1, math.sqrt(chord)))


def fields_compared(lead, op, field, other, form):
    left, right = lead.raw(field), lead.raw(other)
    if left is None or right is None:
        return False
    if op in ("before", "after"):
        moments = lead.moment(field), lead.moment(other)
        return None not in moments and ordered(op, *moments)
    if op in ("gt", "gte", "lt", "lte"):
        numbers = number(left), number(right)
        return None not in numbers and ordered(op, *numbers)
    if op in ("eq", "ne") and (field in PLACES or other in PLACES):
        table = field if field in PLACES else other
        return ordered(op, place(left, table), place(right, table))
    return parts(op, form(left), form(right))


def parts(op, text, value):
    if op in ("contains", "not_contains"):
        return (value in text) == (op == "contains")
    if op == "starts_with":
        return text.startswith(value)
    if op == "ends_with":
        return text.endswith(value)
    if op == "wildcard":
        return like(text, value)
    return ordered(op, text.encode(), value.encode())


def as_text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def numbers_compared(text, op, value):
    found = number(text)
    if found is None:
        return False
    if op in ("in", "not_in"):
        return (found in [float(n) for n in value]) == (op == "in")
    if op in ("between", "not_between"):
        return (float(value[0]) <= found <= float(value[1])) == (op == "between")
    return ordered(op, found, float(value))


def test_holds(test, lead, sets, now_us):
    field, op, value = test["field"], test["op"], test.get("value")
    text = lead.raw(field)
    form = exact if test.get("case") else fold
    if op == "blank":
        return text is None
    if text is None:
        return False
    if op == "present":
        return True
    if op == "valid":
        return valid(lead, field, text)
    if op == "within_radius":
        return distance_km((value["latitude"], value["longitude"]), lead.location()) <= value["km"]
    if isinstance(value, dict) and "field" in value:
        return fields_compared(lead, op, field, value["field"], form)
    if op in ("before", "after"):
        at = lead.moment(field)
        return at is not None and ordered(op, at, moment(value))
    if op == "within_last":
        (unit, count), = value.items()
        at = lead.moment(field)
        return at is not None and now_us - count * {"days": 1440, "hours": 60, "minutes": 1}[unit] * 60 * 10**6 <= at <= now_us
    if op == "regex":
        return re.search(value, exact(text), 0 if test.get("case") else re.IGNORECASE) is not None
    if op == "email_domain_in":
        return "@" in text and fold(text).rpartition("@")[2] in [fold(as_text(v)) for v in value]
    if op == "postal_prefix_in":
        short = [re.sub("[ -]", "", fold(as_text(v))) for v in (text, *value)]
        return short[0] != "" and any(short[0].startswith(v) for v in short[1:])
    if is_number(value) or (isinstance(value, list) and is_number(value[0])):
        return numbers_compared(text, op, value)
    if op in PLACE_OPS and field in PLACES:
        form = lambda words: place(words, field) # noqa: E731
    if op in ("in_set", "not_in_set"):
        return (form(text) in {form(v) for v in sets[value] if exact(v)}) == (op == "in_set")
    if op in ("in", "not_in"):
        return (form(text) in [form(as_text(v)) for v in value]) == (op == "in")
    if op in ("between", "not_between"):
        low, high = (form(as_text(v)).encode() for v in value)
        return (low <= form(text).encode() <= high) == (op == "between")
    return parts(op, form(text), form(as_text(value)))


def holds(conditions, lead, sets, now_us):
    if "all" in conditions:
        return all(holds(c, lead, sets, now_us) for c in conditions["all"])
    if "any" in conditions:
        return any(holds(c, lead, sets, now_us) for c in conditions["any"])
    if "not" in conditions:
        return not holds(conditions["not"], lead, sets, now_us)
    if "field" in conditions:
        return test_holds(conditions, lead, sets, now_us)
    return all(test_holds({"field": LISTS[name], "op": "in", "value": values}, lead, sets, now_us)
               for name, values in conditions.items() if values)


def first_match(request, columns):
    """The index of the rule that takes a lead, or -1; a request as rules_peer takes it."""
    lead = Lead(columns, request["policy"])
    order = sorted(enumerate(request["rules"]), key=lambda item: (-item[1]["priority"], item[1]["created_at_us"], item[1]["id"]))
    for index, rule in order:
        if rule["destination_is_active"] and holds(rule["conditions"], lead, request["sets"], columns["now_us"]):
            return index
    return -1
