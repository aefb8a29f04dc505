"""Goal: the live page shows the database's numbers, stays what it is while they change, says when they are old, needs no mouse and no eyes,
and no text from elsewhere becomes anything but text. In a headless Chromium, as somebody on call would open it."""
import json
import re
import ssl
import statistics
import subprocess
import threading
import time

import pytest
import yaml

from support.admin import address_of, get, raw
from support.browser import Console, chromium, look, tab
from support.certificates import Authority
from support.fetched_program import npm_program
from support.postgres import BUILD, ROOT
from support.product_cluster import ProductCluster, execute, wait_until
from support.retries import CALL_S, OTHER, PARTNER, WORKSPACES, create, make_due, queue, route
from support.server import Server
from support.stubs import maintenance_pb2

PAGE_BYTES_MAX = 150_000
PAINT_MS_MAX = 100
LOAD_RATE, LOAD_S = 1000, 25
BATCHES_LEADS = 2 * 256 # under way in both lanes: committed, and not yet counted
DUE = 7
MOVES_MAX = 0.001 # of the window's area times its size; browsers call 0.1 good
PARTS = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src data:", "base-uri 'none'",
         "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'")
HOSTILE = '<img src=x onerror="window.hurt=1"> "quoted" \'single\' &lt;b&gt;\n</td><script>window.hurt=1</script> \u202ereversed ${1} {{1}}'
HOSTILE_RULE = 'rule <script>window.hurt=2</script> "\n'
NUMBERS = """() => Object.fromEntries(["#due .value", "#stale .value", "#pending", "#routing", "#failed", "#held"]
    .map(name => [name, document.querySelector(name).textContent.replaceAll(",", "")]))"""
COUNTS = """select (select count(*) from lead_routing_queue q where processed_at is null and next_retry_at <= now()),
    (select count(*) from leads where routing_status = 'routing' and routing_locked_at < now() - interval '5 minutes'),
    count(*) filter (where routing_status = 'pending'), count(*) filter (where routing_status = 'routing'),
    count(*) filter (where routing_status = 'failed'), 0 from leads"""
TOTALS = r"""() => Object.fromEntries([...document.querySelector("#decisions .detail").textContent.replaceAll(",", "")
    .matchAll(/(\d+) ([a-z ]+)/g)].map(found => [found[2].trim(), Number(found[1])]))"""

# What is shown, when it came from the server, when that had read the database, and when the last step ended.
SHOWN = """() => { const shown = Object.fromEntries([...document.querySelector("#decisions .detail").textContent.replaceAll(",", "")
        .matchAll(/(\\d+) ([a-z ]+)/g)].map(found => [found[2].trim(), Number(found[1])]));
    const number = name => Number(document.querySelector(name).textContent.replace(/[^0-9.]/g, ""));
    const {nowUnixMs, health, history} = state.data;
    return {...shown, now: nowUnixMs, read: nowUnixMs - 1000 * health.database.sampleAgeSeconds, pending: number("#pending"),
        due: number("#due .value"), rate: number("#decisions .value"), end: history.recent.endUnixMs}; }"""
# Selectors of the style that find nothing; what has the focus may be anything.
SELECTORS = """() => { const all = rules => Array.from(rules).flatMap(rule => rule.selectorText ? rule.selectorText.split(", ")
        : all(rule.cssRules));
    return all(document.styleSheets[0].cssRules)
        .filter(selector => document.querySelector(selector.replace(/:focus(-visible)?/, "") || "*") === null); }"""
# From here on: elements that come or go, and what moves without its reader's doing.
WATCH = """() => { window.come = []; window.gone = []; window.shifts = [];
    const note = (list, nodes) => nodes.forEach(node => node.nodeType === Node.ELEMENT_NODE && list.push(node.outerHTML.slice(0, 200)));
    new MutationObserver(records => records.forEach(record => {
        note(window.come, record.addedNodes); note(window.gone, record.removedNodes); }))
        .observe(document.body, {childList: true, subtree: true});
    new PerformanceObserver(list => list.getEntries().forEach(entry => window.shifts.push([entry.value,
        entry.sources.map(source => source.node ? source.node.id || source.node.textContent.slice(0, 50) : "")])))
        .observe({type: "layout-shift"}); }"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser):
    with tab(browser) as page:
        yield page


@pytest.fixture
def console(page):
    return Console(page)


@pytest.fixture
def server(cluster, database, sql):
    sql(WORKSPACES)
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as running:
        yield running
        running.check_log()


def open_page(page, server):
    """Until it has shown its first numbers."""
    page.goto(f"http://127.0.0.1:{address_of(server)[1]}/")
    page.wait_for_function("() => document.querySelector('#job-rows tr') && !document.body.classList.contains('away')")


def text(page, selector):
    """Of the first such element, as it is in the document."""
    return page.locator(selector).first.text_content()


def texts(page, selector):
    return page.locator(selector).all_text_contents()


def is_grey(page, selector):
    return page.locator(selector).evaluate("node => getComputedStyle(node).filter === 'grayscale(1)'")


def live(server):
    return json.loads(get(server, "/api/live").text)


def test_numbers_are_those_of_the_database(server, sql, page, console):
    """While leads are routed, and after: what is shown lies between what SQL says before and after, and is equal once nothing moves."""
    open_page(page, server)
    good, doubled, bad = create(server, 60, country="DE"), create(server, 20, "d", country="DE"), create(server, 15, "n")
    sql("update leads set email = 'same@example.com' where external_id like 'd-%%'")
    page.evaluate("document.querySelector('#job-rows tr').mark = 1; document.querySelector('#success path').mark = 1")
    page.evaluate(WATCH)

    def load(leads, **fields):
        for lead in leads:
            route(server, lead, **fields)
    threads = [threading.Thread(target=load, args=(leads,), kwargs=fields)
               for leads, fields in ((good, {}), (doubled, {}), (bad[:5], {"max_attempts": 1}), (bad[5:], {}))]
    for thread in threads:
        thread.start()
    last = 0
    while any(thread.is_alive() for thread in threads):
        shown = page.evaluate(TOTALS).get("routed", 0)
        (now,), = sql("select count(*) from leads where routing_status = 'routed'")
        assert last <= shown <= now
        last = shown
    for thread in threads:
        thread.join()
    make_due(sql)
    (stale,) = create(server, 1, "s")
    sql("update leads set routing_status = 'routing', routing_locked_by = gen_random_uuid(),"
        " routing_locked_at = now() - interval '9 minutes' where id = %s", (stale,))
    names = ("#due .value", "#stale .value", "#pending", "#routing", "#failed", "#held")
    wanted = dict(zip(names, (str(count) for count in sql(COUNTS)[0])))
    assert wanted["#due .value"] == "15" and wanted["#stale .value"] == "1" and wanted["#failed"] == "5"
    wait_until(lambda: page.evaluate(NUMBERS) == wanted, f"{page.evaluate(NUMBERS)} are not {wanted}")
    logged = dict(sql("select routing_result::text, count(*) from lead_routing_logs group by 1"))
    shown = page.evaluate(TOTALS)
    assert shown["routed"] + shown["duplicates"] == 80
    assert (shown["failed"], shown["to be tried again"], shown["expired"]) == (5, 10, 0)
    assert shown["duplicates"] == logged["duplicate"] == 19
    page.wait_for_function("() => document.querySelector('#success .value').textContent !== '–'")
    assert text(page, "#success .value") == f"{100 * 80 / 85:.2f} %" and text(page, "#locks .value") == "100.00 %"
    wait_until(lambda: sum(live(server)["history"]["recent"]["routed"]) == shown["routed"], "the steps do not add up")
    day = live(server)["history"]["day"]
    assert sum(day["duplicate"]) == 19 and max(day["due"]) == 15
    assert page.evaluate("[document.querySelector('#job-rows tr').mark, document.querySelector('#success path').mark]") == [1, 1], \
        "what is shown was made anew"
    assert all(node.startswith("<li>") for node in page.evaluate("window.gone")), "more has gone than what is wrong no longer"
    assert text(page, "#error-rows").startswith("errorrouting.faileda lead could not be routed5")
    check_words(page, live(server)["bounds"])
    assert console.lines() == []


def check_words(page, bounds):
    """Colours begin where Health's bands do, and a share is not rounded to more than it is."""
    settings = yaml.safe_load((ROOT / "deploy/monitoring/settings.yml").read_text(encoding="utf-8"))["thresholds"]
    assert {name: pytest.approx(bound) for name, bound in bounds.items()} == {
        "successPercent": [100 * settings["success_share_level"], 100 * (1 - settings["failure_share"])],
        "lockPercent": [100 * settings["lock_share_level"], 100 * settings["lock_share_critical"]],
        "p95Ms": [1000 * settings["p95_seconds"], 1000 * settings["p95_critical_seconds"]],
        "due": [settings["retries_due_shown"], settings["retries_due_level"]],
        "stale": [settings["stale_locks_level"], settings["stale_locks"]], "jobLateSeconds": settings["job_late_seconds"]}
    for name, good, watch, bad in (("successPercent", 95, 94.9, 89.9), ("lockPercent", 95, 94.9, 84.9), ("p95Ms", 2000, 2001, 5001),
                                   ("due", 50, 51, 101), ("stale", 0, 1, 11)):
        assert page.evaluate("([name, values]) => values.map(value => level(value, name))", [name, [good, watch, bad, None]]) == [
            "good", "watch", "bad", ""]
    assert page.evaluate("[94.117647, 94.999, 95, 99.996, 99.994, 100, 0].map(percent)") == [
        "94.12 %", "94.99 %", "95.00 %", "99.99 %", "99.99 %", "100.00 %", "0.00 %"]


def test_names_from_elsewhere_are_text(cluster, database, server, sql, page, console):
    sql("update workspaces set name = %s where id = %s", (HOSTILE, PARTNER))
    sql("update workspaces set name = ' ' where id = %s", (OTHER,))
    sql("update lead_routing_rules set rule_name = %s", (HOSTILE_RULE,))
    queue(server, sql, 3)
    queue(server, sql, 2, "y", OTHER)
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as second: # it looks at once
        check_names(second, page, console)


def check_names(server, page, console):
    open_page(page, server)
    page.wait_for_function("() => document.querySelectorAll('#due-rows tr').length === 2")
    assert texts(page, "#due-rows bdi") == [live(server)["workspaces"]["due"][0]["name"], "(no name)"]
    assert HOSTILE.startswith(text(page, "#due-rows bdi")) and "</script>" in text(page, "#due-rows bdi")
    assert texts(page, "#due-rows .number") == ["3", "2"]
    assert page.evaluate("[window.hurt, document.images.length, document.scripts.length]") == [None, 0, 1]
    assert "rule <script>" not in get(server, "/api/live").text, "rules are not told of"
    assert console.lines() == []


def test_when_it_is_old(page, console):
    """The database goes, comes back; the server goes: the page says so, in words and by greying out, each time; and recovers."""
    with ProductCluster() as own:
        name = own.database()
        execute(own, name, WORKSPACES)
        with Server(own.service_url(name), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
            open_page(page, server)
            assert page.locator("#notice").is_hidden()
            own.kill()
            page.wait_for_function("() => document.body.classList.contains('away')")
            assert text(page, "#notice").startswith("The database does not answer. What is greyed out is as of ")
            assert text(page, "#status") == "critical" and page.title() == "critical: leadrouter"
            assert is_grey(page, "#due") and not is_grey(page, "#success")
            own.restart()
            page.wait_for_function("() => !document.body.classList.contains('away') && document.getElementById('notice').hidden")
            assert console.lines() == []
            server.kill()
            page.wait_for_function("() => document.body.classList.contains('lost')")
            assert re.match(r"No answer from the server since \d\d:\d\d:\d\d\.", text(page, "#notice"))
            assert is_grey(page, "#due") and is_grey(page, "#success")


def test_without_a_mouse(server, page, console):
    """Everything that does something can be reached by Tab in the order in which it stands, charts are read step by step, and by
    a table."""
    open_page(page, server)
    chart, cursor = page.locator("#due .chart > svg"), page.locator("#due .cursor")
    page.wait_for_function("() => document.querySelector('#due svg').getAttribute('aria-valuetext').includes('Due 0')")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("""() => { const node = document.activeElement; return node === document.body ? null
            : node.getAttribute("aria-label") || node.textContent.trim() || node.value || node.id; }"""))
        if seen[-1] is None:
            break
    assert seen[:4] == ["Skip to the numbers", "recent", "Success rate over time", "As a table"]
    assert [name for name in seen if name and name.endswith("over time")] == [
        f"{name} over time" for name in ("Success rate", "Retries", "Lock acquisition", "Latency", "Stale locks", "Decisions per second")]
    chart.focus()
    page.keyboard.press("Home")
    assert re.fullmatch(r"\d\d:\d\d:\d\d: Due (0|unknown), Waiting or due (0|unknown)", chart.get_attribute("aria-valuetext"))
    assert cursor.get_attribute("visibility") == "visible"
    page.keyboard.press("Escape")
    assert cursor.get_attribute("visibility") == "hidden"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#due details tbody tr')")
    rows = texts(page, "#due details tbody tr")
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d[0–][0–]", row) for row in rows), rows # a step in which nothing was read has no number
    assert any(row.endswith("00") for row in rows), rows
    page.locator("input[value=recent]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#due svg').getAttribute('aria-valuetext').match(/^\\d\\d:\\d\\d: /)")
    assert page.locator("#job-rows tr").count() == 7
    assert console.lines() == []


def test_axe_finds_nothing(server, sql, page):
    """Names, roles, contrast and order as WCAG 2.2 AA has them: light and dark, with something wrong, and greyed out."""
    source = npm_program("axe").read_text(encoding="utf-8")
    queue(server, sql, 2)
    server.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="retries"), timeout=CALL_S)
    open_page(page, server)
    assert "exceptionDetails" not in page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": source})
    page.wait_for_function("() => !document.getElementById('problems').hidden")
    show_everything(page, server)
    everything, colours = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], ["color-contrast"]

    def check(width, dark, rules):
        look(page, width, dark=dark)
        assert page.evaluate("""rules => axe.run(document, {runOnly: rules})
            .then(result => result.violations.map(one => [one.id, one.nodes.map(node => node.html.slice(0, 200))]))""", rules) == []
    check(1280, False, everything)
    check(390, True, everything)
    page.unroute("**/api/live")
    page.route("**/api/live", lambda route: route.abort())
    page.wait_for_function("() => document.body.classList.contains('lost')")
    check(1280, False, colours) # what is old differs by its colours alone
    check(1280, True, colours)


def test_files(server):
    """A strict policy, asked for again only when they have changed, and nothing in them from this server."""
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        answer = get(server, path)
        assert answer.status == 200 and answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].split("; ") == list(PARTS)
        assert answer.headers["Cache-Control"] == "no-cache" and answer.headers["X-Content-Type-Options"] == "nosniff"
        again = get(server, path, If_None_Match=answer.headers["ETag"])
        assert (again.status, again.text, again.headers["ETag"]) == (304, "", answer.headers["ETag"])
        assert get(server, path, If_None_Match='"other"').text == answer.text
        assert "http:" not in answer.text.replace("http://www.w3.org/2000/svg", "") and "https:" not in answer.text
    assert get(server, "/api/live").headers["Cache-Control"] == "no-store"
    assert raw(server, b"POST /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def test_bytes_and_policy(server, page, console):
    open_page(page, server)
    sizes = page.evaluate("[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                          ".map(one => one.transferSize)")
    assert len(sizes) >= 4 and sum(sizes) < PAGE_BYTES_MAX
    assert console.lines() == []
    page.evaluate("""() => { document.body.setAttribute('style', 'color: red'); const script = document.createElement('script');
        try { script.text = 'window.hurt = 3'; document.body.append(script); } catch { window.refused = true; } }""")
    assert page.evaluate("[window.hurt, window.refused]") == [None, True], "the policy does not hold"
    assert any("Content Security Policy" in line for line in console.lines())


def show_everything(page, server):
    """From here on: something in each list, and long words. Returns what the page is told, to be changed."""
    shown = live(server)
    workspace = {"id": PARTNER, "name": "W" * 60, "count": 1_000_000}
    shown["workspaces"] = {"due": [workspace], "duplicates": [workspace]}
    shown["errors"] = [{"level": level, "event": "configuration.unknown_setting", "message": "a setting is not known " * 3,
                        "count": 1_000_000, "lastUnixMs": shown["nowUnixMs"] - 100_000} for level in ("error", "warning")]
    jobs = shown["health"]["jobs"]
    jobs[0]["paused"], jobs[1]["failures"], shown["health"]["problems"] = True, 100, ["one", "W" * 60]
    for job in jobs:
        job["lastSuccessUnixMs"], job["lastDurationMs"] = shown["nowUnixMs"] - 100_000, 100_000
    page.route("**/api/live", lambda route: route.fulfill(json=shown))
    page.wait_for_function("() => document.querySelectorAll('#error-rows tr').length === 2")
    return shown


def test_on_a_telephone(server, page, console):
    """Nothing is beyond the edge, and of the tables that are always there nothing is either."""
    open_page(page, server)
    show_everything(page, server)
    for width, dark in ((320, False), (390, True)):
        look(page, width, 800, dark)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("""[...document.querySelectorAll("section > .scroll")].filter(box => box.scrollWidth > box.clientWidth)
            .map(box => box.parentElement.id)""") == []
    assert page.locator("section > .scroll").count() == 4 and console.lines() == []


def test_style_is_for_something(server, page):
    """Each selector of the style finds something in some state of the page, and each colour that has a name is used."""
    open_page(page, server)
    idle = set(page.evaluate(SELECTORS))
    shown = show_everything(page, server)

    def state(condition):
        """What finds nothing in the state that comes with `shown`."""
        page.wait_for_function(condition)
        return set(page.evaluate(SELECTORS))
    health = shown["health"]
    health["status"], health["routing"]["staleLockCount"] = "degraded", 1
    watch = state("() => document.getElementById('status').textContent === 'degraded'")
    health["status"], health["routing"]["staleLockCount"] = "critical", 1000
    bad = state("() => document.getElementById('status').textContent === 'critical'")
    health["database"]["status"] = "down"
    away = state("() => document.body.classList.contains('away')")
    page.unroute("**/api/live")
    page.route("**/api/live", lambda route: route.abort())
    lost = state("() => document.body.classList.contains('lost')")
    assert idle & watch & bad & away & lost == set()
    style = get(server, "/page.css").text
    assert set(re.findall(r"(--[a-z0-9-]+):", style)) == set(re.findall(r"var\((--[a-z0-9-]+)\)", style))


def test_a_token(cluster, database, tmp_path, page):
    """With a token the page asks for it, and its files are all that others get."""
    ca = Authority(tmp_path)
    ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")
    file = tmp_path / "token"
    file.write_text("a-token-of-the-test-0123456789", encoding="utf-8")
    file.chmod(0o600)
    context = ssl.create_default_context(cafile=ca.file)
    with Server(cluster.service_url(database), "--no-jobs", "--tls-certificate", str(tmp_path / "server.pem"), "--tls-key",
                str(tmp_path / "server.key"), "--no-client-certificates", "--admin-listen", "0.0.0.0:0", "--admin-token-file",
                str(file)) as server:
        assert [get(server, path, context=context).status for path in ("/", "/page.css", "/page.js", "/api/live")] == [200, 200, 200, 401]
        page.goto(f"https://127.0.0.1:{address_of(server)[1]}/")
        page.wait_for_function("() => !document.getElementById('ask').hidden")
        for word, shown in (("wrong-0123456789abcdef", "That is not its token."), ("a-token-of-the-test-0123456789", "")):
            page.locator("#token").fill("")
            page.keyboard.type(word)
            page.keyboard.press("Enter")
            page.wait_for_function("shown => document.getElementById('refused').textContent === shown ||"
                                   " document.getElementById('ask').hidden", arg=shown)
        page.wait_for_function("() => document.querySelector('#job-rows tr') && document.getElementById('ask').hidden")


# --- Under load ----------------------------------------------------------------------------------------------------------------------


class Readings:
    """What SQL says, again and again: (when the statement was begun, when it had ended, {name: count}), Unix times in ms."""
    COUNTS = """select count(*) filter (where routing_status = 'pending') as pending,
        (select count(*) from lead_routing_logs where routing_result = 'success') as routed,
        (select count(*) from lead_routing_logs where routing_result = 'duplicate') as duplicates,
        (select count(*) from lead_routing_queue where processed_at is null and next_retry_at <= now()) as due from leads"""

    def __init__(self, cluster, database):
        self.connection = cluster.connect(database)
        self.taken, self.is_over = [], threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        self.connection.close()

    def _run(self):
        with self.connection.cursor() as cursor:
            while not self.is_over.wait(0.1):
                began = time.time() * 1000
                cursor.execute(self.COUNTS)
                row = dict(zip((column.name for column in cursor.description), cursor.fetchone()))
                self.taken.append((began, time.time() * 1000, row))

    def before(self, when):
        """The last that had ended by then."""
        return next(row for _, ended, row in reversed(self.taken) if ended <= when)

    def after(self, when):
        """The first that was begun after it; waits for it."""
        return wait_until(lambda: next((row for began, _, row in self.taken if began >= when), None), "SQL does not answer")


def check_page(readings, shown):
    """What was counted has been committed, and what was committed is counted when its batch has ended; what was read from the database
    was read between the two."""
    before, after = readings.before(shown["read"]), readings.after(shown["now"])
    for name in ("routed", "duplicates"):
        assert readings.before(shown["now"])[name] - BATCHES_LEADS <= shown[name] <= after[name], (name, shown, before, after)
    assert after["pending"] <= shown["pending"] <= before["pending"], (shown, before, after)
    assert shown["due"] == before["due"] == after["due"] == DUE
    if shown["end"] - 6000 > readings.taken[0][1]: # a step of 5 s; its thread may come a second late
        decided = [sum(row[name] for name in ("routed", "duplicates")) for row in (
            readings.before(shown["end"] - 5000), readings.after(shown["end"] - 4000),
            readings.before(shown["end"]), readings.after(shown["end"] + 1000))]
        assert decided[2] - decided[1] - BATCHES_LEADS <= 5 * shown["rate"] <= decided[3] - decided[0] + BATCHES_LEADS + 5, (shown, decided)


def check_still(page):
    """Since WATCH nothing went, nothing came but workspaces into their lists, and nothing moved but numbers that are aligned to the right,
    by the width of a digit."""
    gone, come, shifts = page.evaluate("[window.gone, window.come, window.shifts]")
    assert gone == [] and all(row.startswith("<tr><td><bdi>") for row in come) and len(come) <= 20
    assert sum(value for value, _ in shifts) < MOVES_MAX, shifts


@pytest.mark.long
def test_numbers_under_load(cluster, database, server, sql, page, console):
    """A thousand leads a second for 25 s: each number that is shown lies between what SQL says before and after; nothing that is shown is
    made anew, and nothing moves."""
    queue(server, sql, DUE)
    open_page(page, server)
    page.wait_for_function(f"() => document.querySelector('#due svg').getAttribute('aria-valuetext').includes('Due {DUE}')")
    page.evaluate(WATCH)
    bench = subprocess.Popen([BUILD / "tools/bench/leadrouter-bench", "load", "--target", server.address, "--database",
                              cluster.url(database, "postgres"), "--leads", str(30 * LOAD_RATE), "--rate", str(LOAD_RATE), "--duration",
                              str(LOAD_S), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: sql("select count(*) from leads")[0][0] >= 30 * LOAD_RATE, "no leads")
        seen = {}
        with Readings(cluster, database) as readings:
            while bench.poll() is None:
                shown = page.evaluate(SHOWN)
                if shown["read"] > (readings.taken[:1] or [(0, float("inf"), None)])[0][1] and shown["now"] not in seen:
                    check_page(readings, shown)
                    seen[shown["now"]] = shown
            report = json.loads(bench.communicate()[0])["runs"][0]
            print(f"{report['leads_per_second']:.0f} leads/s")
            assert report["errors"] == 0 and report["answered"] >= 0.8 * LOAD_RATE * LOAD_S, "others use the machine"
            assert len(seen) >= LOAD_S / 4 and len({shown["routed"] for shown in seen.values()}) >= LOAD_S / 4
            last = wait_until(lambda: (row := sql(Readings.COUNTS)[0])[0] == page.evaluate(SHOWN)["pending"] and row, "not all is shown")
            names = ("pending", "routed", "duplicates", "due")
            wait_until(lambda: [page.evaluate(SHOWN)[name] for name in names] == list(last), "not equal")
    finally:
        bench.kill()
        bench.wait()
    check_still(page)
    assert console.lines() == []


@pytest.mark.long
def test_first_paint(server, page):
    """On loopback, by a browser that runs and has kept nothing: the median of 21 loads. Others who use the machine at this moment are
    waited for by measuring again."""
    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    for _ in range(8):
        paints = sorted(paint(page, server) for _ in range(21))
        median, most = statistics.median(paints), paints[19]
        print(f"first paint: {median} ms in the middle, {most} ms for 95 %, {paints[0]} to {paints[-1]} ms")
        if median < PAINT_MS_MAX:
            break
    else:
        raise AssertionError(f"{paints} ms")


def paint(page, server):
    open_page(page, server)
    page.wait_for_function("() => performance.getEntriesByName('first-paint').length === 1")
    return page.evaluate("performance.getEntriesByName('first-paint')[0].startTime")
