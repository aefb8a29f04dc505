#!/usr/bin/python3
"""Adds up the test runs of tools/check: lists what failed and what was skipped, then prints the closing line.

Reads one folder with a file "runs", one line per run: name, exit code, seconds and result file, separated by tabs. A result file is
JUnit XML of ctest or pytest; a step without tests, such as a build, has "-" and counts only when it failed. Trusts nothing: a
run that ended badly, or left no results, counts as a failure even when no test did.

A run named "X again" is of what failed in X: a test that passes there counts as passed, and a line "UNSTABLE" says so. --again prints
the runs for which that is worth it and allowed; REPEATED_MAX and NEVER_REPEATED are the rules.
"""
import argparse
import datetime
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
CMOCKA_RUN = re.compile(r"\[ RUN      \] (\w+)")
CMOCKA_FAILED = re.compile(r"\[  FAILED  \] (\w+)")
CMOCKA_SKIPPED = re.compile(r"\[  SKIPPED \] (\w+)")
AGAIN = " again"
REPEATED_MAX = 3 # with more failures than these in all runs it is not the machine
# What a repetition cannot take back: a race, a memory error, a crash.
NEVER_REPEATED = re.compile(r"Sanitizer|runtime error:|Test failed with exception|Segmentation fault|SEGFAULT|ended badly")


class Run:
    """One run of ctest or pytest, or a step without tests."""

    def __init__(self, name, exit_code, seconds, tests, problem):
        self.name = name
        self.exit_code = exit_code
        self.seconds = seconds
        self.tests = tests  # (name, result, reason)
        self.problem = problem  # why the run as a whole failed, or None
        self.grave = False  # it found what no repetition takes back

    def count(self, result):
        return sum(1 for test in self.tests if test[1] == result) + (1 if result == FAILED and self.problem else 0)


def reason_of(element):
    text = element.get("message") or (element.text or "").strip()
    return text.split("\n", maxsplit=1)[0][:200] or "no reason given"


def cases_of_cmocka(name, output, program_failed):
    """The test functions of one program, from what it printed. A program that failed has a failed test, whatever it printed."""
    failed = set(CMOCKA_FAILED.findall(output))
    skipped = set(CMOCKA_SKIPPED.findall(output)) - failed
    names = list(dict.fromkeys(CMOCKA_RUN.findall(output)))
    tests = []
    for function in names:
        if function in failed:
            tests.append((f"{name}::{function}", FAILED, "see its output above"))
        elif function in skipped:
            tests.append((f"{name}::{function}", SKIPPED, "skip() in the test"))
        else:
            tests.append((f"{name}::{function}", PASSED, ""))
    if program_failed and not failed & set(names):
        last = names[-1] if names else ""
        tests = [test for test in tests if test[0] != f"{name}::{last}"]
        tests.append((f"{name}::{last}", FAILED, "the program ended badly in or after this test"))
    return tests


def tests_of_case(case):
    """The tests of one <testcase>."""
    name = case.get("name", "?")
    if case.get("file"):
        owner = case.get("classname", "").rpartition(".")[2]
        inside = owner + "::" if owner and owner != pathlib.PurePath(case.get("file")).stem else ""
        name = f"{case.get('file')}::{inside}{name}"
    failure = case.find("failure") if case.find("failure") is not None else case.find("error")
    if failure is None and case.get("status") == "fail":
        failure = case
    skip = case.find("skipped")
    output = case.findtext("system-out") or ""
    if CMOCKA_RUN.search(output):
        return cases_of_cmocka(name, output, failure is not None)
    if failure is not None:
        # Of ctest the reason is only that it failed.
        return [(name, FAILED, "see its output above" if failure is case else reason_of(failure))]
    if skip is not None or case.get("status") in ("notrun", "disabled"):
        return [(name, SKIPPED, reason_of(skip) if skip is not None else "not run")]
    return [(name, PASSED, "")]


def run_of(folder, line):
    name, exit_code, seconds, file = line.split("\t")
    tests, problem, grave = [], None, False
    if file != "-":
        try:
            tree = ElementTree.parse(folder / file)
            for case in tree.iter("testcase"):
                found = tests_of_case(case)
                tests += found
                if any(test[1] == FAILED for test in found):
                    grave = grave or NEVER_REPEATED.search("".join(case.itertext()) + found[-1][2]) is not None
        except (OSError, ElementTree.ParseError) as error:
            problem = f"left no results that can be read ({error})"
    if int(exit_code) != 0 and problem is None and not any(test[1] == FAILED for test in tests):
        problem = f"ended with {exit_code}"
    run = Run(name, int(exit_code), int(seconds), tests, problem)
    run.grave = grave
    return run


def runs_to_repeat(runs, never):
    """The names of the runs whose few failures may be the machine's; none when there is one among them that cannot be."""
    failures = [(run, test[0]) for run in runs for test in run.tests if test[1] == FAILED]
    if len(failures) > REPEATED_MAX or any(run.problem or run.grave for run in runs):
        return []
    if any(fnmatch.fnmatchcase(f"{run.name}: {test}", pattern) for run, test in failures for pattern in never):
        return []
    return list(dict.fromkeys(run.name for run, _ in failures))


def settle(runs):
    """Takes the runs "X again" out of the list, and of X's failures what passed there. Returns (run, test, first reason) of those."""
    again = {run.name.removesuffix(AGAIN): run for run in runs if run.name.endswith(AGAIN)}
    runs[:] = [run for run in runs if not run.name.endswith(AGAIN)]
    unstable = []
    for run in runs:
        second = again.get(run.name)
        passed = {test[0] for test in second.tests if test[1] == PASSED} if second else set()
        unstable += [(run.name, name, reason) for name, result, reason in run.tests if result == FAILED and name in passed]
        run.tests = [(name, PASSED, "") if result == FAILED and name in passed else (name, result, reason)
                     for name, result, reason in run.tests]
    return unstable


def patterns_of(path):
    lines = pathlib.Path(path).read_text(encoding="utf-8").split("\n") if path else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def forbidden_skips(runs, patterns):
    """Problems with the list of what must not be skipped: a listed test that was, and an entry that names nothing."""
    tests = [(run.name, *test) for run in runs for test in run.tests]
    for pattern in patterns:
        matching = [test for test in tests if fnmatch.fnmatchcase(test[1], pattern)]
        if not matching:
            yield pattern, "is in tests/must-not-skip.txt and no such test ran"
        for run, name, result, reason in matching:
            if result == SKIPPED:
                yield f"{run}: {name}", f"must not be skipped ({reason})"


def verification(command, runs, closing, problems, unstable):
    """The text of docs/verification.md."""
    machine = f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2**30} GiB"
    try:
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    lines = [
        "# The last long verification",
        "",
        "Written by the command below; not edited by hand. What the long forms are: [CONTRIBUTING.md](../CONTRIBUTING.md).",
        "",
        f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"- command: `{command}`",
        f"- commit: {commit}",
        f"- machine: {machine}",
        f"- result: **{closing}**",
        "",
        "| step | passed | failed | skipped | seconds |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {run.name} | {run.count(PASSED)} | {run.count(FAILED)} | {run.count(SKIPPED)} | {run.seconds} |" for run in runs]
    if problems:
        lines += ["", "## What went wrong", "", *(f"- {name}: {text}" for name, text in problems)]
    if unstable:
        lines += ["", "## What passed only when it ran again, alone", "", *(f"- {run}: {name}: {reason}" for run, name, reason in unstable)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=pathlib.Path, help="folder with the file \"runs\" and the results that it names")
    parser.add_argument("--must-not-skip", help="file with one pattern of test names a line")
    parser.add_argument("--never-again", help="file with one pattern of \"run: test\" a line: what is never run again")
    parser.add_argument("--again", action="store_true", help="print the runs whose failures are to be run again, and nothing else")
    parser.add_argument("--write", type=pathlib.Path, help="write the results as a document too")
    parser.add_argument("--command", default="", help="the command, for the document")
    options = parser.parse_args()
    lines = (options.folder / "runs").read_text(encoding="utf-8").splitlines()
    runs = [run_of(options.folder, line) for line in lines if line]
    if options.again:
        print("".join(f"{name}\n" for name in runs_to_repeat(runs, patterns_of(options.never_again))), end="")
        return 0
    unstable = settle(runs)
    failures = [(run.name, run.problem) for run in runs if run.problem]
    failures += [(f"{run.name}: {name}", reason) for run in runs for name, result, reason in run.tests if result == FAILED]
    built = not any(run.problem for run in runs if not run.tests)
    forbidden = list(forbidden_skips(runs, patterns_of(options.must_not_skip))) if built else []
    for run in runs:
        for name, result, reason in run.tests:
            if result == SKIPPED:
                print(f"SKIPPED {run.name}: {name}: {reason}")
    for run, name, reason in unstable:
        print(f"UNSTABLE {run}: {name}: {reason}; passed when it ran again, alone")
    for name, text in failures + forbidden:
        print(f"FAILED  {name}: {text}")
    totals = {result: sum(run.count(result) for run in runs) for result in (PASSED, FAILED, SKIPPED)}
    totals[FAILED] += len(forbidden)
    closing = f"{totals[PASSED]} passed, {totals[FAILED]} failed, {totals[SKIPPED]} skipped"
    if options.write:
        options.write.write_text(verification(options.command, runs, closing, failures + forbidden, unstable), encoding="utf-8")
    if totals[PASSED] == 0 and totals[FAILED] == 0:
        print("FAILED  nothing was tested")
    print(closing)
    return 0 if totals[FAILED] == 0 and totals[PASSED] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
