"""Goal: memory does not grow with the file: ten times the rows take no more, in CSV and in JSON; the long form has a million rows."""
import json
import os
import subprocess

import pytest

from support.postgres import BUILD

FEW, MANY = 10000, 1000000 if os.environ.get("LEADROUTER_LONG") else 100000
GROWTH_MAX_KIB = 1024
SIZE_MAX_KIB = 16 * 1024


def csv_rows(count):
    yield "external_id,email,phone,first_name,last_name,company_name,industry,employees,revenue,country,state,city,zip,source,n\n"
    for i in range(count):
        email = f"p{i}@c{i % 5000}.example" if i % 100 else "not an address"
        yield (f'x-{i},{email},504-555-{i % 10000:04},Ann{i % 100},Lee,"Company {i % 5000}, Inc",Software,{i % 3000},{i * 37},'
               f'United States,CA,Springfield,{10000 + i % 80000},csv,"some note, {i}"\n')


def json_rows(count):
    for i in range(count):
        email = f"p{i}@c.example" if i % 100 else "not an address"
        yield (f'{{"external_id": {i}, "email": "{email}", "n": 0.{i}, "tags": ["a", "b{i}"],'
               ' "location": {"city": "Ulm", "country": "DE"}}\n')


def array_rows(count):
    yield "["
    for i, row in enumerate(json_rows(count)):
        yield ("," if i else "") + row
    yield "]"


def counted(path, rows, count):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(rows(count))
    done = subprocess.run([BUILD / "tests/ingest/ingest_peer", "count", "generic", path], capture_output=True, text=True, timeout=300,
                          check=False)
    answer = json.loads(done.stdout)
    assert (answer["error"], answer["leads"], answer["rejected"]) == ("", count * 99 // 100, count // 100)
    return answer["resident_max_kib"]


@pytest.mark.parametrize("rows", [csv_rows, json_rows, array_rows])
def test_memory_is_flat(tmp_path, rows):
    few, many = counted(tmp_path / "few", rows, FEW), counted(tmp_path / "many", rows, MANY)
    print(f"{rows.__name__}: {few} KiB for {FEW} rows, {many} KiB for {MANY}")
    assert many < SIZE_MAX_KIB and many - few < GROWTH_MAX_KIB
