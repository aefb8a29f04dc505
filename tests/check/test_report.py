#!/usr/bin/python3
"""Goal: the closing line of tools/check is right for results of every kind, and nothing that went wrong is taken for success."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().with_name("report.py")

CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] test_one
some output without an end of line[       OK ] test_one
[ RUN      ] test_two
{two} test_two
[ RUN      ] test_three
[       OK ] test_three
"""


def ctest(name, output="", status="run", inner=""):
    return f'<testcase name="{name}" classname="{name}" status="{status}">{inner}<system-out>{output}</system-out></testcase>'


def pytest(file, name, inner="", classname=None):
    classname = classname or file.removesuffix(".py").replace("/", ".")
    return f'<testcase classname="{classname}" name="{name}" file="{file}" line="3">{inner}</testcase>'


FAIL = '<failure message="1 is not 2">assert</failure>'


class ReportTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="report-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.runs = []

    def add(self, name, exit_code, *cases):
        """A run with test cases, or one without a result file when none are given."""
        file = "-"
        if cases:
            file = f"{len(self.runs)}.xml"
            (self.folder / file).write_text(f"<testsuite>{''.join(cases)}</testsuite>", encoding="utf-8")
        self.runs.append(f"{name}\t{exit_code}\t7\t{file}")

    def report(self, *arguments, must_not_skip=None):
        (self.folder / "runs").write_text("".join(run + "\n" for run in self.runs), encoding="utf-8")
        command = [sys.executable, "-B", str(SCRIPT), str(self.folder), *arguments]
        if must_not_skip is not None:
            (self.folder / "list.txt").write_text("# comment\n\n" + must_not_skip, encoding="utf-8")
            command += ["--must-not-skip", str(self.folder / "list.txt")]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, "")
        return run.returncode, run.stdout.splitlines()

    def assert_closing(self, code, closing, *others, **options):
        exit_code, lines = self.report(**options)
        self.assertEqual((exit_code, lines[-1]), (code, closing), lines)
        for text in others:
            self.assertTrue(any(text in line for line in lines[:-1]), f"{text} is not in {lines}")

    def test_sum_over_runs(self):
        self.add("build", 0)
        self.add("ctest", 0, ctest("unit/a", CMOCKA.format(two="[       OK ]")), ctest("tidy"))
        self.add("pytest", 0, pytest("sql/test_a.py", "test_x"), pytest("sql/test_a.py", "test_y"))
        self.assert_closing(0, "6 passed, 0 failed, 0 skipped")

    def test_failures(self):
        self.add("ctest", 8, ctest("unit/a", CMOCKA.format(two="[  FAILED  ]"), "fail", FAIL), ctest("tidy", inner=FAIL))
        self.add("pytest", 1, pytest("sql/test_a.py", "test_x", FAIL), pytest("sql/test_a.py", "test_y", "<error message='e'/>"))
        self.assert_closing(
            1, "2 passed, 4 failed, 0 skipped", "FAILED  ctest: unit/a::test_two", "FAILED  ctest: tidy: 1 is not 2",
            "FAILED  pytest: sql/test_a.py::test_x: 1 is not 2", "FAILED  pytest: sql/test_a.py::test_y: e")

    def test_program_that_crashed(self):
        output = "[ RUN      ] test_one\n[       OK ] test_one\n[ RUN      ] test_two\n"
        self.add("ctest", 8, ctest("unit/a", output, "fail", FAIL))
        self.assert_closing(1, "1 passed, 1 failed, 0 skipped", "unit/a::test_two: the program ended badly")

    def test_program_that_failed_after_its_tests(self):
        self.add("ctest", 8, ctest("unit/a", CMOCKA.format(two="[       OK ]"), "fail", FAIL))
        self.assert_closing(1, "2 passed, 1 failed, 0 skipped", "in or after this test")

    def test_status_alone_is_a_failure(self):
        self.add("ctest", 8, ctest("unit/a", "", "fail"))
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped")

    def test_skips_are_listed_with_their_reason(self):
        self.add("ctest", 0, ctest("unit/a", CMOCKA.format(two="[  SKIPPED ]")), ctest("b", "", "notrun", "<skipped message='off'/>"))
        self.add("pytest", 0, pytest("sql/test_a.py", "test_x", "<skipped message='no locale'>where</skipped>"))
        self.assert_closing(
            0, "2 passed, 0 failed, 3 skipped", "SKIPPED ctest: unit/a::test_two", "SKIPPED ctest: b: off",
            "SKIPPED pytest: sql/test_a.py::test_x: no locale")

    def test_skip_that_is_forbidden(self):
        skip = "<skipped message='no server'/>"
        self.add("ctest", 0, ctest("unit/a", CMOCKA.format(two="[  SKIPPED ]")))
        self.add("pytest", 0, pytest("sql/test_a.py", "test_x[1]", skip))
        self.assert_closing(
            1, "2 passed, 2 failed, 2 skipped", "FAILED  ctest: unit/a::test_two: must not be skipped",
            "FAILED  pytest: sql/test_a.py::test_x[1]: must not be skipped (no server)", must_not_skip="unit/*\nsql/*\n")

    def test_listed_test_that_is_gone(self):
        self.add("ctest", 0, ctest("tidy"))
        self.assert_closing(1, "1 passed, 1 failed, 0 skipped", "FAILED  interop/*", must_not_skip="tidy\ninterop/*\n")

    def test_class_is_part_of_the_name(self):
        self.add("pytest", 1, pytest("sql/test_a.py", "test_x", FAIL, "sql.test_a.TestThing"))
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped", "sql/test_a.py::TestThing::test_x")

    def test_step_that_failed(self):
        self.add("build release", 2)
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped", "FAILED  build release: ended with 2", must_not_skip="unit/*\n")

    def test_run_that_ended_badly_without_a_failed_test(self):
        self.add("pytest", 3, pytest("sql/test_a.py", "test_x"))
        self.assert_closing(1, "1 passed, 1 failed, 0 skipped", "FAILED  pytest: ended with 3")

    def test_run_without_results(self):
        self.runs.append("pytest\t0\t7\tgone.xml")
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped", "left no results")
        self.runs[0] = "pytest\t124\t7\tcut.xml"
        (self.folder / "cut.xml").write_text("<testsuite><testcase", encoding="utf-8")
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped", "left no results")

    def test_passed_when_it_ran_again(self):
        self.add("ctest", 8, ctest("unit/a", CMOCKA.format(two="[  FAILED  ]"), "fail", FAIL), ctest("tidy"))
        self.add("pytest", 1, pytest("sql/test_a.py", "test_x[1]", FAIL), pytest("sql/test_a.py", "test_y", FAIL))
        self.assertEqual(self.report("--again"), (0, ["ctest", "pytest"]))
        self.add("ctest again", 0, ctest("unit/a", CMOCKA.format(two="[       OK ]")))
        self.add("pytest again", 1, pytest("sql/test_a.py", "test_x[1]"), pytest("sql/test_a.py", "test_y", FAIL))
        self.assert_closing(
            1, "5 passed, 1 failed, 0 skipped", "UNSTABLE ctest: unit/a::test_two: see its output above; passed",
            "UNSTABLE pytest: sql/test_a.py::test_x[1]: 1 is not 2; passed", "FAILED  pytest: sql/test_a.py::test_y: 1 is not 2")

    def test_another_run_settles_nothing(self):
        self.add("ctest", 8, ctest("unit/a", "", "fail", FAIL))
        self.add("pytest again", 0, ctest("unit/a"))
        self.assert_closing(1, "0 passed, 1 failed, 0 skipped", "FAILED  ctest: unit/a")

    def test_never_again(self):
        """Many failures, a crash, what a sanitizer finds, a run that ended badly, and what is listed."""
        never = self.folder / "never.txt"
        never.write_text("# comment\npytest: model/*\n", encoding="utf-8")
        slow = pytest("sql/test_a.py", "test_x", FAIL)
        crashed = ctest("unit/a", "[ RUN      ] test_one\n", "fail", FAIL)
        raced = ctest("unit/a", "WARNING: ThreadSanitizer: data race\n" + CMOCKA.format(two="[  FAILED  ]"), "fail", FAIL)
        for cases, expected in (([slow] * 3, ["pytest"]), ([slow] * 4, []), ([slow, crashed], []), ([slow, raced], []),
                                ([slow, pytest("model/test_a.py", "test_x", FAIL)], []),
                                ([pytest("model/test_a.py", "test_x")], [])):
            self.runs = []
            self.add("pytest", 1, *cases)
            if not any("<failure" in case for case in cases):
                self.runs.append("build\t1\t7\t-")
            self.assertEqual(self.report("--again", "--never-again", str(never)), (0, expected), cases)

    def test_nothing_was_tested(self):
        self.add("build", 0)
        self.assert_closing(1, "0 passed, 0 failed, 0 skipped", "nothing was tested")

    def test_document(self):
        document = self.folder / "verification.md"
        self.add("build", 0)
        self.add("ctest", 8, ctest("tidy"), ctest("unit/a", "", "fail", FAIL))
        code, _ = self.report("--write", str(document), "--command", "tools/check --long")
        text = document.read_text(encoding="utf-8")
        self.assertEqual(code, 1)
        self.assertNotIn("alone", text)
        for part in (
                "- command: `tools/check --long`", "- result: **1 passed, 1 failed, 0 skipped**",
                "| ctest | 1 | 1 | 0 | 7 |", "| build | 0 | 0 | 0 | 7 |", "- ctest: unit/a: 1 is not 2", " UTC"):
            self.assertIn(part, text)


if __name__ == "__main__":
    unittest.main()
