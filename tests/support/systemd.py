"""A systemd of its own for a few units: PID 1 of new namespaces, with a /run and /var/lib that nobody else sees. Needs root.

`with Systemd(directory, units) as systemd:` starts the units that `units` names (name: text), and `ctl()` is systemctl. The directory is
/run/here for them, and another one, if it is given, /run/here/socket. Everything ends with it.
"""
import os
import pathlib
import shutil
import subprocess

from support.product_cluster import wait_until

TARGETS = ("sysinit.target", "basic.target", "shutdown.target", "network-online.target", "slices.target", "paths.target",
           "sockets.target", "timers.target", "system.slice")
PROGRAM = "/usr/lib/systemd/systemd"
BEGINNING = """set -e
mount --make-rprivate /
for directory in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs $directory; done
mkdir -p /run/systemd/system /run/here
mount --bind "$1" /run/here
if [ -n "$2" ]; then mount --bind "$2" /run/here/socket; fi
mount --make-rshared /
export container=test SYSTEMD_UNIT_PATH=/run/here/units SYSTEMD_GENERATOR_PATH=/run/here/none
exec %s --system --unit=here.target --log-target=console --log-level=info --show-status=no
""" % PROGRAM


def hierarchies():
    """Where systemd makes its groups of processes: with the second version of them, the first, or both."""
    both = [pathlib.Path("/sys/fs/cgroup") / name for name in ("systemd", "unified")]
    return [path for path in both if path.is_dir()] or [both[0].parent]


def why_not():
    """Why there can be none here; None: there can."""
    if os.geteuid() != 0:
        return "only root can start a systemd"
    if not os.path.exists(PROGRAM) or not shutil.which("nsenter"):
        return "systemd is not installed"
    if not all(os.access(path, os.W_OK) for path in hierarchies()):
        return "no group of processes can be made"
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/run"],
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"no namespaces: {done.stderr.strip()}"


def is_removed(group):
    """A group is in use until the last of its processes is gone altogether."""
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True


class Systemd:
    def __init__(self, directory, units, socket=""):
        self.directory, self.socket = pathlib.Path(directory), socket
        (self.directory / "socket").mkdir()
        (self.directory / "units").mkdir()
        for target in TARGETS:
            found = pathlib.Path("/usr/lib/systemd/system") / target
            if found.exists():
                shutil.copy(found, self.directory / "units")
        for name, text in units.items():
            (self.directory / "units" / name).write_text(text)
        started = [name for name in units if name.endswith(".service")]
        (self.directory / "units/here.target").write_text(
            "[Unit]\nDefaultDependencies=no\nRequires=basic.target\n" + "".join(f"Wants={name}\n" for name in started))
        self.groups = [path / f"leadrouter-test-{os.getpid()}" for path in hierarchies()]

    def __enter__(self):
        for group in self.groups:
            group.mkdir(exist_ok=True) # left by a process of this id that was killed
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in self.groups)
        script = f"{enter}exec unshare --mount --pid --fork --kill-child --mount-proc --ipc --uts" \
                 f" sh -c '{BEGINNING}' sh {self.directory} '{self.socket}'"
        self.log = open(self.directory / "systemd.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(lambda: self.ctl("is-system-running").stdout.strip() in ("running", "degraded"), "systemd does not start")
        return self

    def __exit__(self, *_):
        first = self.first()
        if first:
            os.kill(first, 9) # the first process of its namespace: the others end with it
        self.process.wait(60)
        self.log.close()
        for top in pathlib.Path("/sys/fs/cgroup").rglob(self.groups[0].name): # of other kinds of groups systemd makes some by itself
            for group in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                wait_until(lambda group=group: is_removed(group), "a group is in use")
            wait_until(lambda top=top: is_removed(top), "a group is in use")

    def first(self):
        """The id of systemd itself, seen from outside; None before it is there."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def ctl(self, *words):
        assert self.process.poll() is None, (self.directory / "systemd.log").read_text()
        first = self.first()
        if first is None:
            return subprocess.CompletedProcess(words, 1, "", "")
        return subprocess.run(["nsenter", "--target", str(first), "--mount", "--pid", "systemctl", *words], capture_output=True, text=True)

    def property(self, unit, name):
        return self.ctl("show", "--value", "--property", name, unit).stdout.strip()

    def processes(self, program):
        """The ids of those that run a program, seen from outside."""
        space, found = os.readlink(f"/proc/{self.first()}/ns/pid"), []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/pid") == space and (process / "cmdline").read_text().split("\0")[0] == program:
                    found.append(int(process.name))
            except OSError:
                pass # it has ended
        return found
