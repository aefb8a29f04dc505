"""Pages of the manual, as man shows them.

`text = shown(page)` looks the page over and gives its text; every_flag(text, help) says that nothing of --help is missing.
"""
import os
import subprocess

PATIENCE_S = 60


def run(*words, columns=200):
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S,
                          env={**os.environ, "MANWIDTH": str(columns), "LC_ALL": "C.UTF-8"})


def shown(page):
    """No warnings, and a name that whatis finds."""
    for words in (("man", "--warnings", "-l", str(page)), ("groff", "-ww", "-man", "-Tutf8", str(page))):
        done = run(*words, columns=100)
        assert done.returncode == 0 and not done.stderr, done.stderr
    named = run("lexgrog", str(page))
    assert named.returncode == 0 and f'"{page.stem} - ' in named.stdout
    return run("man", "-l", str(page)).stdout


def every_flag(text, help_text):
    for line in help_text.splitlines():
        if line.startswith("  --"):
            assert f"\n       {line.split()[0]}" in text, line
