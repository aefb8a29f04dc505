"""Goal: whoever is killed (leadctl, the server, PostgreSQL), and whenever, an import that is resumed each time takes every row in once,
with one outcome, the import says what is there, and every row that was rejected is told of, whoever rejected it."""
import collections
import json
import os
import random
import subprocess
import time

import pytest

from support.imports import not_beyond
from support.ports import free_address
from support.postgres import LEADCTL
from support.product_cluster import ProductCluster, execute, wait_until
from support.server import Server

PARTNER, DESK = (f"00000000-0000-4000-8000-0000000000{n}" for n in ("01", "02"))
LONG = "LEADROUTER_LONG" in os.environ
ROWS, KILLS, REFUSED = (100_000, 20, 450) if LONG else (3_000, 3, 25) # every so many rows one that the database refuses
SEED = int(os.environ.get("LEADROUTER_TEST_SEED", random.SystemRandom().randrange(10 ** 6)))
VICTIMS = ("leadctl", "the server", "PostgreSQL")
SQL = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions)
values ('{PARTNER}', '{DESK}', 'Germany', '{{"countries": ["DE"]}}');
alter table leads add constraint known check (city <> 'Nowhere');
"""


def write_rows(path):
    """Every hundredth row is bad, some are refused by the database, every twentieth of the others repeats an earlier one; half have no id
    of their own. What must come of them, and the numbers of those that are rejected."""
    expected, rejected = collections.Counter(), []
    with open(path, "w", encoding="utf-8") as file:
        file.write("external_id,email,country,city\n")
        for n in range(1, ROWS + 1):
            if n % 100 == 0:
                file.write(f"x{n},nobody,DE,Ulm\n")
            elif n % REFUSED == 0:
                file.write(f"x{n},p{n}@example.com,DE,Nowhere\n")
            if n % 100 == 0 or n % REFUSED == 0:
                rejected.append(n)
                continue
            key = n - 3 if n % 20 == 0 else n
            file.write(f"{f'x{key}' if key % 2 else ''},p{key}@example.com,DE,Ulm\n")
            expected["duplicate_rows" if key != n else "created"] += 1
    return {**expected, "rejected": len(rejected)}, rejected


class Scene:
    """A cluster, a server and an import of the file, each of which can be killed and brought back."""

    def __init__(self, cluster, path, errors):
        self.cluster, self.name = cluster, cluster.database()
        execute(cluster, self.name, SQL)
        self.server = Server(cluster.service_url(self.name), listen=free_address()).__enter__()
        self.words = [LEADCTL, "import", path, "--workspace", PARTNER, "--target", self.server.address, "--route", "--json", "--quiet",
                      "--errors", errors, "--batch", "1000" if LONG else "50", "--map", "external_id=external_id"]
        self.importing = None

    def begin(self):
        self.importing = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def at(self):
        found = execute(self.cluster, self.name, "select last_row from bulk_upload_jobs")
        return found[0][0] if found else 0

    def run_until(self, row):
        """Waits until the import is that far; false when it has ended before."""
        while self.importing.poll() is None:
            if self.at() >= row:
                return True
            time.sleep(0.002) # what is looked for is a moment in the middle of something
        return False

    def kill(self, victim):
        if victim == "leadctl":
            self.importing.kill()
            self.importing.communicate()
            self.begin()
        elif victim == "the server":
            self.server.kill()
            self.server.__exit__()
            self.server = Server(self.cluster.service_url(self.name), listen=self.server.address).__enter__()
        else:
            self.cluster.kill()
            self.cluster.restart()

    def close(self):
        if self.importing and self.importing.poll() is None:
            self.importing.kill()
            self.importing.communicate()
        self.server.__exit__()


@pytest.fixture
def scene(tmp_path):
    with ProductCluster() as cluster:
        scene = Scene(cluster, tmp_path / "leads.csv", tmp_path / "errors.csv")
        yield scene
        scene.close()


def test_a_database_that_is_away_at_the_beginning(scene, tmp_path):
    """A server that says so is there, and is waited for as in the middle: not for the few seconds that a wrong address is given."""
    (tmp_path / "leads.csv").write_text("external_id,email,country\nx1,a@example.com,DE\n", encoding="utf-8")
    scene.cluster.kill()
    scene.begin()
    said = scene.importing.stderr.readline()
    assert said.endswith("; waiting for at most 120 s\n"), said
    scene.cluster.restart()
    output, text = scene.importing.communicate(timeout=60)
    assert scene.importing.returncode == 0 and json.loads(output)["created"] == 1, text


def test_killed_at_random_points(scene, tmp_path):
    print(f"LEADROUTER_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    expected, rejected = write_rows(tmp_path / "leads.csv")
    points = sorted(chance.randrange(ROWS // 20, ROWS * 9 // 10) for _ in range(KILLS))
    victims = list(VICTIMS) + [chance.choice(VICTIMS) for _ in range(KILLS - len(VICTIMS))]
    chance.shuffle(victims)

    def sql(statement):
        return execute(scene.cluster, scene.name, statement)
    with not_beyond(sql, ROWS * 19 // 20):
        scene.begin()
        struck = [victim for point, victim in zip(points, victims) if scene.run_until(point) and not scene.kill(victim)]
    output, text = scene.importing.communicate(timeout=600)
    print(struck, text, sep="\n")
    assert scene.importing.returncode == 1 and len(struck) == KILLS
    summary = json.loads(output)
    assert (summary["state"], summary["processed"], summary["existing"], summary["updated"]) == ("completed_with_errors", ROWS, 0, 0)
    assert {key: summary[key] for key in expected} == expected
    assert sql("select count(*), processed_records, created_records, duplicate_records, failed_records, last_row from leads,"
               " bulk_upload_jobs group by 2, 3, 4, 5, 6") == [
        (expected["created"], ROWS, expected["created"], expected["duplicate_rows"], expected["rejected"], ROWS)]
    assert sql("select count(*), count(distinct email), count(distinct import_row) from leads") == [(expected["created"],) * 3]
    # What a crash left undecided is found once its grace of a minute is over: now.
    sql("update leads set created_at = created_at - interval '2 minutes' where routing_status = 'pending'")

    def looked_for(): # it may be at it already, or its connection may have gone with the PostgreSQL that was killed last
        done = subprocess.run([LEADCTL, "jobs", "run", "lost_leads", "--target", scene.server.address], capture_output=True,
                              text=True, timeout=60)
        print(done.stderr)
        return done.returncode == 0
    wait_until(looked_for, "nobody looks for lost leads")
    wait_until(lambda: sql("select count(*) from leads where routing_status <> 'routed'") == [(0,)], "what a crash left to be routed")
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result in ('success', 'duplicate')") == [
        (expected["created"],) * 2], "one outcome each"
    assert sql("select count(*), count(distinct id) from leads l where decided_outcome = 'success' and workspace_id::text = "
               f"'{DESK}'") == [(expected["created"],) * 2]
    told = [line.split(",")[4:6] for line in (tmp_path / "errors.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert told == [[str(n), "email" if n % 100 == 0 else ""] for n in rejected], "each rejected row is in the file once, in order"
