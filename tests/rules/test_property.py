"""Goal: the compiled rule set takes what a straightforward evaluator that shares no code with it takes, on random rules and leads of every
kind; a difference is shrunk before it is shown.

LEADROUTER_TEST_SEED=N repeats a run."""
import concurrent.futures
import copy
import json
import os
import random

import pytest

from rules import evaluator, generator
from rules.peer import Peer

LEADS = 100
SEED = int(os.environ.get("LEADROUTER_TEST_SEED", "1"))


def differs(peer, request):
    """Whether the two disagree about the first lead of a request that has one."""
    answer = peer.ask(request)
    return "matches" in answer and answer["matches"][0] != evaluator.first_match(request, request["leads"][0])


def smaller(request):
    """Requests with something less."""
    for index in range(len(request["rules"])):
        less = copy.deepcopy(request)
        del less["rules"][index]
        yield less
        for inner in smaller_conditions(request["rules"][index]["conditions"]):
            less = copy.deepcopy(request)
            less["rules"][index]["conditions"] = inner
            yield less
    for name in request["leads"][0]:
        if name != "now_us":
            less = copy.deepcopy(request)
            del less["leads"][0][name]
            yield less
    for name in request["leads"][0].get("attributes", {}):
        less = copy.deepcopy(request)
        del less["leads"][0]["attributes"][name]
        yield less


def smaller_conditions(conditions):
    for key in ("all", "any"):
        items = conditions.get(key, [])
        yield from items
        for index, item in enumerate(items):
            yield {key: items[:index] + items[index + 1:]}
            yield from ({key: [*items[:index], inner, *items[index + 1:]]} for inner in smaller_conditions(item))
    if "not" in conditions:
        yield conditions["not"]
        yield from ({"not": inner} for inner in smaller_conditions(conditions["not"]))


def shrink(peer, request):
    while True:
        less = next((less for less in smaller(request) if differs(peer, less)), None)
        if less is None:
            return request
        request = less


def run(seed, sets):
    """Checks `sets` rule sets with LEADS leads each; how many leads were taken, and the first counter-example."""
    source = random.Random(seed)
    taken = 0
    with Peer() as peer:
        for _ in range(sets):
            request = generator.request(source, LEADS)
            answer = peer.ask(request)
            assert "matches" in answer, f"{answer}: {json.dumps(request['rules'])}"
            for lead, found in zip(request["leads"], answer["matches"]):
                if found != evaluator.first_match(request, lead):
                    small = shrink(peer, {**request, "leads": [lead]})
                    expected = evaluator.first_match(small, small["leads"][0])
                    return taken, f"evaluator {expected}, rule set {peer.ask(small)['matches'][0]}: {json.dumps(small, ensure_ascii=False)}"
                taken += found >= 0
    return taken, None


def check(sets, parts):
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        results = list(pool.map(run, [SEED * 1000 + part for part in range(parts)], [sets // parts] * parts))
    for _, difference in results:
        assert difference is None, f"LEADROUTER_TEST_SEED={SEED}: {difference}"
    share = sum(taken for taken, _ in results) / (sets * LEADS)
    assert 0.2 < share < 0.9, f"{share:.0%} of the leads were taken: the comparison has little to compare"


def test_twenty_thousand_pairs():
    check(200, 2)


def old_takes(lists, lead):
    """What the system before did with the six lists: one of the words of each list, letter case aside; regions by the table of states."""
    words = {"industries": "company_industry", "company_sizes": "company_size", "revenue_ranges": "company_revenue",
             "countries": "country", "us_states": "state"}
    regions = {state: region.lower() for region, states in evaluator.REGIONS.items() for state in states.split()}
    found = {name: regions[lead["state"]] if name == "regions" else lead[words[name]].lower() for name in lists}
    return all(not values or found[name] in [value.lower() for value in values] for name, values in lists.items())


def test_simple_form_decides_as_before():
    """For leads in the US without missing fields."""
    source = random.Random(SEED)
    pools = {"industries": ["Solar", "WIND", "coal"], "company_sizes": ["1-10", "11-50"], "revenue_ranges": ["$1M - $5M", "$5m - $10m"],
             "countries": ["US", "us"], "us_states": ["CA", "ny", "TX"], "regions": list(evaluator.REGIONS)}
    taken = 0
    with Peer() as peer:
        for _ in range(200):
            lists = [{name: source.sample(pool, source.randint(0, 2)) for name, pool in pools.items() if source.random() < 0.5}
                     for _ in range(5)]
            rules = [{**generator.rule(source, n, 0), "destination_is_active": True, "priority": -n, "conditions": lists[n]} for n in range(5)]
            leads = [{"company_industry": source.choice(["solar", "Wind", "oil"]),
                      "company_size": source.choice(["1-10", "11-50", "51-200"]),
                      "company_revenue": source.choice(["$1m - $5m", "$5M - $10M"]), "country": "US",
                      "state": source.choice(["CA", "NY", "TX", "FL"]), "now_us": 1} for _ in range(50)]
            found = peer.ask({"rules": rules, "policy": {}, "sets": {}, "leads": leads})["matches"]
            expected = [next((n for n, rule in enumerate(rules) if old_takes(rule["conditions"], lead)), -1) for lead in leads]
            assert found == expected
            taken += sum(n >= 0 for n in found)
    assert 1000 < taken < 9900


@pytest.mark.long
def test_a_million_pairs():
    check(10000, 20)
