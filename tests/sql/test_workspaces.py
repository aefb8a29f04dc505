"""Goal: the functions about workspaces and members do what they say as the service role, refuse what they must, and two that meet wait for
each other instead of breaking what each of them saw."""
import uuid

import psycopg2
import pytest

CREATE = "select leadrouter.create_workspace(%s, %s, 'standard', true, %s, null)"
UPDATE = "select leadrouter.update_workspace(%s, %s, %s, %s, %s, %s, %s, null, '')"


@pytest.fixture
def service(db):
    return db.session(role="leadrouter_service")


@pytest.fixture
def home(service):
    home = uuid.uuid4()
    assert service.value(CREATE, home, "Home", "{}")
    return home


def refused(session, sql, *parameters):
    with pytest.raises(psycopg2.Error) as caught:
        session.execute(sql, *parameters)
    return caught.value.pgcode


def version(service, where):
    return service.row("select * from leadrouter.read_workspaces(%s, null, null, null, 1)", where).version


def test_create(service, home):
    assert service.value(CREATE, home, "Home", "{}") is False
    assert refused(service, CREATE, home, "Home", '{"dedupe_days": 7}') == "LR409"
    fallback = '{"unmatched": "fallback", "fallback_workspace_id": "%s"}'
    assert refused(service, CREATE, uuid.uuid4(), "Other", fallback % uuid.uuid4()) == "LR422"
    assert service.value(CREATE, uuid.uuid4(), "Other", fallback % home)
    assert refused(service, CREATE, uuid.uuid4(), "Other", '{"nothing": 1}') == "22023"


def test_update(service, home):
    first = version(service, home)
    service.execute(UPDATE, home, "House", "partner", False, '{"dedupe_days": 9}', first, False)
    row = service.row("select * from leadrouter.read_workspaces(%s, null, null, null, 1)", home)
    assert (row.name, row.workspace_type, row.is_active, row.routing_config, row.version) == (
        "House", "partner", False, '{"dedupe_days": 9}', first + 1)
    assert refused(service, UPDATE, home, "x", "partner", False, "{}", first, False) == "LR412"
    assert refused(service, UPDATE, uuid.uuid4(), "x", "partner", False, "{}", 0, False) == "LR404"
    assert refused(service, UPDATE, home, "x", "partner", True, "{}", 0, True) == "LR403"
    assert refused(service, UPDATE, home, "x", "standard", False, "{}", 0, True) == "LR403"
    service.execute(UPDATE, home, "House", "partner", False, "{}", 0, True)


def test_a_fallback_cannot_be_switched_off_while_it_is_chosen(db, service, home):
    """Who comes second waits, and sees what the first has done."""
    other = uuid.uuid4()
    service.value(CREATE, other, "Other", "{}")
    service.begin()
    service.execute(UPDATE, home, "Home", "standard", True,
                    '{"unmatched": "fallback", "fallback_workspace_id": "%s"}' % other, 0, False)
    second = db.session(role="leadrouter_service")
    waiting = db.in_background(second.execute, UPDATE, other, "Other", "standard", False, "{}", 0, False)
    db.wait_until_blocked(second, by=service)
    service.commit()
    waiting.result(30)
    assert version(service, home) > 2, "the fallback's activity is part of the version"


FALLBACK = '{"unmatched": "fallback", "fallback_workspace_id": "%s"}'


def crosswise(db, blocker, first, second):
    """Two updates, begun while `blocker` holds what both need, go on when it lets go: how each ended."""
    sessions = [db.session(role="leadrouter_service") for _ in range(2)]
    waiting = [db.in_background(sessions[0].execute, UPDATE, *first)]
    db.wait_until_blocked(sessions[0], by=blocker)
    waiting.append(db.in_background(sessions[1].execute, UPDATE, *second))
    db.wait_until_blocked(sessions[1])
    blocker.commit()
    errors = [one.exception(30) for one in waiting]
    return [error and error.pgcode for error in errors]


def test_each_other_chosen_as_fallback(db, service):
    """Both wait at a version, behind the first lock that they take: not for each other crosswise."""
    low, high = sorted([uuid.uuid4(), uuid.uuid4()])
    for one in (low, high):
        service.value(CREATE, one, "w", "{}")
    versions = [version(service, one) for one in (low, high)]
    blocker = db.session()
    blocker.begin()
    blocker.execute("select from leadrouter.rule_versions where workspace_id in (%s, %s) for update", low, high)
    assert crosswise(db, blocker, (low, "w", "standard", True, FALLBACK % high, versions[0], False),
                     (high, "w", "standard", True, FALLBACK % low, versions[1], False)) == [None, None]


def test_each_other_switched_off(own_db):
    """Each raises the version of the other, whose fallback it is. Both wait before they do; the second at the other's version."""
    service = own_db.session(role="leadrouter_service")
    low, high = sorted([uuid.uuid4(), uuid.uuid4()])
    for one in (low, high):
        service.value(CREATE, one, "w", "{}")
    for one, other in ((low, high), (high, low)):
        service.execute(UPDATE, one, "w", "standard", True, FALLBACK % other, 0, False)
    versions = [version(service, one) for one in (low, high)]
    own_db.execute("create function wait_here() returns trigger language plpgsql as "
                   "'begin perform pg_advisory_xact_lock_shared(1); return new; end'")
    own_db.execute("create trigger wait_here before update on workspaces for each row execute function wait_here()")
    blocker = own_db.session()
    blocker.begin()
    blocker.execute("select pg_advisory_xact_lock(1)")
    assert crosswise(own_db, blocker, (low, "w", "standard", False, "{}", versions[0], False),
                     (high, "w", "standard", False, "{}", versions[1], False)) == [None, "LR412"], \
        "the first raised the version of the second"


def test_pages_of_workspaces(db, service):
    made = [uuid.uuid4() for _ in range(5)]
    for one in made:
        service.value(CREATE, one, "w", "{}")
    db.execute("update workspaces set created_at = '2026-01-01'")
    seen, after = [], (None, None)
    while True:
        rows = service.rows("select id, created_us from leadrouter.read_workspaces(null, null, %s, %s, 2)", *after)
        seen += [row.id for row in rows]
        if len(rows) < 2:
            break
        after = rows[-1].created_us, rows[-1].id
    assert seen == sorted(made), "those of one instant in order of their ids"
    member = uuid.uuid4()
    service.execute("select leadrouter.set_member(%s, %s, 'member', false)", made[2], member)
    assert [row.id for row in service.rows("select id from leadrouter.read_workspaces(null, %s, null, null, 9)", member)] == [made[2]]


def test_members(service, home):
    ann, ben = sorted([uuid.uuid4(), uuid.uuid4()])
    put, remove = "select leadrouter.set_member(%s, %s, %s, %s)", "select leadrouter.remove_member(%s, %s, %s)"
    assert service.value(put, home, ann, "admin", True) is True and service.value(put, home, ann, "admin", True) is False
    assert refused(service, put, home, ann, "member", True) == "LR423" and refused(service, remove, home, ann, True) == "LR423"
    assert service.value(put, home, ben, "member", True) is True
    assert [tuple(row) for row in service.rows("select * from leadrouter.list_members(%s, null, 9)", home)] == [(ann, True), (ben, False)]
    assert [tuple(row) for row in service.rows("select * from leadrouter.list_members(%s, %s, 9)", home, ann)] == [(ben, False)]
    assert service.value(remove, home, ben, True) is True and service.value(remove, home, ben, True) is False
    assert service.value(remove, home, ann, False) is True
    for sql in ("select * from leadrouter.list_members(%s, null, 9)",
                "select leadrouter.set_member(%s, gen_random_uuid(), 'member', false)",
                "select leadrouter.remove_member(%s, gen_random_uuid(), false)"):
        assert refused(service, sql, uuid.uuid4()) == "LR404"


def test_changes_of_members_queue_at_the_workspace(db, service, home):
    """Two administrators, each taking the other's rights away: the second is refused, whatever it saw before."""
    ann, ben = uuid.uuid4(), uuid.uuid4()
    for who in (ann, ben):
        service.execute("select leadrouter.set_member(%s, %s, 'admin', false)", home, who)
    second = db.session(role="leadrouter_service")
    service.begin()
    service.execute("select leadrouter.remove_member(%s, %s, true)", home, ann)
    waiting = db.in_background(refused, second, "select leadrouter.remove_member(%s, %s, true)", home, ben)
    db.wait_until_blocked(second, by=service)
    service.commit()
    assert waiting.result(30) == "LR423"
