"""Goal: what SECURITY.md says of the programs as files is true of those that were built, and the systemd unit takes away what
it says and can be loaded.

The programs of the release build are looked at, whatever build the other tests use: others are not shipped."""
import json
import re
import shutil
import subprocess

import pytest

from support.postgres import BUILD, ROOT

PROGRAMS = ["server/leadrouterd", "tools/leadctl/leadctl", "tools/bench/leadrouter-bench", "tools/demo-leads/leadrouter-demo-leads",
            "tools/protoc-gen-grpc-c/protoc-gen-grpc-c"]
LIBRARY = "client/libleadrouter-client.so"
UNIT = ROOT / "deploy/systemd/leadrouterd.service"
TIMEOUT_S = 60

pytestmark = pytest.mark.shipped
needs_hardening = pytest.mark.skipif(BUILD.name != "release", reason=f"{BUILD} is not what is shipped")


def readelf(what, path):
    done = subprocess.run(["readelf", "--wide", what, BUILD / path], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    return done.stdout


@needs_hardening
@pytest.mark.parametrize("path", [*PROGRAMS, LIBRARY])
def test_linking(path):
    dynamic, segments = readelf("--dynamic", path), readelf("--segments", path)
    assert re.search(r"Type:\s+DYN", readelf("--file-header", path)), "not position independent"
    assert path == LIBRARY or re.search(r"FLAGS_1.*\bPIE\b", dynamic), "not position independent"
    assert re.search(r"FLAGS.*\bBIND_NOW\b", dynamic), "symbols are looked up late: their table stays writable"
    assert "GNU_RELRO" in segments
    stack = re.search(r"GNU_STACK(?:\s+0x[0-9a-f]+){5}\s+([RWE ]+?)\s+0x", segments)
    assert stack and stack[1].replace(" ", "") == "RW", "the stack is executable"
    flags = [line.split()[6:-1] for line in segments.splitlines() if line.split()[:1] == ["LOAD"]]
    both = [each for each in map("".join, flags) if "W" in each and "E" in each]
    assert not both, f"writable and executable: {both}"
    assert not re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", dynamic)


@needs_hardening
@pytest.mark.parametrize("path", [*PROGRAMS, LIBRARY])
def test_compiling(path):
    symbols = readelf("--dyn-syms", path)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk", "")), "no call of libc is checked"


@needs_hardening
def test_each_file_is_compiled_so():
    """No file of the product escapes the flags that leave no trace in a program that can be looked for."""
    wanted = ["-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero",
              "-Wformat=2"]
    seen = 0
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        file = entry["file"]
        if not re.match(rf"{re.escape(str(ROOT))}/(src|server|client|tools)/", file):
            continue
        seen += 1
        missing = [flag for flag in wanted if flag not in entry["command"].split()]
        assert not missing, f"{file}: {missing}"
        assert re.search(r"-fPI[CE]\b", entry["command"]), file
    assert seen > 100


@needs_hardening
def test_jumps_land_where_functions_begin():
    """On x86; each function that can be called through a pointer begins with the instruction that says so."""
    machine = readelf("--file-header", PROGRAMS[0])
    if "X86-64" not in machine:
        pytest.skip("not an x86 machine")
    code = subprocess.run(["objdump", "--disassemble=main", BUILD / PROGRAMS[0]], capture_output=True, text=True, check=True,
                          timeout=TIMEOUT_S)
    assert re.search(r"<main>:\n.*endbr64", code.stdout), code.stdout[:400]


@pytest.fixture
def analyze():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: the unit is not looked at")
    def run(*words):
        return subprocess.run([program, *words], capture_output=True, text=True, timeout=TIMEOUT_S,
                              env={"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "PATH": "/usr/bin:/bin"})
    return run


def test_unit_can_be_loaded(analyze, tmp_path):
    """Each line is one that systemd knows; the program stands in for the one that is installed."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/leadrouterd", str(BUILD / "server/leadrouterd")))
    done = analyze("verify", "--recursive-errors=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectSytem="))
    assert "ProtectSytem" in analyze("verify", "--recursive-errors=no", str(unit)).stderr


def test_unit_bounds_memory():
    assert re.search(r"^MemoryMax=\d+%$", UNIT.read_text(), flags=re.M)


def test_unit_is_closed(analyze, tmp_path):
    """systemd's own measure, from 0 (closed) to 10: a line less is over the bound."""
    assert analyze("security", "--offline=true", "--threshold=15", str(UNIT)).returncode == 0
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("MemoryDenyWriteExecute=yes\n", "").replace("CapabilityBoundingSet=\n", ""))
    assert analyze("security", "--offline=true", "--threshold=15", str(unit)).returncode != 0
