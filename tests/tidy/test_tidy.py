#!/usr/bin/python3
"""Goal: each fault that tidy.py looks for is found, in its file and line; code that only looks like one is left alone."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import tidy

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMAT = ROOT / ".clang-format"
SCRIPT = pathlib.Path(tidy.__file__).resolve()

HEADER = """/* A thing. */
#ifndef BASE_THING_H
#define BASE_THING_H

/* Does it. */
void thing_do(void);

#endif
"""


def function_of(lines):
    """A function of that many lines."""
    return "int long_one(void)\n{\n" + "    ;\n" * (lines - 4) + "    return 0;\n}\n"


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tidy-"))
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(FORMAT, self.root)
        self.write("src/base/thing.h", HEADER)

    def write(self, name, text, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def problems(self):
        return tidy.problems_of(self.root)[0]

    def exports(self, *names):
        """Problems of exports when these are the sources of a build."""
        build = self.root / "build"
        build.mkdir(exist_ok=True)
        entries = [{"directory": str(build), "file": str(self.root / name), "command": f"cc -c -o {number}.o {self.root / name}"}
                   for number, name in enumerate(names)]
        (build / "compile_commands.json").write_text(json.dumps(entries), encoding="utf-8")
        for entry in entries:
            subprocess.run(entry["command"].split(), cwd=build, check=True)
        return list(tidy.check_exports(self.root, build))

    def assert_found(self, name, line, *words):
        problems = self.problems()
        matching = [text for found, number, text in problems if (found, number) == (name, line)]
        self.assertTrue(
            any(all(word in text for word in words) for text in matching), f"{name}:{line} {words} is not in {problems}")
        self.assertEqual({found for found, _, _ in problems}, {name}, problems)

    def test_clean_tree(self):
        self.write("src/base/thing.c", '#include "base/thing.h"\n\nvoid thing_do(void)\n{\n}\n')
        self.write("README.md", "[a file](src/base/thing.h), [a site](https://example.org), [below](#below)\n")
        self.write("tools/run", "#!/usr/bin/env bash\nmktemp -d /tmp/x.XXXXXX\n", 0o755)
        (self.root / "picture.bin").write_bytes(b"\xff\xfe\x00")
        self.assertEqual(self.problems(), [])

    def test_format(self):
        self.write("src/base/thing.c", "int  thing;\n")
        self.assert_found("src/base/thing.c", 1, "clang-format")

    def test_banned_calls(self):
        for call in tidy.BANNED_CALLS:
            with self.subTest(call):
                self.write("src/base/thing.c", f"void f(char *a)\n{{\n    {call}(a);\n}}\n")
                self.assert_found("src/base/thing.c", 3, f"{call}() is banned")

    def test_what_only_looks_like_a_banned_call(self):
        self.write(
            "src/base/thing.c",
            '/* system() is banned */\nvoid f(struct x *a)\n{\n    my_system(a);\n    a->system(a);\n'
            '    a.gets(a);\n    puts("popen(1) \\" strcpy(a)");\n}\n')
        self.assertEqual(self.problems(), [])

    def test_includes_against_the_list(self):
        cases = (
            ("src/base/x.c", '#include "pg/pg.h"', "base may not include pg/pg.h"),
            ("src/grpc_c/x.c", '#include "rules/rules.h"', "grpc_c may not include rules/rules.h"),
            ("src/pg/x.c", '#include "grpc_c/server.h"', "pg may not include grpc_c/server.h"),
            ("src/dedupe/x.c", '#include "pg/pg.h"', "dedupe may not include"),
            ("src/rules/x.c", '#include "dedupe/dedupe.h"', "rules may not include"),
            ("src/routing/x.c", '#include "grpc_c/server.h"', "routing may not include"),
            ("src/routing/x.c", '#include "leadrouter/v1/routing.pb-c.h"', "routing may not include"),
            ("src/jobs/x.c", '#include "ingest/csv.h"', "jobs may not include"),
            ("client/x.c", '#include "pg/pg.h"', "client may not include"),
            ("tools/leadctl/x.c", '#include "routing/engine.h"', "leadctl may not include"),
            ("server/x.c", '#include "client/client.h"', "server may not include"),
            ("src/routing/x.c", "#include <libpq-fe.h>", "it belongs to"),
            ("src/rules/x.c", "#include <grpc/grpc.h>", "it belongs to"),
            ("src/pg/x.c", '#include "../base/thing.h"', "from the root"),
            ("src/colours/x.c", '#include "base/thing.h"', '"colours" is not in the list'),
            ("lib/x.c", '#include "base/thing.h"', "lies in no module"),
        )
        for name, line, expected in cases:
            with self.subTest(line + " in " + name):
                self.write(name, "/* Why. */\n" * (0 if "module" in expected or "not in" in expected else 1) + line + "\n")
                found = [(n, text) for path, n, text in self.problems() if path == name]
                self.assertTrue(any(expected in text for _, text in found), found)
                (self.root / name).unlink()

    def test_allowed_includes(self):
        for name, line in (
                ("src/routing/x.c", '#include "rules/rules.h"'), ("server/x.c", '#include "leadrouter/v1/routing.grpc.h"'),
                ("tools/leadctl/x.c", '#include "grpc_c/client.h"'), ("tools/bench/x.c", '#include "routing/engine.h"'),
                ("tests/unit/x.c", '#include "routing/batch.h"'), ("src/pg/x.c", "#include <libpq-fe.h>"),
                ("tools/protoc-gen-grpc-c/x.c", '#include "google/protobuf/compiler/plugin.pb-c.h"')):
            self.write(name, line + "\n")
        self.assertEqual(self.problems(), [])

    def test_header_compiles_alone(self):
        self.write("src/base/thing.h", HEADER.replace("void thing_do(void)", "size_t thing_do(void)"))
        self.assert_found("src/base/thing.h", 6, "does not compile alone", "size_t")

    def test_header_guard(self):
        self.write("src/base/other.h", HEADER.replace("_do", "_other"))
        self.assert_found("src/base/thing.h", 2, "BASE_THING_H is that of src/base/other.h")
        self.write("src/base/other.h", "/* A thing. */\nstruct other;\n")
        self.assert_found("src/base/other.h", 1, "without a guard")

    def test_prototype_without_comment(self):
        bare = "\nint thing_count(\n    const struct x *x) __attribute__((nonnull));\n"
        for text, line in ((bare, 7), (bare.replace("const struct x *x", "int (*each)(void)"), 7)):
            self.write("src/base/thing.h", "struct x;\n" + HEADER.replace("\n#endif", text + "\n#endif"))
            self.assert_found("src/base/thing.h", line + 2, "prototype without a comment", "thing_count")

    def test_inline_function_without_comment(self):
        text = "\nstatic inline int thing_zero(void)\n{\n    return 0;\n}\n"
        self.write("src/base/thing.h", HEADER.replace("\n#endif", text + "\n#endif"))
        self.assert_found("src/base/thing.h", 8, "function without a comment", "thing_zero")

    def test_what_needs_no_comment_of_its_own(self):
        text = (
            "void thing_undo(void);\n\nstruct thing {\n    int (*call)(int number);\n};\n\nextern const int thing_limits[];\n\n"
            "#define THING_CALL(x) thing_do(x)\n\ntypedef int (*thing_callback)(int number);\n\n"
            "_Static_assert(sizeof(int) == 4, \"int\");\n\nenum { THING_MAX = (1 + 2) };\n")
        self.write("src/base/thing.h", HEADER.replace("\n#endif", text + "\n#endif"))
        self.assertEqual(self.problems(), [])

    def test_function_length(self):
        self.write("src/base/thing.c", "int x;\n\n" + function_of(70))
        self.assertEqual(self.problems(), [])
        self.write("src/base/thing.c", "int x;\n\n" + function_of(71))
        self.assert_found("src/base/thing.c", 3, "long_one() has 71 lines")
        self.write("src/base/thing.c", function_of(71).replace("    ;", "    ; /* tidy: table */", 1))
        self.assertEqual(self.problems(), [])

    def test_function_length_across_branches_of_the_preprocessor(self):
        branches = "#if X\nint a(void)\n{\n#else\nint b(void)\n{\n#endif\n    return 0;\n}\n\n"
        self.write("src/base/thing.c", branches + function_of(71))
        self.assert_found("src/base/thing.c", 11, "long_one() has 71 lines")

    def test_file_length(self):
        self.write("src/base/thing.c", "/**/\n" * 999)
        self.assertEqual(self.problems(), [])
        self.write("src/base/thing.c", "/**/\n" * 1000)
        self.assert_found("src/base/thing.c", 1, "file has 1000 lines")

    def test_columns(self):
        for name, start in (("src/base/thing.c", "//"), ("sql/x.sql", "--"), ("tests/x.py", "#"), ("tools/x.sh", "#")):
            with self.subTest(name):
                self.write(name, start + " " + "é" * (139 - len(start)) + "\n")
                self.assertEqual(self.problems(), [])
                self.write(name, "\n" + start + " " + "x" * (140 - len(start)) + "\n")
                self.assert_found(name, 2, "141 columns")
                (self.root / name).unlink()

    def test_marks_of_unfinished_work(self):
        for mark in tidy.MARKS:
            with self.subTest(mark):
                self.write("sql/x.sql", f"select 1;\n-- {mark}: more\n")
                self.assert_found("sql/x.sql", 2, mark)

    def test_paths_of_one_machine(self):
        self.write("README.md", f"this is fine: src{tidy.WORKPLACE}x\nrun `{tidy.WORKPLACE}main/x`\n")
        self.assert_found("README.md", 2, "path of one machine")

    def test_exports(self):
        self.write("src/base/thing.c", "/* lonely() */\nvoid used(void)\n{\n}\n\nvoid lonely(void)\n{\n    used();\n}\n\n"
                                       "int forgotten = 1;\n")
        self.write("src/base/user.c", "void used(void);\nvoid box_init(void);\n\nint main(void)\n{\n    used();\n    box_init();\n}\n")
        self.write("src/base/box.c", "void box_init(void)\n{\n}\n\nvoid box_release(void)\n{\n}\n")
        self.write("client/client.c", "void leadrouter_connect(void)\n{\n}\n\nvoid connect_twice(void)\n{\n}\n")
        self.write("tests/unit/test.c", "void helper(void)\n{\n}\n")
        names = ["src/base/thing.c", "src/base/user.c", "src/base/box.c", "client/client.c", "tests/unit/test.c"]
        text = "is used by no other file: it is static, or gone"
        self.assertEqual(sorted(self.exports(*names)), [("client/client.c", 5, f"connect_twice {text}"),
                                                        ("src/base/thing.c", 6, f"lonely {text}"),
                                                        ("src/base/thing.c", 11, f"forgotten {text}")])
        (self.root / "build/1.o").unlink()
        (_, _, text), = tidy.check_exports(self.root, self.root / "build")
        self.assertIn("1 objects are not built", text)

    def test_architecture(self):
        header = "| module | may include |\n|---|---|\n"
        rows = [f"| `{name}` | {', '.join(f'`{one}`' for one in sorted(allowed - {'leadrouter'})) or '–'} |"
                for name, allowed in tidy.ALLOWED_INCLUDES.items() if allowed is not tidy.ANY] + ["| `bench` | all of the above |"]
        self.write("ARCHITECTURE.md", header + "\n".join(rows) + "\n")
        self.assertEqual(self.problems(), [])
        self.write("ARCHITECTURE.md", header + "\n".join(rows).replace("| `pg` | `base`, `metrics` |", "| `pg` | `base` |") + "\n")
        self.assert_found("ARCHITECTURE.md", 3 + list(tidy.ALLOWED_INCLUDES).index("pg"), "pg may include ['base', 'metrics']")
        self.write("ARCHITECTURE.md", header + "\n".join(rows[1:]) + "\n")
        self.assert_found("ARCHITECTURE.md", 1, "does not say what base may include")

    def test_shell(self):
        self.write("tools/run", "#!/usr/bin/env bash\necho\nif true; then\n", 0o755)
        self.assert_found("tools/run", 4, "syntax error")
        self.write("tools/run", "#!/usr/bin/env bash\necho\n")
        self.assert_found("tools/run", 1, "cannot be executed")

    def test_links(self):
        self.write("docs/x.md", "\n[there](../src/base/thing.h) [gone](gone.md#part)\n")
        self.assert_found("docs/x.md", 2, "gone.md")

    def test_generated_and_golden_files_are_left_alone(self):
        self.write("build/x.c", "int  x;\n")
        self.write("tests/unit/generator/golden/x.c", "int  x;\n")
        self.assertEqual(self.problems(), [])

    def test_program(self):
        command = [sys.executable, str(SCRIPT), "--source", str(self.root)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (0, "tidy: 2 files, 0 problems\n"))
        self.write("src/base/thing.c", "int  thing;\n")
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("src/base/thing.c:1: is not as clang-format", run.stdout)


if __name__ == "__main__":
    unittest.main()
