"""Makes a request on which two evaluators differ as small as it gets: fewer rules, fields and subtrees, shorter values."""
import copy

PLAIN_NUMBERS = (0, 1, 10)
KEPT = ("now_us",)


def texts_shorter(text):
    half = len(text) // 2
    if half:
        yield text[:half]
        yield text[half:]
    yield from (text[:index] + text[index + 1:] for index in range(len(text)))
    yield from (text[:index] + "a" + text[index + 1:] for index, letter in enumerate(text) if letter not in "ab")


def values_smaller(value):
    """Values of the same kind that are simpler; each step is strictly down, so that shrinking ends."""
    if isinstance(value, str):
        yield from texts_shorter(value)
    elif isinstance(value, list):
        yield from lists_shorter(value)
        for index, item in enumerate(value):
            yield from ([*value[:index], smaller, *value[index + 1:]] for smaller in values_smaller(item))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from ({**value, name: smaller} for smaller in values_smaller(item) if name != "field")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        rank = PLAIN_NUMBERS.index(value) if value in PLAIN_NUMBERS else len(PLAIN_NUMBERS)
        yield from PLAIN_NUMBERS[:rank]


def lists_shorter(items):
    """Without a half, a quarter, …, one of its items."""
    size = len(items)
    while size > 1:
        size = (size + 1) // 2
        yield from (items[:start] + items[start + size:] for start in range(0, len(items), size))
    if len(items) == 1:
        yield []


def conditions_smaller(conditions):
    for key in ("all", "any"):
        if key in conditions:
            yield from conditions[key]
            yield from ({key: items} for items in lists_shorter(conditions[key]))
            for index, item in enumerate(conditions[key]):
                yield from ({key: [*conditions[key][:index], inner, *conditions[key][index + 1:]]} for inner in conditions_smaller(item))
            return
    if "not" in conditions:
        yield conditions["not"]
        yield from ({"not": inner} for inner in conditions_smaller(conditions["not"]))
    elif "field" in conditions:
        yield from ({**conditions, "value": value} for value in values_smaller(conditions.get("value")))
        yield from [{name: value for name, value in conditions.items() if name != "case"}] * ("case" in conditions)
    else:
        yield from members_smaller(conditions)


def members_smaller(members, kept=()):
    """Without one of its members, then with one that is smaller."""
    for name in members:
        if name not in kept:
            yield {other: value for other, value in members.items() if other != name}
    for name, value in members.items():
        if name not in kept:
            yield from ({**members, name: smaller} for smaller in values_smaller(value))


def leads_smaller(lead):
    columns = {name: value for name, value in lead.items() if name != "attributes"}
    if "attributes" in lead:
        yield columns
        yield from ({**columns, "attributes": attributes} for attributes in members_smaller(lead["attributes"]))
    extra = {name: lead[name] for name in ("attributes",) if name in lead}
    yield from ({**smaller, **extra} for smaller in members_smaller(columns, KEPT))


def rules_smaller(rule):
    yield from ({**rule, "conditions": conditions} for conditions in conditions_smaller(rule["conditions"]))
    for name, plain in (("priority", 0), ("created_at_us", 1), ("destination_is_active", True)):
        if rule[name] != plain:
            yield {**rule, name: plain}


def requests_smaller(request):
    """Requests with something less; the biggest steps first."""
    yield from ({**request, "rules": rules} for rules in lists_shorter(request["rules"]))
    for name in ("policy", "sets"):
        yield from ({**request, name: members} for members in members_smaller(request[name]))
    yield from ({**request, "leads": [lead]} for lead in leads_smaller(request["leads"][0]))
    for index, rule in enumerate(request["rules"]):
        rules = request["rules"]
        yield from ({**request, "rules": [*rules[:index], smaller, *rules[index + 1:]]} for smaller in rules_smaller(rule))


def shrink(request, differs):
    """The request of one lead that still differs, where no smaller one does."""
    request = copy.deepcopy(request)
    while True:
        less = next((less for less in requests_smaller(request) if differs(less)), None)
        if less is None:
            return request
        request = less
