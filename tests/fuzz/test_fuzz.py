"""Goal: the long form of the fuzz targets: 5,000,000 inputs each without a finding."""
import subprocess

import pytest

from support.postgres import BUILD, ROOT

COUNT = 5000000
TIMEOUT_S = 3600


@pytest.mark.long
@pytest.mark.parametrize("name", ["conditions", "jwt", "match", "csv", "json_lines", "mapping"])
def test_five_million_inputs(name):
    with open(ROOT / f"tests/fuzz/{name}_corpus.txt", "rb") as corpus:
        done = subprocess.run([BUILD / f"tests/fuzz/fuzz_{name}", str(COUNT)], stdin=corpus, capture_output=True, text=True,
                              timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{COUNT} inputs\n"
