"""Goal: the compiled rule set takes what a straightforward evaluator that shares no code with it takes, on random rules and leads of every
kind; a difference is shrunk before it is shown.

LEADROUTER_TEST_SEED=N repeats a run."""
import concurrent.futures
import json
import os
import random

import pytest

from rules import evaluator, generator
from rules.peer import Peer
from rules.shrink import shrink
from rules.test_evaluator import CASES, NOW_US, SETS

LEADS = 100
SEED = int(os.environ.get("LEADROUTER_TEST_SEED", "1"))


@pytest.fixture(scope="module")
def peer():
    with Peer() as peer:
        yield peer


def differs(peer, request):
    """Whether the two disagree about the first lead of a request that has one."""
    answer = peer.ask(request)
    return "matches" in answer and answer["matches"][0] != evaluator.first_match(request, request["leads"][0])


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
                    small = shrink({**request, "leads": [lead]}, lambda less: differs(peer, less))
                    expected = evaluator.first_match(small, small["leads"][0])
                    found = peer.ask(small)["matches"][0]
                    return taken, f"evaluator {expected}, rule set {found}: {json.dumps(small, ensure_ascii=False)}"
                taken += found >= 0
    return taken, None


def check(sets, parts):
    print(f"LEADROUTER_TEST_SEED={SEED}")
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        results = list(pool.map(run, [SEED * 1000 + part for part in range(parts)], [sets // parts] * parts))
    for _, difference in results:
        assert difference is None, f"LEADROUTER_TEST_SEED={SEED}: {difference}"
    share = sum(taken for taken, _ in results) / (sets * LEADS)
    assert 0.2 < share < 0.9, f"{share:.0%} of the leads were taken: the comparison has little to compare"


@pytest.mark.parametrize("conditions, lead, expected", CASES, ids=str)
def test_written_case(peer, conditions, lead, expected):
    """What is written by hand about the evaluator holds for the compiled rules too."""
    rules = [{**generator.rule(random.Random(SEED), 0, 0), "destination_is_active": True, "conditions": conditions}]
    answer = peer.ask({"rules": rules, "policy": {}, "sets": SETS, "leads": [{"now_us": NOW_US, **lead}]})
    assert answer == {"matches": [0 if expected else -1]}


def test_planted_fault_is_shown_small(monkeypatch):
    """An evaluator that forgets the ends of ranges is caught, and what is shown is one rule of one test, one field, few letters."""
    right = evaluator.numbers_compared
    monkeypatch.setattr(evaluator, "numbers_compared", lambda text, op, value: right(text, op, value) and not (
        op == "between" and evaluator.number(text) in value))
    _, difference = run(SEED, 200)
    shown = json.loads(difference.partition(": ")[2])
    (rule,), (lead,) = shown["rules"], shown["leads"]
    assert difference.startswith("evaluator -1, rule set 0: ")
    assert rule["conditions"]["op"] == "between" and rule["conditions"]["field"].split(".")[0] in lead
    assert lead.keys() - {"now_us", "created_at_us"} == {rule["conditions"]["field"].split(".")[0]}
    assert shown["policy"] == {} and shown["sets"] == {}


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
            rules = [{**generator.rule(source, n, 0), "destination_is_active": True, "priority": -n, "conditions": lists[n]}
                     for n in range(5)]
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
