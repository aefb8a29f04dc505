"""Programs that tests use and Debian has not: from the Go world (tools/go-program) and the npm registry (tools/npm-program); and Python
from PyPI, single modules (tools/pypi-module) and packages with all that they need (tools/pypi-package)."""
import pathlib
import subprocess

import pytest

from support.postgres import BUILD, ROOT


def go_program(name):
    return _fetched("tools/go-program", name)


def npm_program(name):
    return _fetched("tools/npm-program", name)


def pypi_module(name):
    """The folder to import it from."""
    return _fetched("tools/pypi-module", name)


def pypi_package(name):
    return _fetched("tools/pypi-package", name)


def _fetched(tool, name):
    """The program's path; skips the test, and says why, where it cannot be had."""
    done = subprocess.run([ROOT / tool, BUILD / "tools", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip()).resolve()
