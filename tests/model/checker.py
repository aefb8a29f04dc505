"""Random interleavings of everything that can happen to a lead, by several sessions with open transactions, against the real functions;
after each step the answer is held against the model's, and from time to time the whole state and what the audit log makes of it.

A run is its seed: `Checker(cluster, seed).run(steps)` does the same again. Time is moved by writing old times, never waited for; the model
counts transactions instead.
"""
import random
import uuid

import psycopg2

from model.model import ALLOWED, FIRST_AGAIN, MAX_ATTEMPTS, NEVER, ONE_MORE, OPEN, SAME, Lead, Model, replay
from support.database import Database

SESSIONS, LEADS, IDENTITIES, OWNERS = 4, 14, 4, 5
CHECK_EVERY = 200

STATE = """
select l.id::text, l.routing_status::text as status, l.routing_attempts as attempts, l.routing_locked_by::text as owner,
    l.decided_outcome as outcome, case when l.decided_outcome = 'success' then l.workspace_id::text end as destination,
    l.duplicate_lead_id::text as duplicate_of, q.error_class, q.rules_version, q.max_attempts, q.next_retry_at = 'infinity' as is_never
from leads l left join lead_routing_queue q on q.lead_id = l.id and q.processed_at is null"""

LOGS = """
select lead_id::text, routing_result, attempt_number, routing_metadata ->> 'status' as status
from lead_routing_logs order by lead_id, created_at"""


class Difference(AssertionError):
    """The database did something that the model does not."""


class Checker:
    def __init__(self, cluster, database, seed):
        self.db = Database(cluster, database)
        self.chance = random.Random(seed)
        self.seed, self.step, self.history = seed, 0, []
        self.sources = [str(self.db.workspace()) for _ in range(2)]
        self.desk = str(self.db.workspace())
        self.model = Model(self.sources)
        self.sessions = [self.db.session() for _ in range(SESSIONS)]
        for session in (self.db, *self.sessions):
            session.execute("set lock_timeout = '2s'") # no step waits for another
        self.owners = [self.new_id() for _ in range(OWNERS)]
        self.rules = dict.fromkeys(self.sources) # source -> id of its rule, or None
        self.touched = [set() for _ in range(SESSIONS)] # leads that a session's transaction has ended an attempt of
        self.db.execute("update leadrouter.error_classes set delays = '{1 day}', jitter = 0"
                        " where cardinality(delays) > 0 and delays <> '{0}'")
        for _ in range(LEADS):
            self.insert()
        self.operations = [
            (self.acquire, 20), (self.complete, 12), (self.fail, 12), (self.route, 16), (self.retry, 8), (self.release, 4),
            (self.expire, 3), (self.queue_lost, 4), (self.cancel, 4), (self.poke, 8), (self.age_lock, 5), (self.age_row, 8),
            (self.age_lead, 2), (self.change_rules, 2), (self.insert, 1), (self.begin, 10), (self.commit, 8), (self.rollback, 3)]

    def close(self):
        self.db.close_others()
        self.db.close()

    # --- The run ----------------------------------------------------------------------------------------------------------

    def run(self, steps):
        names, weights = zip(*self.operations)
        while self.step < steps:
            self.step += 1
            operation = self.chance.choices(names, weights)[0]
            operation()
            if self.step % CHECK_EVERY == 0:
                self.finish_all()
                self.check()
                self.renew()
        self.finish_all()
        self.check()

    def expect(self, what, seen, expected):
        self.history.append((self.step, what, seen))
        if seen != expected:
            last = "\n".join(map(str, self.history[-60:]))
            raise Difference(f"seed {self.seed}, step {self.step}: {what}: the database says {seen!r}, the model {expected!r}\n{last}")

    def inside(self, body, number=None, alone=False):
        """Runs body(number, session) in the session's open transaction, or in one of its own. Alone: only as the first thing of one, for
        what looks at the time."""
        number = self.chance.randrange(SESSIONS) if number is None else number
        is_open = number in self.model.sessions
        if is_open and alone:
            return
        if not is_open:
            self.do_begin(number)
        body(number, self.sessions[number])
        if not is_open and number in self.model.sessions:
            if alone and self.chance.random() < 0.3:
                return # stays open
            self.do_commit(number)

    def note(self, what):
        self.history.append((self.step, what, None))

    def do_begin(self, number):
        self.note(f"begin {number}")
        self.sessions[number].begin()
        self.sessions[number].execute("select now()") # the transaction's time is set by now
        self.model.begin(number)
        self.touched[number] = set()

    def do_commit(self, number):
        self.note(f"commit {number}")
        self.sessions[number].commit()
        self.model.commit(number)

    def new_id(self):
        return str(uuid.UUID(int=self.chance.getrandbits(128)))

    def begin(self):
        number = self.chance.randrange(SESSIONS)
        if number not in self.model.sessions:
            self.do_begin(number)

    def commit(self):
        if self.model.sessions:
            self.do_commit(self.chance.choice(sorted(self.model.sessions)))

    def rollback(self):
        if self.model.sessions:
            number = self.chance.choice(sorted(self.model.sessions))
            self.note(f"rollback {number}")
            self.sessions[number].rollback()
            self.model.rollback(number)

    def finish_all(self):
        for number in sorted(self.model.sessions):
            self.do_commit(number)

    def lead(self, number=None):
        return self.chance.choice(sorted(self.model.leads))

    def may_end(self, number, lead):
        """Whether an attempt of the lead can end here without waiting for anybody, and without a second end in one transaction."""
        identity = self.model.leads[lead].identity
        return not (self.model.is_locked(number, lead) or lead in self.touched[number]
                    or (identity and self.model.is_claimed_elsewhere(number, identity)))

    # --- Workers of the SQL functions ---------------------------------------------------------------------------------------

    def acquire(self):
        lead, owner = self.lead(), self.chance.choice(self.owners)

        def body(number, session):
            if lead in self.touched[number]:
                return
            seen = session.value("select acquire_routing_lock(%s, %s)", lead, owner)
            self.expect(f"acquire {lead[:4]} by {owner[:4]} in {number}", seen, self.model.acquire(number, lead, owner))
        self.inside(body)

    def worker(self, number):
        """A lead and an owner, often the one that holds it."""
        lead = self.lead()
        held = [name for name, state in self.model.leads.items() if state.status == "routing"]
        if held and self.chance.random() < 0.8:
            lead = self.chance.choice(sorted(held))
        owner = self.model.see(number, lead).owner
        return lead, owner if owner and self.chance.random() < 0.8 else self.chance.choice(self.owners)

    def complete(self):
        def body(number, session):
            lead, owner = self.worker(number)
            if not self.may_end(number, lead):
                return
            destination = self.chance.choice([self.desk, *self.sources])
            seen = session.value("select complete_routing(%s, %s, null, %s)", lead, destination, owner)
            self.expect(f"complete {lead[:4]} by {owner[:4]} in {number}", seen, self.model.complete(number, lead, destination, owner))
            if seen:
                self.touched[number].add(lead)
        self.inside(body)

    def fail(self):
        def body(number, session):
            lead, owner = self.worker(number)
            if not self.may_end(number, lead):
                return
            most = self.chance.choice([1, 2, 3, 20])
            seen = session.value("select fail_routing(%s, 'no', %s, %s)", lead, owner, most)
            self.expect(f"fail {lead[:4]} by {owner[:4]} of {most} in {number}", seen, self.model.fail(number, lead, owner, most))
            if seen:
                self.touched[number].add(lead)
        self.inside(body)

    # --- The engine ---------------------------------------------------------------------------------------------------------

    def decide(self, number, session, rows, is_forced):
        """What the engine does with leads that it has locked: rows of lock_leads(), by lead."""
        decisions, expected = [], []
        for lead, row in rows.items():
            state = self.model.see(number, lead)
            self.expect(f"due {lead[:4]}", bool(row.queue_is_due), self.model.is_due(number, lead))
            if state.is_past:
                decision, result = {"verdict": 4}, "expired"
                self.model.end(number, lead)
            elif not is_forced and (not self.model.is_due(number, lead) if state.row else state.status == "failed"):
                continue
            else:
                destination = self.rules[state.source] and self.desk
                if destination:
                    decision, result = {"verdict": 1, "destination": destination}, self.model.give(number, lead, destination)
                else:
                    decision = {"verdict": 3, "error_class": "unmatched"}
                    result = self.model.fail_attempt(number, lead, "unmatched", MAX_ATTEMPTS)
            self.touched[number].add(lead)
            decisions.append({"lead_id": lead, "source": state.source, "hash": row.dedupe_hash, "lead_expires_us": row.lead_expires_us,
                              "rules_version": row.rules_version, "lock_owner": self.new_id(), "place": row.place,
                              "queue_place": row.queue_place, **decision})
            expected.append(result)
        if decisions:
            seen = session.decide(*decisions)
            self.expect(f"decide in {number}", [seen[n + 1].result if n + 1 in seen else None for n in range(len(decisions))], expected)

    def route(self):
        lead, is_forced = self.lead(), self.chance.random() < 0.3

        def body(number, session):
            if not self.may_end(number, lead):
                return
            row = session.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead,
                              self.model.leads[lead].source)
            has = self.model.lock(number, lead)
            self.expect(f"lock {lead[:4]} in {number}", row.is_locked, has)
            if has:
                self.decide(number, session, {lead: row}, is_forced)
        self.inside(body)

    def retry(self):
        def body(number, session):
            if len(self.model.sessions) > 1: # its claims could wait for another session's
                return
            is_outdated = self.chance.random() < 0.5
            rows = session.rows("select * from leadrouter.lock_due_leads(100, null, false, %s, null, null, 0, null, true)", is_outdated)
            self.expect(f"due leads in {number}", {str(row.lead_id) for row in rows}, self.model.due(number, is_outdated))
            self.decide(number, session, {str(row.lead_id): row for row in rows}, False)
        self.inside(body, alone=True)

    # --- Jobs ---------------------------------------------------------------------------------------------------------------

    def release(self):
        self.inside(lambda number, session: self.expect(f"release in {number}", session.value("select release_stale_routing_locks()"),
                                                        self.model.release(number)), alone=True)

    def expire(self):
        self.inside(lambda number, session: self.expect(f"expire in {number}", session.value("select mark_expired_leads()"),
                                                        self.model.expire(number)), alone=True)

    def queue_lost(self):
        self.inside(lambda number, session: self.expect(
            f"lost in {number}", session.value("select queued from leadrouter.queue_lost_leads(60, null, 100, null)"),
            self.model.queue_lost(number)), alone=True)

    def cancel(self):
        lead = self.lead()

        def body(number, session):
            if lead in self.touched[number]:
                return
            seen = session.value("select result from leadrouter.cancel_retries(array[%s]::uuid[], array[%s]::uuid[], null, '')", lead,
                                 self.model.leads[lead].source)
            self.expect(f"cancel {lead[:4]} in {number}", seen, self.model.cancel(number, lead))
            if seen == "cancelled":
                self.touched[number].add(lead)
        self.inside(body, alone=True)

    # --- Writes that go past the functions ----------------------------------------------------------------------------------

    def poke(self):
        """The owner of the functions changes a status directly: what the table of states does not have is refused. Nothing remains."""
        lead = self.lead()
        if self.model.is_locked(None, lead):
            return
        state, target = self.model.leads[lead], self.chance.choice(["pending", "routing", "routed", "failed", "expired"])
        attempts = self.chance.choice([state.attempts, state.attempts + 1, state.attempts + 2, 1])
        how = {SAME: state.attempts, ONE_MORE: state.attempts + 1, FIRST_AGAIN: 1}
        is_allowed = any(how[change] == attempts for change in ALLOWED.get((state.status, target), ()))
        if target == state.status and attempts == state.attempts and target != "routing":
            is_allowed = True # nothing of routing changes
        columns = {"routed": "decision_id = gen_random_uuid(), decided_outcome = 'success', routing_completed_at = now(),"
                             " routing_locked_by = null, routing_locked_at = null",
                   "routing": "routing_locked_by = gen_random_uuid(), routing_locked_at = now()"}
        if target == state.status == "routed":
            return
        self.db.begin()
        try:
            self.db.execute("set local role leadrouter_owner")
            self.db.execute(f"update leads set routing_status = %s, routing_attempts = %s,"
                            f" {columns.get(target, 'routing_locked_by = null, routing_locked_at = null')} where id = %s",
                            target, attempts, lead)
            seen = True
        except psycopg2.errors.CheckViolation:
            seen = False
        self.db.rollback()
        self.expect(f"{state.status} ({state.attempts}) to {target} ({attempts})", seen, is_allowed)

    # --- What time and people do --------------------------------------------------------------------------------------------

    def as_replica(self, sql, *parameters):
        self.db.execute("set session_replication_role = replica")
        self.db.execute(sql, *parameters)
        self.db.execute("set session_replication_role = origin")

    def free_lead(self, condition):
        leads = [name for name, lead in sorted(self.model.leads.items()) if condition(lead) and not self.model.is_locked(None, name)]
        return self.chance.choice(leads) if leads else None

    def age_lock(self):
        lead = self.free_lead(lambda lead: lead.status == "routing")
        if lead:
            self.note(f"age_lock {lead[:4]}")
            self.as_replica("update leads set routing_locked_at = now() - interval '1 hour' where id = %s", lead)
            self.model.leads[lead].is_stale = True

    def age_row(self):
        lead = self.free_lead(lambda lead: lead.row is not None and lead.row.due_from == NEVER and lead.status == "pending")
        if lead:
            self.note(f"age_row {lead[:4]}")
            self.as_replica("update lead_routing_queue set next_retry_at = '2020-01-01' where lead_id = %s and processed_at is null", lead)
            self.model.leads[lead].row.due_from = 0

    def age_lead(self):
        lead = self.free_lead(lambda lead: not lead.is_past and lead.status in (*OPEN, "routing"))
        if lead:
            self.note(f"age_lead {lead[:4]}")
            self.as_replica("update leads set lead_expires_at = '2020-01-01' where id = %s", lead)
            self.model.leads[lead].is_past = True

    def change_rules(self):
        source = self.chance.choice(self.sources)
        if self.rules[source]:
            self.db.execute("delete from lead_routing_rules where id = %s", self.rules[source])
            self.rules[source] = None
        else:
            self.rules[source] = self.db.rule(source, self.desk)
        self.model.versions[source] = self.db.value("select version from leadrouter.rule_versions where workspace_id = %s", source)

    def insert(self):
        if len(self.model.leads) >= 2 * LEADS:
            return
        source = self.chance.choice(self.sources)
        identity = f"person{self.chance.randrange(IDENTITIES)}@example.com" if self.chance.random() < 0.7 else None
        if identity: # a new person from time to time, or everything would soon be a duplicate
            identity = f"{self.step // 2000}-{identity}"
        lead = self.new_id()
        self.db.execute("insert into leads (id, workspace_id, email, created_at) values (%s, %s, %s, now() - interval '1 hour')",
                        lead, source, identity)
        self.model.leads[lead] = Lead(source, identity)

    # --- The whole ----------------------------------------------------------------------------------------------------------

    def check(self):
        """Every lead, claim and queue row is as the model has it, and the log alone says the same of each lead."""
        seen = {row.id: row for row in self.db.rows(STATE)}
        self.expect("the leads", set(seen), set(self.model.leads))
        logged = {}
        for row in self.db.rows(LOGS):
            logged.setdefault(row.lead_id, []).append((row.routing_result, row.attempt_number, *([row.status] if row.status else [])))
        for name, lead in self.model.leads.items():
            row = seen[name]
            self.expect(f"lead {name[:4]}", (row.status, row.attempts, row.owner, row.outcome, row.destination, row.duplicate_of),
                        (lead.status, lead.attempts, lead.owner, lead.outcome, lead.destination, lead.duplicate_of))
            queue = lead.row and (lead.row.error_class, lead.row.version, lead.row.max_attempts)
            self.expect(f"queue row of {name[:4]}", row.error_class and (row.error_class, row.rules_version, row.max_attempts), queue)
            self.expect(f"log of {name[:4]}", logged.get(name, []), self.model.logs.get(name, []))
            status, attempts = replay(logged.get(name, []))
            if lead.status == "routing": # a lock is not in the log; the attempts are
                status = "routing"
            self.expect(f"{name[:4]} by its log", (status, attempts), (lead.status, lead.attempts))
        claims = {row.lead_id: row.workspace_id for row in self.db.rows(
            "select lead_id::text, workspace_id::text from lead_dedupe_claims where lead_id = any (%s::uuid[])", list(self.model.leads))}
        mine = {lead: workspace for lead, workspace in self.model.claims.values() if lead in self.model.leads}
        self.expect("the claims", claims, mine)

    def renew(self):
        """Leads that are done with make room for new ones; their claims stay."""
        done = [name for name, lead in sorted(self.model.leads.items()) if lead.status in ("routed", "expired")
                or (lead.status == "failed" and lead.row is None)]
        self.db.execute("set session_replication_role = replica")
        self.db.execute("delete from lead_routing_logs where lead_id = any (%s::uuid[])", done)
        self.db.execute("delete from lead_routing_queue where lead_id = any (%s::uuid[]) or processed_at is not null", done)
        self.db.execute("delete from leads where id = any (%s::uuid[])", done)
        self.db.execute("set session_replication_role = origin")
        for name in done:
            del self.model.leads[name]
            self.model.logs.pop(name, None)
        while len(self.model.leads) < LEADS:
            self.insert()
