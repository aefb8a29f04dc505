"""Goal: what somebody writes into a statement of his own does not show him rows that are not his: functions that cost nothing, casts,
errors, operators, views, plans, sequences of claims."""
import uuid

import psycopg2
import pytest

from support.groups import together
from support.tenancy import A, ADAM, ALICE, B, BOB, DESK, KINDS, Asker, Kept, claims

# Functions of the asker's own, so cheap that the planner would call them first if it might.
TELLTALE = """
create function pg_temp.tell(p_text text) returns boolean language plpgsql cost 0.0000001 as
    $$ begin raise notice 'told %', p_text; return true; end $$;
create function pg_temp.tell_eq(p_left text, p_right text) returns boolean language plpgsql cost 0.0000001 as
    $$ begin raise notice 'told %', p_left; return true; end $$;
create operator pg_temp.=== (leftarg = text, rightarg = text, procedure = pg_temp.tell_eq, restrict = eqsel);
create view pg_temp.everything as select * from public.leads;
"""


@pytest.fixture(scope="module", params=together("tenancy_tricks", KINDS))
def kept(request):
    with Kept(request.param) as db:
        db.mine = {str(row.email) for row in db.rows("select email from leads where %s in (source_workspace_id, workspace_id)", A)}
        db.others = {str(row.email) for row in db.rows("select email from leads")} - db.mine
        assert len(db.mine) >= 3 and len(db.others) >= 2
        yield db


@pytest.fixture
def alice(kept):
    session = Asker(kept, "authenticated", claims(ALICE))
    session.execute(TELLTALE)
    del session.connection.notices[:]
    yield session


@pytest.mark.parametrize("statement", [
    "select count(*) from leads where pg_temp.tell(email)",
    "select count(*) from leads where pg_temp.tell(email) and email <> ''",
    "select count(*) from leads where email operator(pg_temp.===) 'x'",
    "select count(*) from pg_temp.everything where pg_temp.tell(email)",
    "select count(*) from leads l join lead_routing_logs g on g.lead_id = l.id and pg_temp.tell(l.email)",
    "select count(*) from leads l left join lead_routing_queue q on q.lead_id = l.id where pg_temp.tell(l.email)",
    "select count(*) from (select * from leads where pg_temp.tell(email) offset 0) x",
    "select count(*) from leads where case when pg_temp.tell(email) then true end",
    "select count(*) from leads l where exists (select from leads x where pg_temp.tell(x.email) and x.id = l.id)",
    "select max(email) from leads having bool_and(pg_temp.tell(email))",
    "select email, pg_temp.tell(email) from leads order by pg_temp.tell(email)",
    "select count(*) from leads where pg_temp.tell(to_jsonb(leads) ->> 'email')",
])
def test_a_function_is_shown_no_row_that_is_not_its_callers(kept, alice, statement):
    alice.rows(statement)
    told = "".join(alice.connection.notices)
    assert any(email in told for email in kept.mine), "the function was called, with rows of the caller's"
    assert not any(email in told for email in kept.others)


@pytest.mark.parametrize("statement", [
    "select count(*) from leads where 1 / (case when email = %s then 0 else 1 end) = 1",
    "select count(*) from leads where (case when email = %s then 'x' else '1' end)::int = 1",
    "select count(*) from leads where email = %s and (email || 'x')::uuid is not null",
])
def test_an_error_tells_nothing_of_them(kept, alice, statement):
    for email in kept.others:
        assert alice.value(statement, email) in (0, len(kept.mine))
    with pytest.raises(psycopg2.DataError):
        alice.value(statement, next(iter(kept.mine)))


def test_statistics_tell_nothing(kept, alice):
    kept.execute("analyze")
    assert kept.value("select count(*) from pg_stats where tablename = 'leads'") > 10
    alice.execute("reset role")
    alice.execute("set role authenticated")
    assert alice.value("select count(*) from pg_stats where tablename in ('leads', 'lead_routing_logs', 'lead_dedupe_claims')") == 0


def test_row_security_cannot_be_switched_off_by_a_session(alice):
    """It then refuses instead of leaving rows out."""
    alice.execute("set row_security = off")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        alice.value("select count(*) from leads")


def test_claims_count_in_each_statement(kept, alice):
    """A plan that was made for one person shows another one his rows."""
    alice.execute("prepare emails as select email from leads")
    assert {row.email for row in alice.rows("execute emails")} == kept.mine
    alice.execute("select set_config('request.jwt.claims', %s, false)", claims(BOB))
    bobs = {str(row.email) for row in kept.rows("select email from leads where %s in (source_workspace_id, workspace_id)", B)}
    assert {row.email for row in alice.rows("execute emails")} == bobs != kept.mine
    alice.execute("select set_config('request.jwt.claims', '', false)")
    assert alice.rows("execute emails") == []


def test_who_leaves_is_out_with_the_next_statement(kept, alice):
    kept.execute("delete from user_workspaces where user_id = %s", ALICE)
    try:
        assert alice.value("select count(*) from leads") == 0
    finally:
        kept.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", ALICE, A)
    assert alice.value("select count(*) from leads") == len(kept.mine)


def test_an_admin_may_sell_to_anybody_and_learns_nothing_by_it(kept):
    """A rule may give to any workspace, for that is how leads are sold; whether there is one of that name it does not tell."""
    adam = Asker(kept, "authenticated", claims(ADAM))
    for destination in (A, B, DESK, uuid.uuid4()):
        assert adam.attempt("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values (%s, 'x', %s)",
                            A, destination) == 1
        assert adam.attempt("update lead_routing_rules set destination_workspace_id = %s", destination) == 1
    # Neither does a rule or set put into a workspace that is not his, whether there is one or not.
    outcomes = set()
    for workspace in (B, uuid.uuid4()):
        for statement in ("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id)"
                          f" values ('{workspace}', 'x', '{A}')",
                          f"insert into lead_routing_sets (workspace_id, set_name) values ('{workspace}', 's')",
                          f"update lead_routing_sets set workspace_id = '{workspace}'"):
            with pytest.raises(psycopg2.Error) as refusal:
                adam.execute(statement)
            assert str(workspace) not in str(refusal.value)
            outcomes.add(str(refusal.value).split(' for table')[0])
    assert outcomes == {"new row violates row-level security policy"}


def test_a_rule_with_an_id_that_is_taken_names_no_row(kept):
    """The id of somebody else's rule cannot be used again; the refusal quotes nothing of it."""
    adam = Asker(kept, "authenticated", claims(ADAM))
    rule = kept.value("select id from lead_routing_rules where workspace_id = %s", B)
    with pytest.raises(psycopg2.errors.UniqueViolation) as refusal:
        adam.execute("insert into lead_routing_rules (id, workspace_id, rule_name, destination_workspace_id) values (%s, %s, 'x', %s)",
                     rule, A, B)
    assert refusal.value.diag.message_detail is None
    assert adam.attempt("insert into lead_routing_rules (id, workspace_id, rule_name, destination_workspace_id) values (%s, %s, 'x', %s)"
                        " on conflict (id) do update set rule_name = 'taken'", rule, A, B) == "denied"
    assert adam.attempt("insert into lead_routing_rules (id, workspace_id, rule_name, destination_workspace_id) values (%s, %s, 'x', %s)"
                        " on conflict (id) do nothing returning *", rule, A, B) == 0


def test_a_change_by_sql_has_its_author(kept):
    """The person whose claims the session has; and claims of another make do not stop those who may."""
    adam = Asker(kept, "authenticated", claims(ADAM))
    adam.execute("update lead_routing_rules set priority = priority + 1")
    newest = "select actor_id from leadrouter.rule_set_versions where workspace_id = %s order by version desc limit 1"
    assert kept.value(newest, A) == ADAM
    kept.execute("select set_config('request.jwt.claims', '{\"sub\": \"auth0|5\"}', false)")
    kept.execute("update workspaces set routing_config = '{\"unmatched\": \"keep\"}' where id = %s", A)
    kept.execute("reset request.jwt.claims")
    assert kept.value(newest, A) is None


def test_what_is_made_for_a_claim_does_not_make_one_a_member(kept):
    """Role and workspace in a token are words; membership is a row."""
    session = Asker(kept, "authenticated", '{"sub": "%s", "role": "service_role", "workspace_id": "%s", "app_metadata": {"admin": true}}'
                    % (uuid.uuid4(), A))
    for table in ("leads", "workspaces", "user_workspaces", "lead_routing_rules", "lead_routing_logs", "lead_routing_queue"):
        assert session.attempt(f"select * from {table}") == 0
    assert session.attempt("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'admin')", STRANGER_ID, A) == "denied"


STRANGER_ID = uuid.uuid4()
