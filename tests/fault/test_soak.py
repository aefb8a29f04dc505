"""Goal: the long form of tests/unit/grpc_c/soak.c: 200,000 calls of all kinds leave nothing behind."""
import subprocess

import pytest

from support.postgres import BUILD

CALLS = 200000
TIMEOUT_S = 1500


@pytest.mark.long
def test_soak():
    done = subprocess.run([BUILD / "tests/unit/grpc_c/grpc_c_soak", str(CALLS)], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{CALLS} calls: ")
