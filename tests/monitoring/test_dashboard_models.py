"""Grafana's dashboards by the models that Grafana publishes of its schema, and Datadog's beside them: they come from one source."""
import json
import os
import subprocess
import sys

from support.fetched_program import pypi_package
from support.postgres import ROOT

MODELS = ROOT / "tests" / "monitoring" / "grafana_models.py"
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def problems(*paths):
    done = subprocess.run([sys.executable, MODELS, *map(str, paths)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(pypi_package("grafana-foundation-sdk"))})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_grafana_knows_all_of_it():
    assert len(BOARDS) > 1
    assert problems(*BOARDS) == ""


def test_faults_are_found(tmp_path):
    """A field, a word of an enumeration, an option of a panel, a unit that there are not; a text for a number."""
    def plant(number, change):
        board = json.loads((ROOT / "deploy/grafana/levels.json").read_text(encoding="utf-8"))
        change(board, next(panel for panel in board["panels"] if panel["type"] == "stat"))
        path = tmp_path / f"planted{number}.json"
        path.write_text(json.dumps(board), encoding="utf-8")
        return path

    plants = [lambda board, panel: None,
              lambda board, panel: board.update(titel="x"),
              lambda board, panel: panel["options"].update(graphMode="areas"),
              lambda board, panel: panel["options"].update(legend={}),
              lambda board, panel: panel["fieldConfig"]["defaults"].update(unit="percents"),
              lambda board, panel: panel["gridPos"].update(w="6"),
              lambda board, panel: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1].update(value="1"),
              lambda board, panel: panel["targets"][0].update(expression="up")]
    paths = [plant(number, change) for number, change in enumerate(plants)]
    found = problems(*paths)
    assert [found.count(f"{path}: ") > 0 for path in paths] == [False, *[True] * (len(paths) - 1)], found
