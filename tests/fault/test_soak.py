"""Goal: the long forms of tests/unit/grpc_c/soak.c (200,000 calls of all kinds leave nothing behind) and crowd.c (1,000 streams of 1,000
messages at once: none lost, in order, memory flat)."""
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


@pytest.mark.long
def test_crowd():
    done = subprocess.run([BUILD / "tests/unit/grpc_c/grpc_c_crowd", "1000", "1000"], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("1000 streams of 1000 messages: 0 faults")
