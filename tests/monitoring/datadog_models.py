"""Holds JSON files against the models of Datadog's own API client, which sys.path must have: prints "path: problem" for each fault.

usage: datadog_models.py KIND FILE…, KIND being monitor, dashboard or slo
"""
import json
import sys

from datadog_api_client import ApiClient, Configuration
from datadog_api_client.model_utils import ModelComposed, ModelNormal, ModelSimple
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.monitor import Monitor
from datadog_api_client.v1.model.service_level_objective_request import ServiceLevelObjectiveRequest

MODELS = {"monitor": Monitor, "dashboard": Dashboard, "slo": ServiceLevelObjectiveRequest}


def faults(model, path):
    """What the client did not understand: it keeps such values, and marks them."""
    if isinstance(model, list):
        for index, item in enumerate(model):
            yield from faults(item, f"{path}[{index}]")
    elif type(model).__name__ == "UnparsedObject" or getattr(model, "_unparsed", False):
        yield f"{path} is nothing that Datadog knows: {str(model)[:200]}"
    elif isinstance(model, ModelComposed):
        yield from faults(model.get_oneof_instance(), path)
    elif isinstance(model, ModelNormal):
        for name, value in model._data_store.items():
            if name not in model.openapi_types:
                yield f"{path} has no {name}"
            yield from faults(value, f"{path}.{name}")
    elif not isinstance(model, (ModelSimple, str, int, float, bool, type(None), dict)):
        yield f"{path}: {type(model).__name__}"


def main():
    client = ApiClient(Configuration())
    for file in sys.argv[2:]:
        with open(file, encoding="utf-8") as text:
            content = json.load(text)
        try:
            model = client.deserialize(json.dumps(content), (MODELS[sys.argv[1]],), True)
        except Exception as error: # pylint: disable=broad-except # whatever the client finds wrong
            print(f"{file}: {error}")
            continue
        for fault in faults(model, sys.argv[1]):
            print(f"{file}: {fault}")


if __name__ == "__main__":
    main()
