"""Programs of the Go world that tests talk to (tools/go-program)."""
import pathlib
import subprocess

import pytest

from support.postgres import BUILD, ROOT


def go_program(name):
    """The program's path; skips the test, and says why, where it cannot be had."""
    done = subprocess.run([ROOT / "tools/go-program", BUILD / "tools", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip()).resolve()
