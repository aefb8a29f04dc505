"""Goal: real leads, as files have them: every row of a public data set ends in exactly one outcome, leadctl and the
database count the same, and an identity that two partners offer is sold once."""
import collections
import csv
import json
import pathlib
import re

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
            when country in ('US', 'AE', 'SG', 'SA', 'GB', 'AU', 'QA') then '{ABROAD}'
            when company_industry = 'Olark Chat' then '{CHAT}'
            when country = 'IN' and company_industry in ('Google', 'google', 'Organic Search') then '{SEARCH}'
            when country = 'IN' then '{DOMESTIC}' else '{REST}' end, count(*) from leads group by 1"""))


@needs_data
def test_every_row_has_exactly_one_outcome(sql, leadctl, tmp_path):
    """By the mapping that leadctl suggests and one correction: the rules want to see where a lead comes from as its industry."""
    sql(WORKSPACES)
    add_rules(sql, SOURCE, EDUCATION_RULES)
    mapping = tmp_path / "education.yaml"
    suggested = leadctl("import", str(EDUCATION), "--suggest")
    assert suggested.returncode == 0, suggested.stderr
    corrected = re.sub("^  source: ", "  company_industry: ", suggested.stdout, count=1, flags=re.MULTILINE)
    assert corrected != suggested.stdout
    mapping.write_text(corrected, encoding="utf-8")
    flags = ("--mapping", str(mapping))
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
    with open(EDUCATION, encoding="utf-8") as file:
        assert dict(sql("select external_id, attributes ->> 'tags' from leads")) == {
            row["Prospect ID"]: row["Tags"] if row["Tags"] not in ("", "Select") else None for row in csv.DictReader(file)}
    assert sql("select count(*) from lead_routing_queue") == [(0,)]

    once_more = imported(leadctl, EDUCATION, SOURCE, *flags)
    of_this_run = {"seconds": 0, "outcomes": {}, "read": 0, "is_continued": True}
    assert {**once_more, **of_this_run} == {**summary, **of_this_run}
    again = imported(leadctl, EDUCATION, SOURCE, "--again", *flags)
    assert (again["created"], again["existing"], sum(again["outcomes"].values())) == (0, EDUCATION_ROWS, 0)
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


def spreadsheet(rows, path):
    """Semicolons, other names, phones as digits, one name."""
    with open(path, "w", encoding="utf-16") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Name", "Firm", "Mail", "Telephone", "Street", "Town", "Province", "Post Code"])
        for row in rows:
            writer.writerow([f"{row['first_name']} {row['last_name']}", row["company_name"], row["email"].upper(),
                             row["phone1"].replace("-", ""), row["address"], row["city"], row["state"].lower(), row["zip"]])


def json_lines(rows, path):
    """Nested, the address in one text, the phone with its country code."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            address = f"{row['address'].replace(',', ' ')}, {row['city']}, {row['state']}, {row['zip'].zfill(5)}"
            file.write(json.dumps({"person": {"First-Name": f" {row['first_name']} ", "lastName": row["last_name"], "email": row["email"],
                                              "phone": f"+1 ({row['phone1'][:3]}) {row['phone1'][4:]} ext 1"},
                                   "company": {"name": row["company_name"]}, "address": address}) + "\n")


@needs_data
def test_three_formats_are_the_same_people(sql, leadctl, tmp_path):
    """Each file with the mapping that is proposed for it, no correction; identities agree and each person is sold once."""
    sql(WORKSPACES)
    with open(PEOPLE, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    spreadsheet(rows, tmp_path / "spreadsheet.csv")
    json_lines(rows, tmp_path / "nested.jsonl")
    outcomes = collections.Counter()
    for partner, path in ((SOURCE, PEOPLE), (SECOND, tmp_path / "spreadsheet.csv"), (CHAT, tmp_path / "nested.jsonl")):
        add_rules(sql, partner, (("all", 0, {}, REST),))
        suggestion = leadctl("import", str(path), "--suggest")
        assert suggestion.returncode == 0, suggestion.stderr
        (tmp_path / "mapping.yaml").write_text(suggestion.stdout, encoding="utf-8")
        summary = imported(leadctl, path, partner, "--mapping", str(tmp_path / "mapping.yaml"))
        assert summary["created"] == PEOPLE_ROWS
        outcomes.update(summary["outcomes"])
    assert {name: count for name, count in outcomes.items() if count} == {"ROUTED": PEOPLE_ROWS, "DUPLICATE": 2 * PEOPLE_ROWS}
    assert sql("select count(*), count(distinct dedupe_hash) from leads") == [(3 * PEOPLE_ROWS, PEOPLE_ROWS)]
    assert sql("select count(*) from (select dedupe_hash from leads group by dedupe_hash"
               " having count(distinct (city, state, postal_code)) = 1) same") == [(PEOPLE_ROWS,)]
