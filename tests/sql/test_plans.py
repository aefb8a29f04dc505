"""Goal: the plans in docs/performance.md are those that PostgreSQL makes."""
import os
import subprocess

from support.guides import BLOCK, text_of
from support.postgres import ROOT

from plans import page


def test_the_plans_of_the_page(cluster):
    """Those of a database with some thousand leads, statement by statement; tests/sql/plans.py prints them."""
    assert page(cluster) in (ROOT / "docs/performance.md").read_text(encoding="utf-8"), "run tests/sql/plans.py, and put it there"


def test_plans_of_a_running_server(cluster, database):
    """What the page types makes new sessions of the server's role write plans."""
    text, = [match[2] for match in BLOCK.finditer(text_of("performance.md")) if match[2].startswith("psql ")]
    subprocess.run(["bash", "-euo", "pipefail", "-c", text.replace(" in database leads ", f" in database {database} ")],
                   env={**os.environ, "DATABASE": cluster.url(database)}, check=True, timeout=60)
    session = cluster.connect(database, "leadrouter_service")
    with session.cursor() as cursor:
        for name, value in (("log_min_duration", "100ms"), ("log_nested_statements", "on")):
            cursor.execute(f"show auto_explain.{name}")
            assert cursor.fetchall() == [(value,)]
        cursor.execute("set client_min_messages = log")
        cursor.execute("select pg_sleep(0.11)")
    assert "plan:" in "".join(session.notices)
    session.close()
