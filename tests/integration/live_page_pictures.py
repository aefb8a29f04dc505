#!/usr/bin/env python3
"""Makes docs/pictures: the live page of a server that is idle, that routes 1,000 leads a second, and that does so while retries are paused.

    LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/integration/live_page_pictures.py [DIRECTORY]
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.admin import address_of
from support.browser import chromium, look, tab
from support.postgres import BUILD, ROOT
from support.product_cluster import ProductCluster, execute, wait_until
from support.retries import CALL_S, OTHER, WORKSPACES, create
from support.server import Server
from support.stubs import maintenance_pb2

RATE, LOAD_S, INCIDENT_S = 1000, 75, 50
SHOWN = "Number(document.querySelector('#decisions .value').textContent.replace(/[^0-9.]/g, ''))"


def load(cluster, name, server, seconds, *words):
    """The bench, once it calls."""
    bench = subprocess.Popen([BUILD / "tools/bench/leadrouter-bench", "load", "--target", server.address, "--database", cluster.url(name),
                              "--leads", str(RATE * (LOAD_S + INCIDENT_S + 5)), "--rate", str(RATE), "--duration", str(seconds), "--json",
                              *words], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: execute(cluster, name, "select exists (select from lead_routing_logs where routing_result = 'success'"
                               " and created_at > now() - interval '1 second')") == [(True,)], "nothing is routed")
    return bench


def picture(page, directory, name):
    page.screenshot(path=directory / f"live-page-{name}.png", full_page=True)


def end(bench):
    run = json.loads(bench.communicate()[0])["runs"][0]
    print(f"{run['leads_per_second']:.0f} leads/s, {run['errors']} errors, p99 {run['p99_ms']:.1f} ms")


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    with ProductCluster() as cluster, chromium() as browser, tab(browser) as page:
        name = cluster.database()
        execute(cluster, name, WORKSPACES)
        with Server(cluster.service_url(name)) as first: # registers the jobs
            wait_until(lambda: execute(cluster, name, "select count(*) from leadrouter.scheduled_jobs") != [(0,)], "no jobs")
            first.stop()
        # Without jobs: the bench's leads are all there from the start, and would be taken for lost ones after a while.
        with Server(cluster.service_url(name), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
            look(page, 1280, 900)
            page.goto(f"http://127.0.0.1:{address_of(server)[1]}/")
            page.wait_for_function("() => document.querySelector('#due svg').getAttribute('aria-valuetext').includes('Due 0')")
            picture(page, directory, "idle")
            bench = load(cluster, name, server, LOAD_S)
            steps = f"state.data.history.recent.routed.filter(count => count > {3 * RATE}).length"
            wait_until(lambda: bench.poll() is not None or page.evaluate(f"{SHOWN} > {RATE / 2} && {steps} >= {LOAD_S // 5 - 2}"),
                       "not so much", LOAD_S + 60)
            picture(page, directory, "load")
            end(bench)
            server.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="retries"), timeout=CALL_S)
            create(server, 120, route=True)
            create(server, 30, "y", OTHER, route=True)
            execute(cluster, name, "update lead_routing_queue set next_retry_at = now() - interval '3 hours' where processed_at is null")
            bench = load(cluster, name, server, INCIDENT_S, "--pending")
            page.wait_for_function(f"() => document.querySelector('#due .value').textContent === '150' && {SHOWN} > {RATE / 2}")
            page.wait_for_function("() => state.data.history.recent.due.filter(due => due === 150).length >= 3")
            page.wait_for_function("() => document.querySelectorAll('#due-rows tr').length === 2")
            picture(page, directory, "incident")
            end(bench)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pictures")
