"""The rules of deploy/prometheus and series for `promtool test rules`, one sample a minute: in stages of so many minutes."""
import re

import yaml

from support.postgres import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
RECORDED = re.compile(r"leadrouter:[a-z_]+:[a-z0-9_]+")
CALL = "leadrouter.v1.RoutingService/RouteLead"


def decisions(*stages):
    """Stages of (minutes, routed, duplicates, failed), the last three per minute."""
    names = ("routed", "duplicate", "failed")
    return {f'leadrouter_decisions_total{{outcome="{name}",origin="call"}}': [(stage[0], ("+", stage[1 + n])) for stage in stages]
            for n, name in enumerate(names)}


def calls(*stages, method=CALL, code="UNAVAILABLE"):
    """Stages of (minutes, calls that fail, others), both per minute."""
    return {f'leadrouter_rpc_handled_total{{method="{method}",code="{code}"}}': [(minutes, ("+", bad)) for minutes, bad, _ in stages],
            f'leadrouter_rpc_handled_total{{method="{method}",code="OK"}}': [(minutes, ("+", good)) for minutes, _, good in stages]}


def waits(*stages):
    """Stages of (minutes, decisions, those within 2 s, those within 5 s), per minute."""
    places = {'_bucket{le="1.5"}': 2, '_bucket{le="2"}': 2, '_bucket{le="5"}': 3, '_bucket{le="10"}': 1, '_bucket{le="+Inf"}': 1,
              "_count": 1}
    return {f"leadrouter_routing_duration_seconds{end}": [(stage[0], ("+", stage[place])) for stage in stages]
            for end, place in places.items()}


def locks(*stages):
    """Stages of (minutes, leads that nobody held, others), per minute."""
    return {f'leadrouter_lock_attempts_total{{result="{result}"}}': [(stage[0], ("+", stage[place])) for stage in stages]
            for place, result in ((1, "acquired"), (2, "passed_over"))}


def values(stages):
    """Promtool's notation: one sample a minute. A counter's stage is ("+", increase per minute); None is no sample."""
    parts, total = [], 0
    for minutes, value in stages:
        if isinstance(value, tuple):
            parts.append(f"{total + value[1]}+{value[1]}x{minutes - 1}")
            total += value[1] * minutes
        else:
            parts.append(f"_x{minutes}" if value is None else f"{value}x{minutes - 1}")
            total = value
    return " ".join(parts)


def series_name(name):
    labels = 'job="leadrouter",instance="a"'
    return name.replace("{", "{" + labels + ",") if "{" in name else f"{name}{{{labels}}}"


def rules(name):
    groups = yaml.load((PROMETHEUS / name).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def needed(expression, recorded):
    """Recording rules that an expression rests on, in the order of the file."""
    names, todo = set(), [expression]
    while todo:
        found = set(RECORDED.findall(todo.pop())) - names
        names |= found
        todo += [rule["expr"] for rule in recorded if rule["record"] in found]
    return [rule for rule in recorded if rule["record"] in names]
