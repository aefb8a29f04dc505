#!/usr/bin/python3
"""Style as a build result: checks what can be checked of docs/STYLE.md and ARCHITECTURE.md.

Prints one line "path:line: problem" for each fault and exits with 1 when there is any. test_tidy.py beside it plants each
fault in a small tree and expects it to be found.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

LINE_COLUMNS_MAX = 140
FILE_LINES_MAX = 999
FUNCTION_LINES_MAX = 70
TABLE_MARK = "tidy: table"

BANNED_CALLS = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "strtok", "system", "popen")
MARKS = ("TO" "DO", "FIX" "ME", "X" "XX")
WORKPLACE = "/" "work/"

SKIPPED = {".git", "build", "__pycache__", ".pytest_cache", ".cache"}
# Expected output of generators: not written by people, so not held to how people write.
GOLDEN = "golden"

# Which modules a module may include. What is not named here (system headers, generated google/protobuf) is free.
ANY = None
ALLOWED_INCLUDES = {
    "base": set(),
    "grpc_c": {"base"},
    "metrics": {"base"},
    "levels": {"base"},
    "pg": {"base", "metrics"},
    "dedupe": {"base"},
    "jwt": {"base"},
    "rules": {"base"},
    "routing": {"base", "levels", "metrics", "pg", "dedupe", "rules"},
    "jobs": {"base", "metrics", "pg", "routing"},
    "ingest": {"base", "dedupe", "rules"},
    "trace": {"base", "grpc_c"},
    "sql": {"base"},
    "server": {"base", "levels", "metrics", "grpc_c", "jwt", "pg", "dedupe", "rules", "routing", "jobs", "ingest", "trace", "leadrouter",
               "sql"},
    "client": {"base", "grpc_c", "leadrouter"},
    "leadctl": {"base", "grpc_c", "jwt", "ingest", "levels", "leadrouter"},
    "protoc-gen-grpc-c": {"base"},
    "gen-countries": {"base"},
    "demo-leads": {"base"},
    "bench": ANY,
    "tests": ANY,
}
# Libraries behind one module: everybody else goes through it.
OWNED_HEADERS = (
    (re.compile(r"grpc/"), {"grpc_c", "bench", "tests"}),
    (re.compile(r"libpq-fe\.h$"), {"pg", "server", "bench", "tests"}),
    (re.compile(r"utf8proc\.h$"), {"base", "tests"}),
)
MODULES = set(ALLOWED_INCLUDES) - {"tests", "bench"} | {"leadrouter"}


class File:
    """One text file: its lines, and for C also the code without comments and literals."""

    def __init__(self, root, path):
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        self.is_golden = GOLDEN in path.relative_to(root).parts
        self.is_c = path.suffix in (".c", ".h") and not self.is_golden
        self.code = blank_comments_and_literals(self.text) if self.is_c else ""

    def shebang(self):
        return self.lines[0] if self.lines[0].startswith("#!") else ""

    def module(self):
        """The name that the list of allowed includes knows this file by, or None."""
        parts = self.name.split("/")
        if parts[0] in ("src", "tools") and len(parts) > 2:
            return parts[1]
        return parts[0] if parts[0] in ("sql", "server", "client", "tests") else None


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


LITERAL_OR_COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def blank_comments_and_literals(text):
    """The same text, of the same length and lines, with blanks in place of what is no code."""

    def blank(match):
        found = match.group(0)
        inner = re.sub(r"[^\n]", " ", found)
        return found[0] + inner[1:-1] + found[0] if found[0] in "\"'" else inner

    return LITERAL_OR_COMMENT.sub(blank, text)


def statements(code):
    """Yields (kind, start, end, text) of what stands at the outermost level: kind is ";" for a declaration and "{" for a
    definition with a body. Preprocessor lines are passed over; both branches of an #if start at the same depth."""
    depth = 0
    depths = []
    start = None
    offset = 0
    head = ""
    body = False
    continued = False
    for line in code.split("\n"):
        stripped = line.strip()
        if continued or stripped.startswith("#"):
            if not continued:
                directive = re.match(r"#\s*(\w*)", stripped).group(1)
                if directive in ("if", "ifdef", "ifndef"):
                    depths.append(depth)
                elif directive in ("else", "elif") and depths:
                    depth = depths[-1]
                elif directive == "endif" and depths:
                    depths.pop()
            continued = stripped.endswith("\\")
            offset += len(line) + 1
            continue
        for column, character in enumerate(line):
            if start is None and not character.isspace():
                start, head, body = offset + column, "", False
            if character == "{":
                depth += 1
                body = True
            elif character == "}":
                depth -= 1
                if depth == 0 and is_function(head):
                    yield "{", start, offset + column, head
                    start = None
            elif character == ";" and depth == 0:
                yield ";", start, offset + column, "" if body else head
                start = None
            elif start is not None and depth == 0:
                head += character
        head += "\n"
        offset += len(line) + 1


def is_function(head):
    """True for the head of a function: "name (parameters)", whatever attributes stand around it."""
    head = re.sub(r"__attribute__\s*\(\(.*?\)\)(?=\s|$|;)", "", head, flags=re.S).strip()
    if re.match(r"(typedef|_Static_assert|static_assert|enum|struct\s+\w+\s*$)\b", head) or "=" in head:
        return False
    return re.search(r"\b[A-Za-z_]\w*\s*\([^*].*\)\s*$|\b[A-Za-z_]\w*\s*\(\s*\)\s*$", head, re.S) is not None


def check_lines(file):
    """Columns, marks of unfinished work, paths of the machine it was written on."""
    is_code = file.path.suffix in (".c", ".h", ".sql", ".py", ".sh", ".proto", ".cmake") or file.shebang()
    is_code = is_code or file.path.name == "CMakeLists.txt"
    for number, line in enumerate(file.lines, 1):
        if is_code and not file.is_golden and len(line) > LINE_COLUMNS_MAX:
            yield number, f"line has {len(line)} columns, at most {LINE_COLUMNS_MAX} are allowed"
        if is_code:
            for mark in MARKS:
                if re.search(rf"\b{mark}\b", line):
                    yield number, f"unfinished work is marked ({mark}): do it or file it"
        if re.search(rf"(?<![\w.]){re.escape(WORKPLACE)}", line):
            yield number, f"names a path of one machine ({WORKPLACE})"


def check_length(file):
    lines = len(file.lines) - (file.lines[-1] == "")
    if (file.is_c or file.path.suffix in (".py", ".sql")) and lines > FILE_LINES_MAX:
        yield 1, f"file has {lines} lines, at most {FILE_LINES_MAX} are allowed"


def check_functions(file):
    if not file.is_c:
        return
    for kind, start, end, head in statements(file.code):
        if kind != "{":
            continue
        lines = file.code.count("\n", start, end) + 1
        if lines > FUNCTION_LINES_MAX and TABLE_MARK not in file.text[start:end]:
            name = re.search(r"([A-Za-z_]\w*)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head)).group(1)
            yield line_of(file.code, start), f"{name}() has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"


def check_banned_calls(file):
    for match in re.finditer(rf"(?<![\w.>])({'|'.join(BANNED_CALLS)})\s*\(", file.code):
        yield line_of(file.code, match.start()), f"{match.group(1)}() is banned"


def check_includes(file):
    """The list of allowed includes of ARCHITECTURE.md, and the libraries that belong to one module."""
    if not file.is_c:
        return
    module = file.module()
    if module is None:
        yield 1, "lies in no module: src/<name>/, sql/, server/, client/, tools/<name>/ or tests/"
        return
    if module not in ALLOWED_INCLUDES:
        yield 1, f'module "{module}" is not in the list of allowed includes (tests/tidy/tidy.py)'
        return
    allowed = ALLOWED_INCLUDES[module]
    for number, line in enumerate(file.lines, 1):
        match = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
        if match is None:
            continue
        included = match.group(1)
        target = included.split("/")[0]
        if included.startswith("../") or "/../" in included:
            yield number, f"{included}: includes are written from the root of the sources"
        if "/" in included and target in MODULES and target != module and allowed is not ANY and target not in allowed:
            yield number, f"{module} may not include {included}: its list is {sorted(allowed)}"
        for pattern, owners in OWNED_HEADERS:
            if pattern.match(included) and module not in owners:
                yield number, f"{module} may not include {included}: it belongs to {sorted(owners)}"


def check_prototypes(file):
    """A prototype in a header has a comment before it; one comment may stand for a run of prototypes without a blank line."""
    if not file.is_c or file.path.suffix != ".h" or file.module() == "tests":
        return
    code_lines = file.code.split("\n")
    for kind, start, _, head in statements(file.code):
        if not is_function(head):
            continue
        number = line_of(file.code, start)
        above = number - 1
        while above > 0 and file.lines[above - 1].strip() and code_lines[above - 1].strip():
            above -= 1
        if above == 0 or not file.lines[above - 1].strip():
            what = "function" if kind == "{" else "prototype"
            yield number, f"{what} without a comment: {' '.join(head.split())}"


def check_shell(file):
    if not re.search(r"\b(bash|sh)\b", file.shebang()) and file.path.suffix != ".sh":
        return
    run = subprocess.run(["bash", "-n", str(file.path)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        match = re.search(r"line (\d+): (.*)", run.stderr)
        yield (int(match.group(1)), match.group(2)) if match else (1, run.stderr.strip())
    if not os.access(file.path, os.X_OK) and file.shebang():
        yield 1, "a script that cannot be executed (chmod +x)"


def check_links(file):
    """Links between documents lead somewhere."""
    if file.path.suffix != ".md":
        return
    for match in re.finditer(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)", file.text):
        if not (file.path.parent / match.group(1)).exists():
            yield line_of(file.text, match.start()), f"link to {match.group(1)}, which is not there"


def check_guards(files):
    """Every header has a guard and no two have the same."""
    owners = {}
    for file in files:
        if not file.is_c or file.path.suffix != ".h":
            continue
        match = re.search(r"^#ifndef (\w+)\n#define (\w+)$", file.code, re.M)
        if match is None or match.group(1) != match.group(2):
            yield file.name, 1, "header without a guard (#ifndef X, #define X)"
            continue
        number = line_of(file.code, match.start())
        if match.group(1) in owners:
            yield file.name, number, f"guard {match.group(1)} is that of {owners[match.group(1)]} too"
        owners.setdefault(match.group(1), file.name)


def check_format(root, files):
    names = [file.name for file in files if file.is_c]
    for first in range(0, len(names), 50):
        try:
            run = subprocess.run(
                ["clang-format", "--dry-run", "-Werror", *names[first:first + 50]],
                cwd=root, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            yield "tests/tidy/tidy.py", 1, "clang-format is not installed (tools/setup installs it)"
            return
        seen = set()
        for match in re.finditer(r"^(.*?):(\d+):\d+: error: ", run.stderr, re.M):
            if match.group(1) not in seen:
                seen.add(match.group(1))
                yield match.group(1), int(match.group(2)), "is not as clang-format writes it (clang-format -i)"
        if run.returncode != 0 and not seen:
            yield "tests/tidy/tidy.py", 1, f"clang-format failed: {run.stderr.strip()}"


def check_architecture(root):
    """ARCHITECTURE.md shows the list of allowed includes as it is; the generated protocol is no module."""
    path = root / "ARCHITECTURE.md"
    if not path.exists():
        return
    shown, rows = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        names = re.findall(r"`([\w-]+)`", cells[0])
        if not line.startswith("| `") or len(cells) != 2 or not set(names) <= set(ALLOWED_INCLUDES):
            continue
        listed = set(re.findall(r"`([\w-]+)`", cells[1]))
        if cells[1].startswith("all of the above"):
            listed = set(shown) - listed
        shown.update({name: listed for name in names})
        rows.append((number, names, listed))
    for number, names, listed in rows:
        for name in names:
            allowed = ALLOWED_INCLUDES[name]
            if allowed is not ANY and listed != allowed - {"leadrouter"}:
                yield "ARCHITECTURE.md", number, f"{name} may include {sorted(allowed - {'leadrouter'})}"
    for name in sorted(set(ALLOWED_INCLUDES) - set(shown) - {"tests"}):
        yield "ARCHITECTURE.md", 1, f"does not say what {name} may include"


def output_of(entry):
    """The object of one entry of compile_commands.json."""
    words = shlex.split(entry["command"])
    return words[words.index("-o") + 1]


def check_exports(root, build):
    """A function or a variable with external linkage is used by another file; the client library's are for programs elsewhere."""
    defined, used = {}, {}
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    sources = {str(pathlib.Path(entry["directory"], output_of(entry))): pathlib.Path(entry["file"]) for entry in entries}
    missing = [name for name in sources if not pathlib.Path(name).exists()]
    if missing:
        yield "tests/tidy/tidy.py", 1, f"{len(missing)} objects are not built, such as {missing[0]}: build all"
        return
    output = subprocess.run(["nm", "-A", "-P", *sources], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        name, symbol, kind = line.split()[:3]
        source = sources[name[:-1]]
        if kind == "U":
            used.setdefault(symbol, set()).add(source)
        elif kind in "TDBR" and symbol != "main" and not symbol.startswith("__"):
            defined[symbol] = source
    for symbol, source in defined.items():
        if not source.is_relative_to(root) or source.is_relative_to(build):
            continue
        name = source.relative_to(root).as_posix()
        is_promise = name.startswith("client/") and symbol.startswith("leadrouter_")
        begins = [re.sub("_(free|release)$", word, symbol) for word in ("_new", "_init")] # whoever has the one has the other
        if name.split("/")[0] == "tests" or is_promise or any(used.get(one, set()) - {source} for one in (symbol, *begins)):
            continue
        code = blank_comments_and_literals(source.read_text(encoding="utf-8"))
        yield name, line_of(code, max(code.find(symbol), 0)), f"{symbol} is used by no other file: it is static, or gone"


def include_flags(build):
    """Every include folder that the build uses; generated headers are found there."""
    flags = []
    if build is None:
        return flags
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        words = shlex.split(entry["command"])
        for index, word in enumerate(words):
            flag = None
            if word.startswith("-I"):
                flag = (word,)
            elif word == "-isystem":
                flag = (word, words[index + 1])
            if flag is not None and flag not in flags:
                flags.append(flag)
    return [word for flag in flags for word in flag]


def compile_header(root, compiler, flags, file):
    """Compiles the header alone, and twice: it includes what it uses, and its guard works."""
    source = f'#include "{file.path}"\n' * 2
    command = [
        compiler, "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror",
        f"-I{root / 'src'}", f"-I{root}", *flags, "-x", "c", "-"]
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(command, input=source, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return None
    match = re.search(rf"{re.escape(str(file.path))}:(\d+):\d+: (?:fatal )?error: (.*)", run.stderr)
    number, reason = (int(match.group(1)), match.group(2)) if match else (1, run.stderr.strip().split("\n")[0])
    return file.name, number, f"does not compile alone: {reason}"


def check_headers(root, files, compiler, flags):
    headers = [file for file in files if file.is_c and file.path.suffix == ".h"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda file: compile_header(root, compiler, flags, file), headers)
        yield from (result for result in results if result is not None)


FILE_CHECKS = (
    check_lines, check_length, check_functions, check_banned_calls, check_includes, check_prototypes, check_shell, check_links)


def read_tree(root):
    """All text files; what is not UTF-8 is data."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(set(names) - SKIPPED): # .git is a file in a linked working tree
            path = pathlib.Path(folder) / name
            if not path.is_file():
                continue
            try:
                files.append(File(root, path))
            except UnicodeDecodeError:
                continue
    return files


def problems_of(root, compiler="cc", build=None):
    """All problems of the tree as (name, line, text), sorted; also the number of files read."""
    root = pathlib.Path(root).resolve()
    files = read_tree(root)
    problems = [(file.name, number, text) for file in files for check in FILE_CHECKS for number, text in check(file)]
    problems += check_guards(files)
    problems += check_format(root, files)
    problems += check_headers(root, files, compiler, include_flags(build))
    problems += check_architecture(root)
    if build is not None:
        problems += check_exports(root, pathlib.Path(build).resolve())
    return sorted(set(problems)), len(files)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--source", required=True, help="root of the tree")
    parser.add_argument("--build", type=pathlib.Path, help="build folder with compile_commands.json and generated headers")
    parser.add_argument("--compiler", default="cc")
    options = parser.parse_args()
    problems, count = problems_of(options.source, options.compiler, options.build)
    for name, number, text in problems:
        print(f"{name}:{number}: {text}")
    print(f"tidy: {count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
