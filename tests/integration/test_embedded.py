"""Goal: the embedded database comes up in whatever state its directory is, belongs to one process, harms nothing of others, and
where it does not come up says why."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time

import psycopg2
import pytest

from support.postgres import LEADROUTERD, scratch

pytestmark = pytest.mark.asan

PATIENCE_S = 60
PROGRAM = LEADROUTERD.resolve()
IS_ROOT = os.geteuid() == 0


def needs_root(test):
    """Acts as two users, which only root can: for anybody else there is no such test, rather than one that is always skipped."""
    return test if IS_ROOT else None


class Running:
    """`leadrouterd cluster` on a directory. `disposable` ends with us and flushes nothing; a durable one is what operators run."""

    def __init__(self, directory, *words, command=(PROGRAM,), disposable=True, **options):
        self.process = subprocess.Popen(
            [*command, "cluster", "--embedded", directory, *(["--disposable"] if disposable else []), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("did not start: " + self.process.communicate()[1])
        self.said = json.loads(line)
        self.pid = self.said["pid"]
        self.socket = self.said["admin_url"].split("host=")[1].split()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, by=None):
        """Ends the process, by closing its standard input or by a signal; returns its exit code."""
        if by is not None:
            self.process.send_signal(by)
            self.process.wait(timeout=PATIENCE_S)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def query(self, sql, database="leadrouter"):
        connection = psycopg2.connect(f"host={self.socket} port=5432 user=postgres dbname={database}")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows


def refused(directory, command=(PROGRAM,), **options):
    """Runs the command where it must not start; returns what it says."""
    done = subprocess.run([*command, "cluster", "--embedded", directory, "--disposable"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("leadrouterd: ") and done.stderr.count("\n") == 1
    return done.stderr


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def place():
    """A directory that the user postgres can reach, and that is gone afterwards."""
    path = scratch("embedded")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def directory(place):
    return place + "/db"


@pytest.fixture(scope="module")
def made():
    """A cluster that was made and stopped, to be copied: initdb takes a second or more."""
    path = scratch("embedded-made")
    Running(path + "/db").end()
    yield path + "/db"
    shutil.rmtree(path)


@pytest.fixture
def stopped(made, directory):
    """A directory with a cluster that does not run."""
    subprocess.run(["cp", "-a", made, directory], check=True)
    return directory


def test_new_directory_gets_a_private_cluster(place, directory):
    with Running(directory, preexec_fn=lambda: os.umask(0o077)) as running:
        assert running.query("show listen_addresses") == [("",)]
        assert running.query("show server_encoding") == [("UTF8",)]
        assert stat.S_IMODE(os.stat(running.socket).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(directory + "/data").st_mode) == 0o700
        assert os.stat(directory + "/data").st_uid == (pwd.getpwnam("postgres").pw_uid if IS_ROOT else os.geteuid())
        assert set(os.listdir(directory)) == {"data", "run", "lock", "postgres.log"}
    assert not is_alive(running.pid)
    assert os.listdir(place) == ["db"]


def test_durable_settings_unless_disposable(stopped):
    settings = """select string_agg(setting, ' ' order by name) from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit')"""
    with Running(stopped, disposable=False) as running:
        assert running.query(settings) == [("on on on",)]
    with Running(stopped) as running:
        assert running.query("show fsync") == [("off",)]


def test_data_outlives_a_restart_by_any_way_to_stop(stopped):
    for number, by in enumerate((signal.SIGTERM, signal.SIGINT, None)):
        running = Running(stopped)
        running.query(f"create table kept_{number} ()")
        assert running.end(by) == 0
        assert not is_alive(running.pid)
    with Running(stopped) as running:
        assert running.query("select count(*) from pg_class where relname like 'kept%'") == [(3,)]


def test_migrate_makes_the_schema_and_the_service_can_log_in(stopped):
    with Running(stopped, "--migrate") as running:
        connection = psycopg2.connect(running.said["service_url"])
        with connection.cursor() as cursor:
            cursor.execute("select current_user::text, leadrouter.schema_version() > 0")
            assert cursor.fetchall() == [("leadrouter_service", True)]
        connection.close()


def test_standard_input_that_is_no_pipe_does_not_end_it(stopped):
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([PROGRAM, "cluster", "--embedded", stopped, "--disposable"], stdin=subprocess.DEVNULL, stdout=output)
        wait_until(lambda: output.seek(0) == 0 and output.read() != "")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0


def test_cluster_of_a_killed_server_is_adopted(stopped):
    first = Running(stopped, disposable=False)
    first.end(signal.SIGKILL)
    assert is_alive(first.pid)
    with Running(stopped, disposable=False) as second:
        assert second.pid == first.pid
        assert second.query("select 1") == [(1,)]
    wait_until(lambda: not is_alive(first.pid))


def test_disposable_cluster_ends_with_a_killed_server(stopped):
    running = Running(stopped)
    running.end(signal.SIGKILL)
    wait_until(lambda: not is_alive(running.pid))


def test_second_process_is_refused_and_does_no_harm(place, stopped):
    os.symlink(stopped, place + "/alias")
    with Running(stopped) as running:
        assert "another process uses the directory " + stopped in refused(stopped)
        assert "another process uses the directory " + stopped in refused(place + "/alias/")
        assert running.query("select 1") == [(1,)]


def test_killed_postmaster_is_started_again(stopped):
    with Running(stopped, disposable=False) as running:
        running.query("create table kept ()")
        os.kill(running.pid, signal.SIGKILL)

        def answers():
            try:
                return running.query("select count(*) from pg_class where relname = 'kept'") == [(1,)]
            except psycopg2.OperationalError:
                return False
        wait_until(lambda: not is_alive(running.pid) and answers())
        second = int(pathlib.Path(stopped, "data/postmaster.pid").read_text(encoding="ascii").split()[0])
    assert second != running.pid and not is_alive(second)


def test_killed_server_and_postmaster_are_recovered_from(stopped):
    first = Running(stopped, disposable=False)
    first.query("create table kept ()")
    first.end(signal.SIGKILL)
    os.kill(first.pid, signal.SIGKILL)
    assert os.path.exists(stopped + "/data/postmaster.pid")
    with Running(stopped, disposable=False) as second:
        assert second.query("select count(*) from pg_class where relname = 'kept'") == [(1,)]


@needs_root
def test_a_process_that_has_the_old_number_is_not_touched(stopped):
    """postmaster.pid of a crashed cluster names a process that is another one by now."""
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        pathlib.Path(stopped, "data/postmaster.pid").write_text(f"{stranger.pid}\n{stopped}/data\n1\n5432\n", encoding="ascii")
        shutil.chown(stopped + "/data/postmaster.pid", "postgres", "postgres")
        with Running(stopped) as running:
            assert running.pid != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_making_that_was_broken_off_is_begun_anew(directory):
    os.makedirs(directory + "/data.unfinished/base")
    pathlib.Path(directory, "data.unfinished/PG_VERSION").write_text("15\n", encoding="ascii")
    with Running(directory) as running:
        assert running.query("select 1") == [(1,)]
        assert not os.path.exists(directory + "/data.unfinished")


def test_cluster_of_somebody_else_is_left_alone(stopped):
    os.remove(stopped + "/data/leadrouter.made")
    before = sorted(os.listdir(stopped + "/data"))
    assert "is a cluster that leadrouter did not make" in refused(stopped)
    assert sorted(os.listdir(stopped + "/data")) == before


def test_files_of_somebody_else_are_left_alone(directory):
    os.makedirs(directory + "/data")
    pathlib.Path(directory, "data/thesis.tex").write_text("years of work", encoding="ascii")
    assert "could not name the new cluster" in refused(directory)
    assert os.listdir(directory + "/data") == ["thesis.tex"]


@pytest.mark.parametrize("name", ["with space, comma and 'quote'", "é", "x" * 120])
def test_names_that_a_socket_cannot_have(place, made, name):
    subprocess.run(["cp", "-a", made, f"{place}/{name}"], check=True)
    with Running(f"{place}/{name}") as running:
        assert len(running.socket) < 86 and not running.socket.startswith(place)
        assert running.query("select 1") == [(1,)]
    assert not os.path.exists(running.socket)


def test_a_path_below_the_current_directory(place, stopped):
    with Running("db/", cwd=place) as running:
        assert running.socket == stopped + "/run"


def test_path_too_long(place):
    assert "is too long" in refused(place + "/x" * 400)
    assert os.listdir(place) == []


def test_directory_that_cannot_be_made():
    assert "could not make the directory /proc/leadrouter" in refused("/proc/leadrouter/db")


def test_directory_that_is_a_file(place):
    pathlib.Path(place, "file").write_text("", encoding="ascii")
    assert f"{place}/file" in refused(place + "/file")


@needs_root
def test_directory_that_postgres_cannot_enter(place):
    os.mkdir(place + "/closed", 0o700)
    message = refused(place + "/closed/db")
    assert f"the user postgres cannot enter {place}/closed/db: choose a directory that it can reach" in message


@pytest.fixture
def nobody(place):
    """The program run as an ordinary user; a copy, since the build may lie where that user cannot go."""
    shutil.copy(PROGRAM, place + "/leadrouterd")
    # A build that measures coverage writes its counts where this user may, and so says nothing on standard error.
    os.mkdir(place + "/counts")
    shutil.chown(place + "/counts", "nobody")
    return ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", f"GCOV_PREFIX={place}/counts", place + "/leadrouterd")


@needs_root
def test_an_ordinary_user_has_a_cluster_of_its_own(directory, nobody):
    """It runs PostgreSQL as itself; root does not take such a cluster over, nor the other way round."""
    os.mkdir(directory)
    shutil.chown(directory, "nobody")
    with Running(directory, command=nobody) as running:
        assert os.stat(f"/proc/{running.pid}").st_uid == pwd.getpwnam("nobody").pw_uid
        with pytest.raises(psycopg2.OperationalError): # root is nobody here
            running.query("select 1")
    assert "belongs to the user nobody" in refused(directory)


@needs_root
def test_an_ordinary_user_is_refused_what_is_not_its_own(place, stopped, nobody):
    assert "could not write" in refused(stopped, command=nobody)
    assert "could not make the directory" in refused(place + "/new", command=nobody)


def test_missing_programs_are_named(stopped):
    environment = {**os.environ, "LEADROUTER_PG_BINDIR": "/nonexistent"}
    assert "/nonexistent does not have PostgreSQL's initdb and postgres" in refused(stopped, env=environment)


def test_cluster_of_a_version_that_is_not_installed(stopped):
    pathlib.Path(stopped, "data/PG_VERSION").write_text("99\n", encoding="ascii")
    assert "was made by PostgreSQL 99, which is not installed" in refused(stopped)


def test_why_it_did_not_start_is_said(stopped):
    with open(stopped + "/data/postgresql.conf", "a", encoding="ascii") as configuration:
        configuration.write("no_such_setting = 1\n")
    assert "PostgreSQL did not start: " in refused(stopped)


def test_access_rules_that_refuse_us(stopped):
    pathlib.Path(stopped, "data/pg_ident.conf").write_text("", encoding="ascii")
    assert "the embedded database refused us" in refused(stopped)


def test_wrong_words():
    assert subprocess.run([PROGRAM, "cluster"], capture_output=True, check=False).returncode == 2
    assert subprocess.run([PROGRAM, "cluster", "--embedded"], capture_output=True, check=False).returncode == 2
    assert b"--embedded DIR" in subprocess.run([PROGRAM, "cluster", "--help"], capture_output=True, check=True).stdout


def heard(supervisor):
    """What was told on a supervisor's socket, and by which process, the kernel says."""
    told = []
    while True:
        try:
            text, about, _, _ = supervisor.recvmsg(256, socket.CMSG_SPACE(12), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return told
        told.append((struct.unpack("3i", about[0][2])[0], text.decode()))


def test_who_supervises_hears_us_alone(stopped):
    """PostgreSQL, which is built to speak for itself, does not know where."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        supervisor.bind("\0" + stopped)
        running = Running(stopped, env={**os.environ, "NOTIFY_SOCKET": "@" + stopped})
        assert running.end() == 0
        assert heard(supervisor) == [(running.process.pid, "READY=1"), (running.process.pid, "STOPPING=1")]
