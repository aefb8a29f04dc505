"""Goal: every command of docs/grpcurl.md prints what stands there (… is anything within a line), against a running leadrouterd, and
those of README.md work."""
import os
import re
import subprocess

import pytest

from support.fetched_program import go_program
from support.guides import run_script, scripts
from support.postgres import ROOT
from support.product_cluster import wait_until

PAGE = ROOT / "docs/grpcurl.md"
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
LEAD = "00000000-0000-4000-a000-00000000000{}"
TIMEOUT_S = 60

DATA = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (id, workspace_id, rule_name, conditions, destination_workspace_id) values
    ('00000000-0000-4000-9000-000000000001', '{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}');
insert into leads (id, workspace_id, email, country) values
    ('{LEAD.format(1)}', '{PARTNER}', 'one@example.com', 'DE'), ('{LEAD.format(2)}', '{PARTNER}', 'two@example.com', 'Germany');
"""


@pytest.fixture(scope="module")
def grpcurl():
    return go_program("grpcurl")


def blocks():
    """(command, expected output) of each console block, in order."""
    found = re.findall(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)
    assert len(found) >= 8, "the page has its commands"
    return found


def matches(expected, got):
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected))
    return re.fullmatch(pattern, got)


def test_the_pages_are_true(server, sql, grpcurl, tmp_path):
    sql(DATA)
    (tmp_path / "grpcurl").symlink_to(grpcurl)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    check = [grpcurl, "-plaintext", server.address, "grpc.health.v1.Health/Check"]
    wait_until(lambda: "\"SERVING\"" in subprocess.run(check, capture_output=True, text=True,
                                                          timeout=TIMEOUT_S).stdout, "the server serves")
    for command, expected in blocks():
        assert "127.0.0.1:7450" in command
        done = subprocess.run(["sh", "-c", command.replace("127.0.0.1:7450", server.address)], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S)
        assert matches(expected, done.stdout), f"{command}\nprints\n{done.stdout}\nand the page says\n{expected}"
    tour, = [text for text in scripts("README.md", {"127.0.0.1:7450": server.address}) if "grpcurl" in text]
    assert "ROUTING_OUTCOME_ROUTED" in run_script(tour, PATH=environment["PATH"], W=PARTNER)
