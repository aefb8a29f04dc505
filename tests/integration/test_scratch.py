"""Goal: what a test process that was killed leaves in memory is removed by the next session, and nothing else."""
import pathlib
import signal
import subprocess
import sys

from support.postgres import ROOT, scratch, sweep

MAKER = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from support.postgres import scratch
print(scratch("killed"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left():
    killed = subprocess.run([sys.executable, "-c", MAKER], capture_output=True, text=True, check=False)
    left, own = pathlib.Path(killed.stdout.strip()), pathlib.Path(scratch("own"))
    strange = left.with_name(left.name.rsplit("-", 2)[0]) # as the C tests name theirs: without a process id
    assert killed.returncode == -signal.SIGKILL and left.exists()
    (left / "data").mkdir()
    strange.mkdir(exist_ok=True)
    try:
        sweep(left.parent)
        assert [path.exists() for path in (left, own, strange)] == [False, True, True]
    finally:
        own.rmdir()
        strange.rmdir()
