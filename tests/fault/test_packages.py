"""Goal: the Debian packages hold what is needed and no more, name what they depend on, and can be installed, used and purged: by dpkg
itself, on a /usr, /etc and /var that nobody else sees."""
import os
import re
import subprocess

import pytest

from support.postgres import BUILD, ROOT

NAMES = ("leadrouterd", "leadctl", "libleadrouter-client-dev")
TIMEOUT_S = 120
# Overlays: what is written goes to memory, and ends with the name space.
PRIVATE = """set -e
mount -t tmpfs tmpfs /mnt
for place in usr etc var; do
  mkdir /mnt/$place /mnt/$place.work
  mount -t overlay -o lowerdir=/$place,upperdir=/mnt/$place,workdir=/mnt/$place.work overlay /$place
done
"""


def why_not():
    """Why nothing can be installed here; None: it can."""
    if os.geteuid() != 0:
        return "only root can install packages"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", PRIVATE], capture_output=True, text=True, timeout=TIMEOUT_S)
    return None if done.returncode == 0 else f"no overlays: {done.stderr.strip()}"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The files, by the name of their package; packed in the quickest way."""
    directory = tmp_path_factory.mktemp("packages")
    done = subprocess.run(["cpack", "--config", BUILD / "CPackConfig.cmake", "-B", directory,
                           "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip"], cwd=directory, capture_output=True,
                          text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path.name.partition("_")[0]: path for path in directory.glob("*.deb")}
    assert sorted(files) == sorted(NAMES), done.stdout
    return files


def deb(*words):
    return subprocess.run(["dpkg-deb", *words], check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def files_of(package):
    listed = [line.split(maxsplit=5) for line in deb("--contents", package).splitlines()]
    assert {owner for _, owner, *_ in listed} == {"root/root"}
    return {name.split(" -> ")[0].removeprefix("."): mode for mode, _, _, _, _, name in listed if not mode.startswith("d")}


def test_contents(packages):
    server, leadctl, client = (files_of(packages[name]) for name in NAMES)
    assert server["/usr/bin/leadrouterd"] == leadctl["/usr/bin/leadctl"] == "-rwxr-xr-x"
    program = re.search(r"^ExecStart=(\S+)", (ROOT / "deploy/systemd/leadrouterd.service").read_text(encoding="ascii"), re.MULTILINE)[1]
    assert program in server and "/usr/lib/systemd/system/leadrouterd.service" in server
    assert {"/usr/share/man/man8/leadrouterd.8", "/usr/share/doc/leadrouterd/copyright",
            "/usr/share/doc/leadrouterd/examples/prometheus/alerts.yml"} <= set(server)
    assert {"/usr/share/man/man1/leadctl.1", "/usr/share/bash-completion/completions/leadctl"} <= set(leadctl)
    assert "/usr/include/leadrouter-client/leadrouter.h" in client
    everything = [*server, *leadctl, *client]
    assert len(everything) == len(set(everything)) and all(name.startswith("/usr/") for name in everything)


def test_dependencies(packages):
    """Those of the programs are the packages that docs/operations.md names for machines that only run them."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    named = set(re.search(r"^apt-get install --no-install-recommends (lib.*)$", text, re.MULTILINE)[1].split())
    needed = set()
    for name in ("leadrouterd", "leadctl"):
        needed |= {word.split()[0] for word in deb("--field", packages[name], "Depends").split(", ")}
    assert named <= needed and needed - named <= {"libc6", "libssl3", "zlib1g"}, needed
    version = re.search(r"VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8").partition("project(")[2])[1]
    assert {deb("--field", package, "Version").strip() for package in packages.values()} == {f"{version}-1"}


def privately(script, *arguments):
    done = subprocess.run(["unshare", "--mount", "sh", "-c", PRIVATE + script, "sh", *arguments], capture_output=True, text=True,
                          timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_installed_and_purged(packages):
    """Settings that were put into /etc/leadrouter stay; an empty one goes."""
    if reason := why_not():
        pytest.skip(reason)
    said = privately("""
dpkg --no-triggers --install --force-depends "$1" "$2" >/dev/null
test -d /etc/leadrouter
leadrouterd --version; leadctl --version
man --path leadrouterd >/dev/null
dpkg --no-triggers --purge leadrouterd leadctl >/dev/null
! test -e /usr/bin/leadrouterd && ! test -e /usr/bin/leadctl && ! test -e /etc/leadrouter
dpkg --no-triggers --install "$1" >/dev/null
touch /etc/leadrouter/database
dpkg --no-triggers --install "$1" >/dev/null # an upgrade
dpkg --no-triggers --purge leadrouterd >/dev/null
ls /etc/leadrouter
""", *map(str, (packages[name] for name in NAMES)))
    version = deb("--field", packages["leadctl"], "Version").strip().removesuffix("-1")
    assert said.splitlines() == [f"leadrouterd {version}", f"leadctl {version}", "database"]
