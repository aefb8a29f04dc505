"""What the state machine of a lead is, written from the specification in the plainest way: no SQL, and none of the product's code.

A `Model` has what is committed and, for each session with an open transaction, what that session has changed on top. Every operation says
what the database must answer, and changes the model. Locks are part of it: a lead that another session has touched in its open transaction
is passed over.
"""
import copy
import dataclasses
import typing

MAX_ATTEMPTS = 3


@dataclasses.dataclass
class Row:
    """An open row of the retry queue."""
    error_class: str
    due_from: float # number of the transaction from which on its time has come; infinity: never by time
    version: int
    max_attempts: int


@dataclasses.dataclass
class Lead:
    source: str
    identity: typing.Optional[str]
    status: str = "pending"
    attempts: int = 0
    owner: typing.Optional[str] = None
    is_stale: bool = False   # its lock is old
    is_past: bool = False    # its time to live has passed
    row: typing.Optional[Row] = None
    outcome: typing.Optional[str] = None
    destination: typing.Optional[str] = None
    duplicate_of: typing.Optional[str] = None


NEVER = float("inf")
OPEN = ("pending", "failed")


class Model:
    def __init__(self, workspaces):
        self.leads = {}
        self.claims = {} # identity -> (lead, workspace)
        self.versions = dict.fromkeys(workspaces, 1)
        self.logs = {} # lead -> [(result, attempt, what else matters)]
        self.clock = 0
        self.sessions = {} # session -> Transaction, while it is open

    # --- Transactions -------------------------------------------------------------------------------------------------

    def begin(self, session):
        self.clock += 1
        self.sessions[session] = Transaction(self.clock)

    def commit(self, session):
        transaction = self.sessions.pop(session)
        self.leads.update(transaction.leads)
        self.claims.update(transaction.claims)
        for lead, entries in transaction.logs.items():
            self.logs.setdefault(lead, []).extend(entries)

    def rollback(self, session):
        del self.sessions[session]

    def is_locked(self, session, lead):
        """By another session's open transaction."""
        return any(lead in other.leads for name, other in self.sessions.items() if name != session)

    def is_claimed_elsewhere(self, session, identity):
        """Whether a claim on this identity is in flight in another session: who wants it would wait."""
        return any(identity in other.claims for name, other in self.sessions.items() if name != session)

    def see(self, session, lead):
        """The lead as the session sees it."""
        return self.sessions[session].leads.get(lead) or self.leads[lead]

    def take(self, session, lead):
        """The lead as the session's own to change; locks it."""
        transaction = self.sessions[session]
        if lead not in transaction.leads:
            transaction.leads[lead] = copy.deepcopy(self.leads[lead])
        return transaction.leads[lead]

    def claim(self, session, identity):
        return self.sessions[session].claims.get(identity) or self.claims.get(identity)

    def log(self, session, lead, *entry):
        self.sessions[session].logs.setdefault(lead, []).append(entry)

    # --- What things mean -----------------------------------------------------------------------------------------------

    def is_due(self, session, lead):
        """By time, or because the rules are newer than those that refused it."""
        row, source = self.see(session, lead).row, self.see(session, lead).source
        return row is not None and (row.due_from <= self.sessions[session].clock or self.versions[source] > row.version)

    def next_attempt(self, lead, max_attempts):
        """The number of the attempt that ends now: the first again for a lead that had failed and that newer rules made due."""
        had_failed = lead.status == "failed" or (lead.status == "routing" and lead.attempts >= max_attempts)
        if had_failed and lead.row is not None and self.versions[lead.source] > lead.row.version:
            return 1
        return lead.attempts + 1

    def give(self, session, lead_id, destination):
        """An attempt that has found a destination: the identity decides."""
        lead = self.take(session, lead_id)
        lead.attempts = self.next_attempt(lead, lead.row.max_attempts if lead.row else MAX_ATTEMPTS)
        lead.status, lead.owner, lead.is_stale, lead.row = "routed", None, False, None
        holder = self.claim(session, lead.identity) if lead.identity else None
        if lead.identity: # taken, or locked: it cannot vanish before the transaction ends
            holder = holder or (lead_id, destination)
            self.sessions[session].claims[lead.identity] = holder
        if holder is None or holder[0] == lead_id or (holder[1] == lead.source and destination == lead.source):
            lead.outcome, lead.destination = "success", destination
        else:
            lead.outcome, lead.duplicate_of = "duplicate", holder[0]
        self.log(session, lead_id, lead.outcome, lead.attempts)
        return lead.outcome

    def fail_attempt(self, session, lead_id, error_class, max_attempts, is_retried=True, is_revived=True):
        lead = self.take(session, lead_id)
        allowed = lead.row.max_attempts if lead.row else max_attempts
        lead.attempts = self.next_attempt(lead, allowed)
        lead.owner, lead.is_stale = None, False
        lead.status = "pending" if is_retried and lead.attempts < allowed else "failed"
        lead.row = Row(error_class, NEVER, self.versions[lead.source], allowed) if lead.status == "pending" or is_revived else None
        result = "retry" if lead.status == "pending" else "failed"
        self.log(session, lead_id, result, lead.attempts)
        return result

    def end(self, session, lead_id):
        lead = self.take(session, lead_id)
        lead.status, lead.row = "expired", None
        self.log(session, lead_id, "expired", lead.attempts)

    # --- Operations: each says what the database answers ----------------------------------------------------------------

    def acquire(self, session, lead_id, owner):
        lead = self.see(session, lead_id)
        if self.is_locked(session, lead_id) or lead.status not in OPEN:
            return False
        if lead.is_past:
            self.end(session, lead_id)
            return False
        lead = self.take(session, lead_id)
        lead.status, lead.owner, lead.is_stale = "routing", owner, False
        return True

    def holds(self, session, lead_id, owner):
        lead = self.see(session, lead_id)
        return lead.status == "routing" and lead.owner == owner

    def complete(self, session, lead_id, destination, owner):
        if not self.holds(session, lead_id, owner):
            return False
        self.give(session, lead_id, destination)
        return True

    def fail(self, session, lead_id, owner, max_attempts):
        if not self.holds(session, lead_id, owner):
            return False
        self.fail_attempt(session, lead_id, "worker", max_attempts)
        return True

    def each(self, session, condition):
        """Leads that nobody else has and that meet a condition."""
        return [lead for lead in self.leads if not self.is_locked(session, lead) and condition(self.see(session, lead))]

    def release(self, session):
        stale = self.each(session, lambda lead: lead.status == "routing" and lead.is_stale)
        for lead_id in stale:
            lead = self.take(session, lead_id)
            allowed = lead.row.max_attempts if lead.row else MAX_ATTEMPTS
            lead.attempts = self.next_attempt(lead, allowed)
            lead.status = "pending" if lead.attempts < allowed else "failed"
            lead.owner, lead.is_stale = None, False
            due_from = self.sessions[session].clock if lead.status == "pending" else NEVER
            lead.row = Row("stale_lock", due_from, self.versions[lead.source], allowed)
            self.log(session, lead_id, "released", lead.attempts, lead.status)
        return len(stale)

    def expire(self, session):
        past = self.each(session, lambda lead: lead.status in OPEN and lead.is_past)
        for lead in past:
            self.end(session, lead)
        return len(past)

    def queue_lost(self, session):
        lost = self.each(session, lambda lead: lead.status == "pending" and lead.row is None and not lead.is_past)
        for lead_id in lost:
            lead = self.take(session, lead_id)
            lead.row = Row("lost", self.sessions[session].clock, self.versions[lead.source], MAX_ATTEMPTS)
            self.log(session, lead_id, "requeued", lead.attempts)
        return len(lost)

    def cancel(self, session, lead_id):
        lead = self.see(session, lead_id)
        if lead.row is None:
            return "not_found"
        if self.is_locked(session, lead_id) or lead.status not in OPEN:
            return "busy"
        self.fail_attempt(session, lead_id, "cancelled", MAX_ATTEMPTS, is_retried=False, is_revived=False)
        return "cancelled"

    def due(self, session, is_outdated):
        """What a worker of the retry queue finds, and locks: by the version of the rules, or by time."""
        def is_of_kind(lead):
            if lead.status not in OPEN or lead.row is None:
                return False
            return self.versions[lead.source] > lead.row.version if is_outdated else lead.row.due_from <= self.sessions[session].clock
        found = self.each(session, is_of_kind)
        for lead in found:
            self.take(session, lead)
        return set(found)

    def lock(self, session, lead_id):
        """What a caller's attempt finds: whether it has the lead now, whether it is time, and who else holds the identity."""
        lead = self.see(session, lead_id)
        has = not self.is_locked(session, lead_id) and lead.status in OPEN
        if has:
            self.take(session, lead_id)
        return has


class Transaction:
    def __init__(self, clock):
        self.clock = clock
        self.leads, self.claims, self.logs = {}, {}, {}


# The table of states of the specification, for writes that go past the functions: (from, to) -> how the attempts may change.
SAME, ONE_MORE, FIRST_AGAIN = "same", "one more", "first again"
ALLOWED = {
    ("pending", "pending"): {ONE_MORE}, ("pending", "routing"): {SAME}, ("pending", "routed"): {ONE_MORE},
    ("pending", "failed"): {ONE_MORE}, ("pending", "expired"): {SAME},
    ("routing", "pending"): {ONE_MORE, FIRST_AGAIN}, ("routing", "routed"): {ONE_MORE, FIRST_AGAIN},
    ("routing", "failed"): {ONE_MORE, FIRST_AGAIN},
    ("failed", "pending"): {ONE_MORE, FIRST_AGAIN}, ("failed", "routing"): {SAME}, ("failed", "routed"): {ONE_MORE, FIRST_AGAIN},
    ("failed", "failed"): {ONE_MORE, FIRST_AGAIN}, ("failed", "expired"): {SAME},
}


def replay(entries):
    """Status and attempts of a lead by its log rows alone; a lock that a worker holds is not in the log."""
    status, attempts = "pending", 0
    for result, attempt, *rest in entries:
        attempts = attempt
        status = {"success": "routed", "duplicate": "routed", "retry": "pending", "failed": "failed", "expired": "expired",
                  "requeued": "pending"}.get(result) or rest[0]
    return status, attempts
