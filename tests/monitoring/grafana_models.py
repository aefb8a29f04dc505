"""Holds dashboards against the models that Grafana publishes of its schema, which sys.path must have: prints "path: problem" for each
fault.

usage: grafana_models.py FILE…
"""
import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard, units

UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def is_a(value, kind):
    """Whether a value is of a type; of a class, its fields are looked at where the walk comes to them."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(is_a(value, one) for one in typing.get_args(kind))
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in list(kind)
    return kind is typing.Any or isinstance(value, origin or kind)


def wrong_types(model, path):
    if isinstance(model, (list, dict)):
        for index, item in (model.items() if isinstance(model, dict) else enumerate(model)):
            yield from wrong_types(item, f"{path}[{index}]")
    elif type(model).__module__.startswith("grafana_foundation_sdk"):
        for name, kind in typing.get_type_hints(type(model)).items():
            value = getattr(model, name)
            if not is_a(value, kind):
                yield f"{path}.{name} is {value!r}, not {kind}"
            yield from wrong_types(value, f"{path}.{name}")


def lost(before, after, path):
    """What was written and is not there when the model is written out: the schema does not know it."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from lost(value, after[name], f"{path}.{name}")
            else:
                yield f"{path} has no {name}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path} is {before!r}, and becomes {after!r}"


def main():
    register_default_plugins()
    for file in sys.argv[1:]:
        with open(file, encoding="utf-8") as text:
            content = json.load(text)
        try:
            model = dashboard.Dashboard.from_json(content)
            faults = [*wrong_types(model, "dashboard"), *lost(content, json.loads(json.dumps(model, cls=JSONEncoder)), "dashboard")]
        except Exception as error: # pylint: disable=broad-except # whatever the models find wrong
            faults = [f"{type(error).__name__}: {error}"]
        for panel in content.get("panels", []):
            unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
            faults += [] if unit in UNITS else [f"{panel.get('title')} has the unit {unit}"]
        for fault in faults:
            print(f"{file}: {fault}")


if __name__ == "__main__":
    main()
