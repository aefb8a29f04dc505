#!/usr/bin/python3
"""Goal: tools/check does what its help says in a small project: every run is counted, every kind of failure ends it with 1, and it
works from any folder, twice, after a move, and without standard input."""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

CMAKE = """cmake_minimum_required(VERSION 3.25)
project(small NONE)
enable_testing()
add_test(NAME unit/one COMMAND sh -c "! rm ${PROJECT_SOURCE_DIR}/unsteady")
add_test(NAME tidy COMMAND sh -c "cd ${PROJECT_SOURCE_DIR} && test ! -e broken")
file(WRITE ${PROJECT_BINARY_DIR}/race_tests "^unit/one$")
add_custom_target(built ALL COMMAND sh -c "cat ${PROJECT_SOURCE_DIR}/output; test ! -e ${PROJECT_SOURCE_DIR}/unbuildable" VERBATIM)
"""
PRESETS = """{"version": 6,
 "configurePresets": [{"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build/release"},
                      {"name": "asan", "generator": "Ninja", "binaryDir": "${sourceDir}/build/asan"},
                      {"name": "tsan", "generator": "Ninja", "binaryDir": "${sourceDir}/build/tsan"}],
 "buildPresets": [{"name": "release", "configurePreset": "release"}, {"name": "asan", "configurePreset": "asan"},
                  {"name": "tsan", "configurePreset": "tsan"}]}
"""
SUITE = """import os, pathlib, pytest
BUILD = pathlib.Path(os.environ["LEADROUTER_BUILD_DIR"])

def test_plain():
    assert BUILD.is_absolute() and BUILD.name == "release"

@pytest.mark.asan
def test_both():
    assert BUILD.name in ("release", "asan")

@pytest.mark.long
def test_long():
    assert os.environ["LEADROUTER_LONG"] == "1"
"""
SHORT = "7 passed, 0 failed, 0 skipped"  # unit/one three times, tidy, test_plain, test_both twice
LONG = "8 passed, 0 failed, 0 skipped"


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="check-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.root = self.folder / "tree"
        for name in ("tools/check", "tests/check/report.py", "tests/pytest.ini", "tests/never-again.txt"):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self.write("CMakeLists.txt", CMAKE)
        self.write("CMakePresets.json", PRESETS)
        self.write("output", "built\n")
        self.write("tests/must-not-skip.txt", "unit/*\nsql/*\n")
        self.write("tests/sql/test_small.py", SUITE)
        self.write("tools/setup", "#!/bin/sh\ntest \"$1\" = --all\n").chmod(0o755)
        (self.root / "docs").mkdir()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def check(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEADROUTER_", "PYTEST_"))}
        return subprocess.run(
            [str(self.root / "tools/check"), *arguments], cwd="/", env=environment | {"CI": "true"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100)

    def assert_check(self, code, closing, *others, arguments=()):
        run = self.check(*arguments)
        lines = run.stdout.splitlines()
        self.assertEqual((run.returncode, lines[-1]), (code, closing), run.stdout)
        self.assertEqual(len(re.findall(r"^\d+ passed, \d+ failed, \d+ skipped$", run.stdout, re.M)), 1, run.stdout)
        for text in others:
            self.assertIn(text, run.stdout)

    def test_twice_and_after_a_move(self):
        self.assert_check(0, SHORT)
        self.assert_check(0, SHORT)
        moved = self.folder / "moved"
        self.root.rename(moved)
        self.root = moved
        self.assert_check(0, SHORT)
        self.assertFalse(list(moved.rglob("__pycache__")) + list(moved.rglob(".pytest_cache")))
        self.assertFalse((moved / "docs/verification.md").exists())

    def test_long(self):
        self.assert_check(0, LONG, arguments=["--long"])
        text = (self.root / "docs/verification.md").read_text(encoding="utf-8")
        self.assertIn("`tools/check --long`", text)
        self.assertIn(f"**{LONG}**", text)

    def test_failed_tests(self):
        self.write("broken", "")
        self.write("tests/sql/test_small.py", SUITE + "\ndef test_wrong():\n    assert BUILD is None\n")
        self.assert_check(
            1, "6 passed, 2 failed, 0 skipped", "FAILED  ctest release: tidy",
            "FAILED  pytest release: sql/test_small.py::test_wrong")

    def test_failed_once(self):
        """What fails once, and not when it runs again, is listed and no failure; unless a repetition is not allowed."""
        once = """
@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("name", ["a b", "x[1]::y"])
def test_once(name):
    missing = not (BUILD / "ran").exists()
    (BUILD / "ran").touch()
    assert not missing, "too slow"
"""
        self.write("tests/sql/test_small.py", SUITE + once)
        self.write("unsteady", "")
        self.assert_check(0, "9 passed, 0 failed, 0 skipped", "UNSTABLE ctest release: unit/one: ", "check: ctest release again: done",
                          "UNSTABLE pytest release: sql/test_small.py::test_once[a b]@together: AssertionError: too slow")
        self.assert_check(0, "9 passed, 0 failed, 0 skipped")
        self.write("tests/never-again.txt", "ctest *: unit/*\n")
        self.write("unsteady", "")
        self.assert_check(1, "8 passed, 1 failed, 0 skipped", "FAILED  ctest release: unit/one")

    def test_forbidden_skip(self):
        self.write("tests/sql/test_small.py", SUITE + "\ndef test_skips():\n    pytest.skip('no server')\n")
        self.assert_check(
            1, "7 passed, 1 failed, 1 skipped", "SKIPPED pytest release: sql/test_small.py::test_skips", "must not be skipped")

    def test_suite_that_cannot_be_read(self):
        self.write("tests/sql/test_other.py", "import no_such_module\n")
        run = self.check()
        self.assertEqual(run.returncode, 1)
        self.assertIn("no_such_module", run.stdout)

    def test_build_that_fails(self):
        self.write("unbuildable", "")
        self.assert_check(1, "0 passed, 1 failed, 0 skipped", "FAILED  build release")

    def test_warning_fails_every_time(self):
        self.write("output", "x.c:1:1: warning: odd\n")
        for _ in range(2):
            self.assert_check(1, "0 passed, 1 failed, 0 skipped", "warning: odd", "FAILED  warnings release")

    def test_installation_that_fails(self):
        self.write("tools/setup", "#!/bin/sh\necho 'these packages are missing: x' >&2\nexit 1\n")
        self.assert_check(1, "0 passed, 1 failed, 0 skipped", "these packages are missing: x", "FAILED  setup")

    def test_second_one_at_the_same_time(self):
        (self.root / "build/check").mkdir(parents=True)
        with open(self.root / "build/check/lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run = self.check()
        self.assertEqual(run.returncode, 1)
        self.assertIn("another tools/check is running", run.stdout)

    def test_usage(self):
        for arguments in (["--bogus"], ["--long", "--coverage"], ["x"]):
            run = self.check(*arguments)
            self.assertEqual(run.returncode, 2)
            self.assertIn("usage: tools/check", run.stdout)
        run = self.check("--help")
        self.assertEqual(run.returncode, 0)
        self.assertIn("--coverage", run.stdout)


if __name__ == "__main__":
    unittest.main()
