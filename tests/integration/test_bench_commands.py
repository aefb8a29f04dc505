"""Goal: the commands that docs/performance.md has its figures from work, and say what the page says of them. How fast anything is does not
matter here, the machine may be busy: each runs with little data, and for a second (leadrouter-bench scenarios: test_bench_scenarios.py)."""
import json
import os
import re
import shutil
import subprocess

import pytest

from support.guides import text_of
from support.postgres import BUILD, ROOT, scratch

PATIENCE_S = 540
BENCH = re.findall(r"^build/release/tools/bench/leadrouter-bench (\w+)(.*)$", text_of("performance.md"), re.MULTILINE)
# A bench whose leads are used up fails, so there are more of them than a second can take.
SMALL = {"--rounds": "1", "--duration": "1", "--leads": "60000", "--rows": "3000", "--churn": "140000", "--callers": "10",
         "--workspaces": "5", "--rules": "4", "--idle-wait": "0"}
# What the page has figures of, in the report of each.
SAYS = {
    "compare": ["leads_per_second", "p50_ms", "p95_ms", "p99_ms", "max_ms", "unary_to_naive", "unary_to_ceiling", "stream_to_unary",
                "server_resident_max_kib"],
    "rpc": ["generated_per_second", "by_hand_per_second", "generated_to_by_hand"],
    "rules": ["rules"],
    "retries": ["drain_to_unary", "polite_to_unary", "p99_ratio", "claim_first_us", "claim_last_us", "claim_held_us"],
    "tokens": ["to_none"],
    "tenants": ["p99"],
    "imports": ["routed_to_unary", "inserted_to_copied", "server_max_kib", "client_max_kib"],
    "telemetry": ["to_off", "server_cpu_us", "p99_ms"],
}


@pytest.fixture
def directory():
    path = scratch("bench")
    yield path
    shutil.rmtree(path)


def own_help(name):
    """What --help says of one bench."""
    helped = subprocess.run([BUILD / "tools/bench/leadrouter-bench", "--help"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"^{name}: .*?(?=^\w+: |\Z)", helped, re.MULTILINE | re.DOTALL)[0]


def bench(directory, name, flags, **small):
    """The report of the page's command, made small."""
    small = {**SMALL, **{f"--{flag}": value for flag, value in small.items()}}
    own, words = own_help(name), flags.split()
    for word in re.findall(r"(--[a-z-]+)", flags):
        if word in small:
            words[words.index(word) + 1] = small[word]
    words += [text for flag, value in small.items() if flag not in words and f"{flag} " in own for text in (flag, value)]
    if "--directory" in own:
        words += ["--directory", directory]
    done = subprocess.run([BUILD / "tools/bench/leadrouter-bench", name, *words, "--json"], capture_output=True, text=True,
                          timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert os.listdir(directory) == [], "the private cluster is still there"
    return json.loads(done.stdout)


def test_the_page_has_them_all():
    """And names no flag that there is not; within sentences neither."""
    assert {name for name, _ in BENCH} == {*SAYS, "scenarios"}
    for name, flags in [*BENCH, *re.findall(r"`leadrouter-bench (\w+)([^`]*)`", text_of("performance.md"))]:
        assert [word for word in re.findall(r"(--[a-z-]+)", flags) if f"  {word} " not in own_help(name)] == [], name


@pytest.mark.long
def test_what_being_seen_costs(directory):
    """Both servers decide, and the one that is seen exports spans, all in one run. Of so many calls one in a hundred is seen, whatever
    chance does."""
    (flags,) = [flags for name, flags in BENCH if name == "telemetry"]
    report = bench(directory, "telemetry", flags, leads="150000", duration="5")
    assert report["spans"] > 0 and report["turns"] >= 3 and report["off"]["to_off"] == 1
    for kind in ("off", "on"):
        assert report[kind]["leads_per_second"] > 0 and report[kind]["server_cpu_us"] > 0 and report[kind]["p99_ms"] > 0
    assert 0.2 < report["on"]["to_off"] < 5, report


@pytest.mark.long
@pytest.mark.parametrize("name, flags", [(name, flags) for name, flags in BENCH if name not in ("scenarios", "telemetry")])
def test_the_others(directory, name, flags):
    report = json.dumps(bench(directory, name, flags))
    assert [word for word in SAYS[name] if f'"{word}' not in report] == [], report


@pytest.mark.long
@pytest.mark.parametrize("script", ["tests/sql/row_security_cost.py", "tests/integration/cost_per_lead.py",
                                    "tests/integration/held_leads.py"])
def test_scripts(script):
    """The page's lines for them, as they stand."""
    line, = re.findall(rf"^(LEADROUTER_BUILD_DIR=\S+ /usr/bin/python3 {script})$", text_of("performance.md"), re.MULTILINE)
    done = subprocess.run(["bash", "-c", line.replace("$PWD/build/release", str(BUILD))], cwd=ROOT, capture_output=True, text=True,
                          timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0 and re.search(r"\d", done.stdout), done.stderr
