"""Goal: what a test leaves in the cluster that it shares with others does not stay unseen (support/cluster_roles.py)."""
import pytest

from support.cluster_roles import Roles
from support.product_cluster import execute


@pytest.mark.parametrize("change, undo, named", [
    ("alter role leadrouter_service inherit", "alter role leadrouter_service noinherit", "role leadrouter_service: inherit login"),
    ("grant leadrouter_owner to leadrouter_service", "revoke leadrouter_owner from leadrouter_service",
     "leadrouter_service is a member of leadrouter_owner"),
    ("revoke authenticated from leadrouter_service", "grant authenticated to leadrouter_service",
     "leadrouter_service is a member of authenticated"),
    ("create role left_behind", "drop role left_behind", "role left_behind"),
    ("alter role leadrouter_service set work_mem = '1MB'", "alter role leadrouter_service reset work_mem",
     "settings of leadrouter_service in every database: {work_mem=1MB}"),
    ("alter role all set work_mem = '1MB'", "alter role all reset work_mem", "settings of everybody in every database"),
    ("alter system set work_mem = '1MB'", "alter system reset work_mem", "alter system set work_mem = 1MB"),
])
def test_what_a_test_leaves_is_named(cluster, change, undo, named):
    roles = Roles(cluster)
    roles.check()
    execute(cluster, "postgres", change)
    try:
        with pytest.raises(AssertionError, match=named.replace("{", r"\{")):
            roles.check()
        roles.check() # told once
    finally:
        execute(cluster, "postgres", undo)
        roles.close()


def test_a_lost_session_is_made_anew(cluster):
    roles = Roles(cluster)
    execute(cluster, "postgres", f"select pg_terminate_backend({roles.connection.get_backend_pid()})")
    roles.check()
    roles.close()
