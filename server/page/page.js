// The live page: asks /api/live every two seconds and shows what it says. Whatever came from elsewhere becomes text, never markup.
"use strict";

const POLL_MS = 2000; // as often as the server looks at its database
const PATIENCE_MS = 8000;
const SAMPLE_OLD_S = 30;
const SVG = "http://www.w3.org/2000/svg";

const state = { data: null, span: "recent", token: "", lostSince: 0, readAt: 0, timer: 0, charts: [] };
const $ = id => document.getElementById(id);

// --- Nodes: touched only where something changes, so that nothing flickers and a selection stays -------------------------------------

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function attribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}

function makeSvg(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  return node;
}

// As many children as there are items; each is made once and then filled.
function list(parent, items, create, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, i) => fill(parent.children[i], item));
}

function row(classes) {
  return () => make("tr", {}, ...classes.map(name => make("td", name ? { class: name } : {})));
}

// --- Words ----------------------------------------------------------------------------------------------------------------------------

const count = value => value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");

// Rounded, but not up to a whole number: 100 % is all of them, and what is under 95 % does not look like it. A millionth is nothing.
function percent(value) {
  if (value === null) return "–";
  const isUp = Number.isInteger(Number(value.toFixed(2))) && Number(value.toFixed(2)) > value + 1e-6;
  return `${isUp ? (Math.floor(value * 100) / 100).toFixed(2) : value.toFixed(2)} %`;
}

function rate(value) {
  return value === null ? "–" : `${value >= 100 || value === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(1)}/s`;
}

function ms(value) {
  if (value === null) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 100 ? `${value.toFixed(0)} ms` : value >= 10 ? `${value.toFixed(1)} ms` : `${value.toFixed(2)} ms`;
}

const took = value => value < 1000 ? `${value} ms` : ms(value);

function age(seconds) {
  for (const [size, name] of [[86400, "days"], [3600, "h"], [60, "min"]])
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${name}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function clock(unixMs, seconds) {
  return new Date(unixMs).toLocaleTimeString("en-GB", seconds ? {} : { hour: "2-digit", minute: "2-digit" });
}

const ago = unixMs => unixMs === 0 ? "never" : `${age((state.data.nowUnixMs - unixMs) / 1000)} ago`;

// --- Charts ---------------------------------------------------------------------------------------------------------------------------

// Of a step: the share in percent of a sum, or null without any.
function share(history, i, of, among) {
  const sum = names => names.reduce((all, name) => all + history[name][i], 0);
  return sum(among) === 0 ? null : 100 * sum(of) / sum(among);
}

const column = name => (history, i) => history[name][i];
const perSecond = name => (history, i) => history[name][i] / history.stepSeconds;
const GOOD = ["routed", "duplicate"];
const KINDS = {
  success: { title: "Success rate over time", format: percent, floor: 90, ceiling: 100, limit: "successPercent",
    series: [["Success", (history, i) => share(history, i, GOOD, [...GOOD, "failed"])]] },
  locks: { title: "Lock acquisition over time", format: percent, floor: 90, ceiling: 100, limit: "lockPercent",
    series: [["Acquired", (history, i) => share(history, i, ["lockAcquired"], ["lockAcquired", "lockPassedOver"])]] },
  due: { title: "Retries over time", format: count, series: [["Due", column("due")], ["Waiting or due", column("depth")]] },
  stale: { title: "Stale locks over time", format: count, series: [["Stale", column("stale")]] },
  latency: { title: "Latency over time", format: ms,
    series: [["p50", column("p50Ms")], ["p95", column("p95Ms")], ["p99", column("p99Ms")]] },
  decisions: { title: "Decisions per second over time", format: rate, stacked: true,
    series: [["Routed", perSecond("routed")], ["Duplicate", perSecond("duplicate")], ["Retry later", perSecond("queuedForRetry")],
      ["Failed", perSecond("failed")], ["Expired", perSecond("expired")]] },
};
const MARGIN = { left: 46, right: 6, top: 8, bottom: 20 };
const HEIGHT = 150;

// The least of 1, 2, 5 times a power of ten that is not below.
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find(step => step * power >= value) * power;
}

class Chart {
  constructor(parent) {
    this.kind = KINDS[parent.dataset.chart];
    this.at = null; // the step that the cursor is on; null: the last
    this.width = 0;
    this.svg = makeSvg("svg", { role: "slider", tabindex: "0", "aria-label": this.kind.title, "aria-valuemin": "0" });
    this.axes = [0, 0.5, 1].map(() => [makeSvg("line", { class: "axis" }), makeSvg("text", { "text-anchor": "end" })]);
    this.times = ["start", "middle", "end"].map(anchor => makeSvg("text", { "text-anchor": anchor, y: HEIGHT - 4 }));
    this.paths = this.kind.series.map((_, i) => makeSvg("path", { class: this.kind.stacked ? `area f${i + 1}`
      : `series s${this.kind.series.length === 1 ? 2 : i + 1} dash${i + 1}` }));
    this.limit = makeSvg("line", { class: "limit", visibility: "hidden" });
    this.cursor = makeSvg("line", { class: "cursor", visibility: "hidden", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.svg.append(...this.axes.flat(), ...this.times, ...this.paths, this.limit, this.cursor);
    this.legend = make("ul", { class: "legend" }, ...this.kind.series.map(([name], i) => this.makeLegend(name, i)), make("li"));
    this.makeTable();
    parent.append(this.svg, this.legend, this.details);
    this.listen(parent);
  }

  makeLegend(name, i) {
    const sample = makeSvg("svg", { viewBox: "0 0 18 8", "aria-hidden": "true" });
    sample.append(this.kind.stacked ? makeSvg("rect", { width: 18, height: 8, class: `f${i + 1}` })
      : makeSvg("path", { d: "M1 4H17", class: this.paths[i].getAttribute("class") }));
    return make("li", {}, sample, `${name} `, make("b"));
  }

  makeTable() {
    this.rows = make("tbody");
    const heads = ["Until", ...this.kind.series.map(([name]) => name)];
    const head = make("tr", {}, ...heads.map((name, i) => make("th", { scope: "col", class: i ? "number" : "" }, name)));
    const region = { class: "scroll tall", role: "region", tabindex: "0", "aria-label": `${this.kind.title}, as a table` };
    this.details = make("details", {}, make("summary", {}, "As a table"),
      make("div", region, make("table", {}, make("thead", {}, head), this.rows)));
    this.details.addEventListener("toggle", () => this.fillTable());
  }

  listen(parent) {
    new ResizeObserver(() => {
      if (parent.clientWidth === this.width) return;
      this.width = parent.clientWidth;
      this.draw();
    }).observe(parent);
    this.svg.addEventListener("pointermove", event => {
      if (this.history) this.move(this.stepAt(event.clientX - this.svg.getBoundingClientRect().left));
    });
    this.svg.addEventListener("pointerleave", () => this.move(null));
    this.svg.addEventListener("blur", () => this.move(null));
    this.svg.addEventListener("keydown", event => {
      if (!this.history) return;
      const last = this.history.count - 1;
      const from = this.at === null ? last : this.at;
      const to = { ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, PageDown: from - 12,
        PageUp: from + 12, Home: 0, End: last, Escape: null }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.move(to === null ? null : Math.min(last, Math.max(0, to)));
    });
  }

  move(step) {
    this.at = step;
    this.draw();
  }

  // The whole span has its place from the start, so that lines do not stretch while it fills.
  get slots() {
    return this.history.stepSeconds < 60 ? 180 : 289;
  }

  x(i) {
    const slot = this.slots - this.history.count + i;
    return MARGIN.left + (this.width - MARGIN.left - MARGIN.right) * (slot + (this.kind.stacked ? 0 : 1)) / this.slots;
  }

  stepAt(x) {
    const slot = (x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right) * this.slots - (this.kind.stacked ? 0.5 : 1);
    const step = Math.round(slot) - this.slots + this.history.count;
    return step < 0 || step >= this.history.count ? null : step;
  }

  show(history) {
    const isNew = !this.history || this.history.endUnixMs !== history.endUnixMs || this.history.stepSeconds !== history.stepSeconds;
    if (this.history && this.at !== null && this.history.stepSeconds !== history.stepSeconds) this.at = null;
    if (this.at !== null && this.at >= history.count) this.at = null;
    this.history = history;
    this.values = this.kind.series.map(([, value]) => Array.from({ length: history.count }, (_, i) => value(history, i)));
    this.draw();
    if (isNew) this.fillTable();
  }

  range() {
    const sums = this.kind.stacked ? this.values[0].map((_, i) => this.values.reduce((sum, values) => sum + values[i], 0))
      : this.values.flat().filter(value => value !== null);
    if (this.kind.ceiling) return [sums.some(value => value < this.kind.floor) ? 0 : this.kind.floor, this.kind.ceiling];
    const top = Math.max(0, ...sums);
    return [0, top === 0 ? 1 : niceAbove(top)];
  }

  draw() {
    if (!this.history || this.width === 0) return;
    const [low, high] = this.range();
    const right = this.width - MARGIN.right;
    const y = value => HEIGHT - MARGIN.bottom - (HEIGHT - MARGIN.bottom - MARGIN.top) * (value - low) / (high - low);
    attribute(this.svg, "viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.axes.forEach(([line, label], i) => {
      const value = low + (high - low) * i / 2;
      for (const [name, at] of [["x1", MARGIN.left], ["x2", right], ["y1", y(value)], ["y2", y(value)]]) attribute(line, name, at);
      attribute(label, "x", MARGIN.left - 6);
      attribute(label, "y", y(value) + 4);
      text(label, this.label(value, high));
    });
    this.times.forEach((label, i) => {
      const whole = this.slots * this.history.stepSeconds * 1000;
      attribute(label, "x", [MARGIN.left, (MARGIN.left + right) / 2, right][i]);
      text(label, clock(this.history.endUnixMs - whole * (2 - i) / 2, false));
    });
    this.drawSeries(y);
    this.drawLimit(y, low, right);
    this.drawCursor();
  }

  label(value, high) {
    if (this.kind.ceiling) return `${value} %`;
    if (this.kind.format === ms) return value === 0 ? "0" : value >= 1000 ? `${value / 1000} s` : `${+value.toPrecision(3)} ms`;
    return high <= 1 && value !== 0 && value !== 1 ? "" : `${+value.toPrecision(3)}`;
  }

  drawSeries(y) {
    const below = new Array(this.history.count).fill(0);
    this.values.forEach((values, n) => {
      let path = "";
      values.forEach((value, i) => {
        if (value === null) return;
        if (this.kind.stacked) {
          if (value > 0) path += `M${this.x(i).toFixed(1)} ${y(below[i]).toFixed(1)}V${y(below[i] + value).toFixed(1)}` +
            `H${(this.x(i + 1) + 0.3).toFixed(1)}V${y(below[i]).toFixed(1)}Z`;
          below[i] += value;
        } else {
          const isAlone = (i === 0 || values[i - 1] === null) && (i + 1 === values.length || values[i + 1] === null);
          const x = this.x(i) - (isAlone ? 2 : 0); // a dash, or nothing would be seen of it
          path += `${i > 0 && values[i - 1] !== null ? "L" : "M"}${x.toFixed(1)} ${y(value).toFixed(1)}${isAlone ? "h4" : ""}`;
        }
      });
      attribute(this.paths[n], "d", path);
    });
  }

  drawLimit(y, low, right) {
    if (!this.kind.limit) return;
    const at = y(state.data.bounds[this.kind.limit][0]);
    for (const [name, value] of [["visibility", "visible"], ["x1", MARGIN.left], ["x2", right], ["y1", at], ["y2", at]])
      attribute(this.limit, name, value);
  }

  drawCursor() {
    const last = this.history.count - 1;
    const step = this.at === null ? last : this.at;
    const when = clock(this.timeOf(step), this.history.stepSeconds < 60);
    const words = this.kind.series.map(([name], n) => [name, step < 0 ? "–" : this.kind.format(this.values[n][step])]);
    const x = step < 0 ? 0 : this.x(step) + (this.kind.stacked ? (this.x(1) - this.x(0)) / 2 : 0);
    attribute(this.cursor, "visibility", this.at === null ? "hidden" : "visible");
    attribute(this.cursor, "x1", x);
    attribute(this.cursor, "x2", x);
    words.forEach(([, value], n) => text(this.legend.children[n].lastElementChild, value));
    text(this.legend.lastElementChild, step < 0 ? "no step has ended yet" : `at ${when}`);
    attribute(this.svg, "aria-valuemax", Math.max(0, last));
    attribute(this.svg, "aria-valuenow", Math.max(0, step));
    attribute(this.svg, "aria-valuetext", step < 0 ? "no step has ended yet"
      : `${when}: ${words.map(([name, value]) => `${name} ${value === "–" ? "unknown" : value}`).join(", ")}`);
  }

  timeOf(step) {
    return this.history.endUnixMs - (this.history.count - 1 - step) * this.history.stepSeconds * 1000;
  }

  fillTable() {
    if (!this.details.open || !this.history) return;
    const steps = Array.from({ length: this.history.count }, (_, i) => this.history.count - 1 - i);
    list(this.rows, steps, row(["", ...this.kind.series.map(() => "number")]), (node, step) => {
      text(node.children[0], clock(this.timeOf(step), this.history.stepSeconds < 60));
      this.values.forEach((values, n) => text(node.children[n + 1], this.kind.format(values[step])));
    });
  }
}

// --- What is shown --------------------------------------------------------------------------------------------------------------------

// "good", "watch" or "bad": by how far a value is beyond the server's two bounds; lower is better unless the first is the larger.
function level(value, name) {
  const [watch, bad] = state.data.bounds[name];
  const isWorse = bound => watch > bad ? value < bound : value > bound;
  return value === null ? "" : isWorse(bad) ? "bad" : isWorse(watch) ? "watch" : "good";
}

const OUTCOMES = ["routed", "duplicate", "queuedForRetry", "failed", "expired"];

function single(id, value, word) {
  const card = $(id);
  text(card.querySelector(".value"), value);
  attribute(card, "data-level", word);
  text(card.querySelector(".word"), word);
}

function detail(id, value) {
  text($(id).querySelector(".detail"), value);
}

function showNumbers({ health, totals, history }) {
  const { rates, routing } = health;
  const success = rates.successShare === null ? null : 100 * rates.successShare;
  const locks = rates.lockShare === null ? null : 100 * rates.lockShare;
  const p95 = rates.p95Ms;
  const recent = history.recent;
  const last = recent.count - 1;
  const known = state.data.sampled ? routing : {};
  single("success", percent(success), level(success, "successPercent"));
  single("locks", percent(locks), level(locks, "lockPercent"));
  single("latency", ms(p95), level(p95, "p95Ms"));
  single("due", count(known.retriesDueCount), state.data.sampled ? level(routing.retriesDueCount, "due") : "");
  single("stale", count(known.staleLockCount), state.data.sampled ? level(routing.staleLockCount, "stale") : "");
  detail("due", state.data.sampled ? `of ${count(routing.retryQueueCount)} in the queue` +
    (routing.retriesDueCount > 0 ? `; the oldest for ${age(routing.oldestDueAgeSeconds)}` : "") : "not read yet");
  single("decisions", last < 0 ? "–" : rate(OUTCOMES.reduce((sum, name) => sum + recent[name][last], 0) / recent.stepSeconds), "");
  detail("decisions", `since the start: ${count(totals.routed)} routed, ${count(totals.duplicate)} duplicates, ` +
    `${count(totals.queuedForRetry)} to be tried again, ${count(totals.failed)} failed, ${count(totals.expired)} expired`);
  text($("pending"), count(known.pendingCount));
  text($("routing"), count(known.routingCount));
  text($("failed"), count(known.failedCount));
  text($("held"), count(known.heldCount));
  text($("oldest"), known.pendingCount > 0 ? age(routing.oldestPendingAgeSeconds) : "–");
}

function showTop(rows, none, workspaces) {
  const most = Math.max(1, ...workspaces.map(workspace => workspace.count));
  const create = () => make("tr", {}, make("td", {}, make("bdi"), make("small"), make("span", { class: "bar", "aria-hidden": "true" })),
    make("td", { class: "number" }));
  list(rows, workspaces, create, (node, workspace) => {
    const [name, id, bar] = node.firstElementChild.children;
    text(name, workspace.name.trim() === "" ? "(no name)" : workspace.name);
    text(id, workspace.id);
    bar.style.transform = `scaleX(${workspace.count / most})`;
    text(node.lastElementChild, count(workspace.count));
  });
  rows.parentElement.hidden = workspaces.length === 0;
  none.hidden = workspaces.length > 0;
}

function jobState(job) {
  if (job.paused) return ["paused", "level-watch"];
  if (job.running) return ["running", ""];
  if (job.failures > 0) return [`failed ${job.failures === 1 ? "once" : `${count(job.failures)} times`}`, "level-bad"];
  const late = (state.data.nowUnixMs - job.nextRunUnixMs) / 1000;
  return job.nextRunUnixMs !== 0 && late > state.data.bounds.jobLateSeconds ? [`late by ${age(late)}`, "level-bad"] : ["waiting", ""];
}

function showJobs(jobs) {
  list($("job-rows"), jobs, row(["", "", "number", "number", "number"]), (node, job) => {
    const [word, look] = jobState(job);
    const left = (job.nextRunUnixMs - state.data.nowUnixMs) / 1000;
    const next = job.nextRunUnixMs === 0 || job.paused ? "–" : left <= 0 ? "now" : `in ${age(left)}`;
    attribute(node.children[1], "class", look);
    [job.name, word, ago(job.lastSuccessUnixMs), job.lastSuccessUnixMs === 0 ? "–" : took(job.lastDurationMs), next]
      .forEach((value, i) => text(node.children[i], value));
  });
}

function showErrors(errors) {
  list($("error-rows"), errors, row(["", "", "", "number", "number"]), (node, error) => {
    attribute(node.children[0], "class", error.level === "error" ? "level-bad" : "level-watch");
    [error.level, error.event, error.message, count(error.count), ago(error.lastUnixMs)]
      .forEach((value, i) => text(node.children[i], value));
  });
  $("error-rows").parentElement.hidden = errors.length === 0;
  $("error-none").hidden = errors.length > 0;
}

function showState({ health, sampled, startedUnixMs, counting }) {
  const levels = { healthy: "good", degraded: "watch", critical: "bad" };
  text($("status"), health.status);
  attribute($("status"), "data-level", levels[health.status]);
  text($("facts"), `version ${health.version}, schema ${sampled ? health.schemaVersion : "not read yet"}, up for ` +
    `${age((state.data.nowUnixMs - startedUnixMs) / 1000)}${counting ? "" : "; it counts nothing (--no-metrics)"}`);
  document.title = health.status === "healthy" ? "leadrouter" : `${health.status}: leadrouter`;
  $("problems").hidden = health.problems.length === 0;
  attribute($("problems"), "data-level", levels[health.status]);
  list($("problem-list"), health.problems, () => make("li"), text);
}

function notice() {
  const health = state.data && state.data.health;
  const isAway = health && (health.database.status !== "up" || health.database.sampleAgeSeconds > SAMPLE_OLD_S);
  let words = "";
  if (state.lostSince) words = `No answer from the server since ${clock(state.lostSince, true)}. What is shown is old; asking again.`;
  else if (isAway && !state.data.sampled) words = "The database has not answered this server yet.";
  else if (isAway) words = `The database does not answer. What is greyed out is as of ` +
    `${clock(state.data.nowUnixMs - health.database.sampleAgeSeconds * 1000, true)}.`;
  document.body.classList.toggle("lost", state.lostSince !== 0);
  document.body.classList.toggle("away", Boolean(isAway));
  text($("notice"), words);
  $("notice").hidden = words === "";
  text($("age"), state.readAt ? `read ${age((Date.now() - state.readAt) / 1000)} ago` : "");
}

function show() {
  const data = state.data;
  showState(data);
  showNumbers(data);
  showTop($("duplicate-rows"), $("duplicate-none"), data.workspaces.duplicates);
  showTop($("due-rows"), $("due-none"), data.workspaces.due);
  showJobs(data.health.jobs);
  showErrors(data.errors);
  for (const chart of state.charts) chart.show(data.history[state.span]);
}

// --- Asking ---------------------------------------------------------------------------------------------------------------------------

async function ask() {
  const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
  const answer = await fetch("api/live", { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function poll() {
  clearTimeout(state.timer);
  if (document.hidden) return; // asked again when it is seen
  try {
    const data = await ask();
    state.lostSince = 0;
    $("ask").hidden = data !== null;
    if (data === null) {
      text($("refused"), state.token ? "That is not its token." : "");
      notice();
      return;
    }
    state.data = data;
    state.readAt = Date.now();
    show();
  } catch {
    state.lostSince = state.lostSince || Date.now();
  }
  notice();
  state.timer = setTimeout(poll, POLL_MS);
}

function begin() {
  state.charts = Array.from(document.querySelectorAll(".chart"), parent => new Chart(parent));
  for (const radio of document.querySelectorAll("input[name=span]"))
    radio.addEventListener("change", () => {
      state.span = radio.value;
      if (state.data) show();
    });
  $("ask").addEventListener("submit", event => {
    event.preventDefault();
    state.token = $("token").value.trim(); // in this page's memory only
    poll();
  });
  document.addEventListener("visibilitychange", poll);
  setInterval(notice, 1000);
  poll();
}

begin();
