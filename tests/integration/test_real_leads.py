"""Goal: real leads, as files have them: every row of a public data set ends in exactly one outcome, leadctl and the
database count the same, and an identity that two partners offer is sold once."""
import collections
import json
import pathlib

import pytest

from support.postgres import ROOT

DATA = ROOT.parent / "shared" / "data"
EDUCATION, PEOPLE = DATA / "x-education-leads.csv", DATA / "us-500.csv"
EDUCATION_ROWS, PEOPLE_ROWS = 9240, 500
SOURCE, SECOND, DOMESTIC, ABROAD, CHAT, SEARCH, REFERRED, REST = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(1, 9))

needs_data = pytest.mark.skipif(not EDUCATION.exists() or not PEOPLE.exists(), reason=f"the data sets are not at {DATA}")

WORKSPACES = f"""
insert into workspaces (id, name, workspace_type) values ('{SOURCE}', 'Source', 'partner'), ('{SECOND}', 'Second source', 'partner'),
    ('{DOMESTIC}', 'Domestic', 'standard'), ('{ABROAD}', 'Abroad', 'standard'),
    ('{CHAT}', 'Chat', 'standard'), ('{SEARCH}', 'Search', 'standard'),
    ('{REFERRED}', 'Referred', 'standard'), ('{REST}', 'Rest', 'standard');
"""
EDUCATION_RULES = (
    ("referred", 60, {"industries": ["Reference", "Referral Sites", "Welingak Website"]}, REFERRED),
    ("abroad", 50, {"countries": ["United States", "United Arab Emirates", "Singapore", "Saudi Arabia", "United Kingdom", "Australia",
            "Qatar"]}, ABROAD),
    ("chat", 40, {"industries": ["Olark Chat"]}, CHAT),
    ("searched at home", 30, {"countries": ["India"], "industries": ["Google", "Organic Search", "google"]}, SEARCH),
    ("at home", 20, {"countries": ["IN"]}, DOMESTIC),
    ("rest", 0, {}, REST),
)


def add_rules(sql, workspace, rules):
    for name, priority, conditions, destination in rules:
        sql("insert into lead_routing_rules (workspace_id, rule_name, priority, conditions, destination_workspace_id)"
            " values (%s, %s, %s, %s, %s)",
            (workspace, name, priority, json.dumps(conditions), destination))


def imported(leadctl, path: pathlib.Path, workspace, *flags):
    done = leadctl("import", str(path), "--workspace", workspace, "--route", "--json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def expected_destinations(sql):
    """The rules once more, in SQL, over what is stored."""
    return dict(sql(f"""
        select case when company_industry in ('Reference', 'Referral Sites', 'Welingak Website') then '{REFERRED}'
            when country in ('United States', 'United Arab Emirates', 'Singapore', 'Saudi Arabia', 'United Kingdom', 'Australia',
                'Qatar') then '{ABROAD}'
            when company_industry = 'Olark Chat' then '{CHAT}'
            when country = 'India' and company_industry in ('Google', 'google', 'Organic Search') then '{SEARCH}'
            when country = 'India' then '{DOMESTIC}' else '{REST}' end, count(*) from leads group by 1"""))


@needs_data
def test_every_row_has_exactly_one_outcome(sql, leadctl):
    sql(WORKSPACES)
    add_rules(sql, SOURCE, EDUCATION_RULES)
    flags = ("--map", "external_id=Prospect ID", "--map", "company_industry=Lead Source", "--map", "attributes.tags=Tags", "--blank",
            "Select")
    summary = imported(leadctl, EDUCATION, SOURCE, *flags)
    assert (summary["read"], summary["created"], summary["existing"], summary["rejected"], summary["unrouted"]) == (
        EDUCATION_ROWS, EDUCATION_ROWS, 0, 0, 0)
    assert summary["outcomes"]["ROUTED"] == EDUCATION_ROWS == sum(summary["outcomes"].values())
    assert sum(summary["destinations"].values()) == EDUCATION_ROWS and len(summary["destinations"]) == len(EDUCATION_RULES)
    assert dict(sql("select workspace_id::text, count(*) from leads where routing_status = 'routed' group by 1")) == summary["destinations"]
    assert dict(sql("select destination_workspace_id::text, count(*) from lead_routing_logs where routing_result = 'success' group by 1")) \
        == summary["destinations"]
    assert summary["destinations"] == expected_destinations(sql)
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs") == [(EDUCATION_ROWS, EDUCATION_ROWS)]
    assert sql("select count(distinct external_id) from leads") == [(EDUCATION_ROWS,)]
    assert sql("select count(*) from leads where city = 'Select' or company_industry = 'Select'") == [(0,)]
    assert sql("select count(*) from lead_routing_queue") == [(0,)]

    again = imported(leadctl, EDUCATION, SOURCE, *flags)
    assert (again["created"], again["existing"], again["outcomes"]["ALREADY_ROUTED"]) == (0, EDUCATION_ROWS, EDUCATION_ROWS)
    assert sql("select count(*) from lead_routing_logs") == [(EDUCATION_ROWS,)]


@needs_data
def test_two_partners_offer_the_same_people(sql, leadctl):
    sql(WORKSPACES)
    rules = (("western states", 10, {"regions": ["West"]}, ABROAD), ("rest", 0, {}, REST))
    add_rules(sql, SOURCE, rules)
    add_rules(sql, SECOND, rules)
    flags = ("--map", "phone=phone1", "--map", "postal_code=zip", "--map", "external_id=email")
    outcomes = collections.Counter()
    for partner in (SOURCE, SECOND):
        summary = imported(leadctl, PEOPLE, partner, *flags)
        assert summary["created"] == PEOPLE_ROWS
        outcomes.update(summary["outcomes"])
    assert {name: count for name, count in outcomes.items() if count} == {"ROUTED": PEOPLE_ROWS, "DUPLICATE": PEOPLE_ROWS}
    assert sql("select count(*), count(distinct dedupe_hash) from leads") == [(2 * PEOPLE_ROWS, PEOPLE_ROWS)]
    assert dict(sql("select routing_result::text, count(*) from lead_routing_logs group by 1")) == {
        "success": PEOPLE_ROWS, "duplicate": PEOPLE_ROWS}
    assert sql("select count(*) from lead_dedupe_claims") == [(PEOPLE_ROWS,)]
    assert sql(f"select count(*) from leads where source_workspace_id = '{SECOND}' and workspace_id <> '{SECOND}'") == [(0,)]
    assert sql("select count(*) from leads d join leads f on f.id = d.duplicate_lead_id where f.source_workspace_id = %s",
               (SOURCE,)) == [(PEOPLE_ROWS,)]
