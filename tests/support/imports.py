"""An import as the server does it, statement by statement; and one of a server's that does not end before the test is done with it."""
import contextlib
import uuid

IMPORT_ROWS = ("select * from leadrouter.import_rows(%s, %s, %s, %s, %s::bigint[], %s::text[], %s::text[], %s::uuid[], "
               + ", ".join(["%s::text[]"] * 16) + ")")
BEGIN = "select * from leadrouter.begin_import(%s, %s, 'f.csv', null, false, 0, %s, false)"
FIELDS = ("external_id", "email", "phone", "first_name", "last_name", "company_name", "company_industry", "company_size", "company_revenue",
          "country", "state", "city", "postal_code", "source")


GATE = """
create table public.gate as select {row}::bigint as row;
create function public.wait_at_gate() returns trigger language plpgsql security definer as $$ begin
    while exists (select from public.gate g where new.last_row > g.row) loop
        if clock_timestamp() > statement_timestamp() + interval '{seconds} s' then raise 'not yet' using errcode = '57014'; end if;
        perform pg_sleep(0.05);
    end loop;
    return new;
end $$;
create trigger gate before update of last_row on bulk_upload_jobs for each row execute function public.wait_at_gate()"""


@contextlib.contextmanager
def not_beyond(sql, row, seconds=1):
    """No import gets beyond this row meanwhile: what happens in the middle of one happens there, however late the test comes to it. A batch
    that has waited for so long is refused, and sent again: nobody who goes on elsewhere finds the import's row locked for longer."""
    sql(GATE.format(row=row, seconds=seconds))
    yield
    sql("delete from gate")


class Import:
    def __init__(self, session, home, fingerprint=None):
        self.session, self.owner, self.at = session, uuid.uuid4(), 0
        self.started = session.row(BEGIN, home, fingerprint, self.owner)
        self.id, self.at = self.started.import_id, self.started.last_row

    def take_in(self, *leads, reasons=None, fields=None, end_offset=0, hashes=None):
        """Rows by what leads have; a key per content."""
        numbers = list(range(self.at + 1, self.at + 1 + len(leads)))
        columns = [[lead.get(field, "") for lead in leads] for field in FIELDS]
        keys = [uuid.uuid5(uuid.NAMESPACE_URL, repr(sorted(lead.items()))) for lead in leads]
        rows = self.session.rows(IMPORT_ROWS, self.id, self.owner, self.at, end_offset, numbers, fields or [""] * len(leads),
                                 reasons or [None] * len(leads), keys, *columns,
                                 [lead.get("attributes", "{}") for lead in leads], hashes or [None] * len(leads))
        self.at = numbers[-1]
        return rows

    def results(self, *leads, **more):
        return [row.result for row in self.take_in(*leads, **more)]
