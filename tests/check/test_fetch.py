#!/usr/bin/python3
"""Goal: what tests fetch from registries is asked for three times before they do without it, and once when it is there. The registries'
programs, and the pauses, are fakes."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAUSES_S = ["3", "10"]

FAKE = """#!/bin/bash
[ "$1" != --version ] || exit 0
echo "$*" >>"{folder}/calls"
[ "$(wc -l <"{folder}/calls")" -gt {failures} ] || {{ echo "no network" >&2; exit {code}; }}
while [ "$1" != "{option}" ]; do shift; done
{work}
"""
# A tool, something that it fetches, the program that it does it by, the option before a folder, what that makes, why it is done without.
TOOLS = [
    ("go-program", "grpcurl", "go", "install", 'install /dev/null "$GOBIN/grpcurl"', "Go could not install github.com/"),
    ("go-program", "logql", "go", "-o", 'install /dev/null "$2"', f"Go could not install {ROOT}/tests/support/logql@"),
    ("npm-program", "axe", "npm", "--prefix", 'install -D /dev/null "$2/node_modules/axe-core/axe.min.js"',
     "npm could not install axe-core@"),
    ("pypi-module", "vrl-python", "pip3", "--dest", '/usr/bin/python3 -m zipfile -c "$2/a.whl" "$0"', "pip could not download vrl-python "),
    ("pypi-package", "playwright", "pip", "--target", 'touch "$2/playwright.py"', "pip could not install playwright "),
]


class FetchTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fetch-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def registry(self, tool, failures, code=1):
        """One that fails so many times, and nothing else: what was asked and fetched before is gone."""
        shutil.rmtree(self.folder)
        _, _, program, option, work, _ = tool
        self.program(program, FAKE.format(folder=self.folder, failures=failures, code=code, option=option, work=work))
        self.program("sleep", f'#!/bin/bash\necho "$*" >>"{self.folder}/pauses"\n')
        self.program("node", "#!/bin/bash\n")
        package = self.folder / "python/pip" # what `python3 -m pip` runs
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(
            f"import os, sys\nos.execv('{self.folder}/bin/pip', ['pip', *sys.argv[1:]])\n", encoding="utf-8")

    def run_tool(self, tool):
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(self.folder / "python")}
        return subprocess.run([ROOT / "tools" / tool[0], self.folder / "fetched", tool[1]], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=60)

    def lines(self, name):
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def test_two_failures(self):
        for tool in TOOLS:
            with self.subTest(tool[1]):
                self.registry(tool, 2)
                for _ in range(2): # the second time it is there
                    done = self.run_tool(tool)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertTrue(pathlib.Path(done.stdout.rstrip("\n")).exists(), done.stdout)
                    self.assertEqual((len(self.lines("calls")), self.lines("pauses")), (3, PAUSES_S))

    def test_no_failure(self):
        for tool in TOOLS:
            with self.subTest(tool[1]):
                self.registry(tool, 0)
                self.assertEqual(self.run_tool(tool).returncode, 0)
                self.assertEqual((len(self.lines("calls")), self.lines("pauses")), (1, []))

    def test_no_end_of_failures(self):
        for tool in TOOLS:
            for code, tries in ((1, 3), (124, 1)): # 124: it took all the time that it had
                with self.subTest(tool[1], code=code):
                    self.registry(tool, 1000, code)
                    done = self.run_tool(tool)
                    self.assertEqual((done.returncode, done.stdout), (77, ""), done.stderr)
                    said = done.stderr.splitlines()
                    self.assertEqual(said[:-1], ["no network"] * tries)
                    self.assertTrue(said[-1].startswith(f"{tool[1]}: {tool[5]}"), said[-1])
                    self.assertEqual((len(self.lines("calls")), self.lines("pauses")), (tries, PAUSES_S[:tries - 1]))
                    self.assertEqual(list((self.folder / "fetched").iterdir()), [], "something is left")


if __name__ == "__main__":
    unittest.main()
