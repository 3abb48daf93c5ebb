// ---- overview ----------------------------------------------------------------------------------------------

// Columns that are shown in a form of their own; every other key of a result is a column too.
const SHOWN = {
  row: { title: "row" },
  experiment: { title: "experiment", class: "name", show: (r) => (r.experiment ? link(r.experiment) : el("span", { class: "soft" }, r.label ?? "")) },
  label: { title: "label", class: "text" },
  dataset: { title: "data set" },
  backbone: { title: "backbone" },
  family: { title: "family", class: "text" },
  output_stride: { title: "OS", n: 0 },
  published: { title: "published", n: 2 },
  measured: { title: "measured", n: 2 },
  gap: { title: "gap", show: (r) => signed(r.gap), n: 2 },
  interval_low: { title: "95 % interval", show: (r) => (missing(r.interval_low) ? "" : number(r.interval_low) + " to " + number(r.interval_high)), n: 2 },
  verdict: { title: "verdict", show: (r) => verdict(r.verdict) },
  tier: { title: "tier", class: "words" },
  reason: { title: "reason", class: "text" },
  params_m: { title: "params, M", n: 2 },
  published_params_m: { title: "published params, M", n: 2 },
  gmacs_conv: { title: "GMACs", n: 1 },
  latency_ms_p50: { title: "latency, ms", n: 1 },
  peak_memory_mib: { title: "memory, MiB", n: 0 },
  weights_url: { title: "weights", show: (r) => outside("weights", r.weights_url) },
  published_weights_url: { title: "published weights", show: (r) => outside("weights", r.published_weights_url) },
  published_config_url: { title: "published config", show: (r) => outside("config", r.published_config_url) },
  git_commit: { title: "commit", show: (r) => (r.git_commit ?? "").slice(0, 12) },
};
const HIDDEN = ["interval_high"];
const KEYS = [...new Set([...Object.keys(SHOWN), ...DATA.rows.flatMap((row) => Object.keys(row))])]
  .filter((key) => !HIDDEN.includes(key) && DATA.rows.some((row) => !missing(row[key])));
const NUMERIC = new Set(KEYS.filter((key) => DATA.rows.some((row) => typeof row[key] === "number")));
const title = (key) => SHOWN[key]?.title ?? key.replaceAll("_", " ").replace(/ m$/, ", M").replace(/ mib$/, ", MiB").replace("miou", "mIoU");
const DEFAULTS = [
  ["(min-width: 1200px)", ["row", "experiment", "dataset", "backbone", "published", "measured", "interval_low", "gap", "verdict", "tier", "params_m", "gmacs_conv"]],
  ["(min-width: 760px)", ["row", "experiment", "dataset", "published", "measured", "gap", "verdict", "tier"]],
  ["all", ["experiment", "published", "measured", "verdict"]],
];
const defaults = () => DEFAULTS.find(([media]) => matchMedia(media).matches)[1].filter((key) => KEYS.includes(key));

// What of the overview is in the address; until a person sorts, what was measured comes first.
function view() {
  const { query } = place();
  const hidden = (query.get("hide") ?? "").split(",").filter((name) => VERDICTS.includes(name));
  const columns = (query.get("cols") ?? "").split(",").filter((key) => KEYS.includes(key));
  const sort = query.get("sort") ?? "";
  return { text: query.get("q") ?? "", dataset: DATA.datasets.includes(query.get("dataset")) ? query.get("dataset") : "", hidden: new Set(hidden), columns,
    sort: KEYS.includes(sort.replace(/^-/, "")) ? sort.replace(/^-/, "") : "", down: sort.startsWith("-") };
}

function chosen(state) {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (row) => ["row", "experiment", "label", "dataset", "backbone", "family", "verdict"].map((key) => row[key] ?? "").join(" ").toLowerCase();
  const rows = DATA.rows.filter((row) => !state.hidden.has(row.verdict) && (!state.dataset || row.dataset === state.dataset) && words.every((word) => text(row).includes(word)));
  const key = state.sort || "row", sign = state.down ? -1 : 1;
  return rows.sort((a, b) => {  // what is not there stays at the end, up or down
    if (!state.sort && missing(a.measured) !== missing(b.measured)) return missing(a.measured) - missing(b.measured);
    if (missing(a[key]) || missing(b[key])) return missing(a[key]) - missing(b[key]);
    return sign * (typeof a[key] === "number" ? a[key] - b[key] : String(a[key]).localeCompare(String(b[key]), "en", { numeric: true }));
  });
}

function cell(row, key) {
  const how = SHOWN[key] ?? {};
  const value = row[key];
  const shown = how.show ? how.show(row) : typeof value === "number" ? (how.n === undefined ? String(short(value)) : number(value, how.n)) : String(value ?? "");
  return el("td", { class: [NUMERIC.has(key) ? "n" : "", how.class ?? (typeof value === "string" && value.length > 24 ? "text" : "")].join(" ").trim() || null, "data-key": key }, shown);
}

let redraw = () => {};  // the table of results, for another width of the window

function results() {
  const state = view();
  const head = el("tr"), body = el("tbody"), count = el("span", { class: "soft", role: "status", id: "count" });
  const columns = () => (state.columns.length ? state.columns : defaults());
  function fill() {
    remember("/", { q: state.text, dataset: state.dataset, hide: [...state.hidden].join(","), cols: state.columns.join(","), sort: (state.down ? "-" : "") + state.sort });
    const rows = chosen(state), keys = columns();
    head.replaceChildren(...keys.map((key) => el("th", { scope: "col", class: NUMERIC.has(key) ? "n" : null, "data-key": key, "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : null },
      el("button", { type: "button", onclick: () => { state.down = state.sort === key && !state.down; state.sort = key; fill(); head.querySelector(`[data-key="${key}"] button`).focus(); } }, title(key)))));
    body.replaceChildren(...rows.map((row) => el("tr", {}, keys.map((key) => cell(row, key)))));
    count.textContent = rows.length + " of " + DATA.rows.length;
  }
  redraw = fill;
  const search = el("input", { type: "search", placeholder: "filter: row, name, backbone …", "aria-label": "filter the results", value: state.text,
    oninput: (event) => { state.text = event.target.value; fill(); } });
  const choose = el("select", { "aria-label": "data set", onchange: (event) => { state.dataset = event.target.value; fill(); } },
    el("option", { value: "" }, "all data sets"), DATA.datasets.map((name) => el("option", { value: name }, name)));
  choose.value = state.dataset;
  const chips = VERDICTS.map((name) => [name, DATA.rows.filter((row) => row.verdict === name).length]).filter(([, number]) => number).map(([name, number]) =>
    el("button", { type: "button", class: "chip " + name, "aria-pressed": String(!state.hidden.has(name)), title: "show or hide", onclick: (event) => {
      state.hidden.has(name) ? state.hidden.delete(name) : state.hidden.add(name);
      event.target.setAttribute("aria-pressed", String(!state.hidden.has(name)));
      fill();
    } }, name + " " + number));
  const boxes = KEYS.map((key) => el("label", {}, el("input", { type: "checkbox", value: key, onchange: () => {
    state.columns = boxes.map((box) => box.querySelector("input")).filter((input) => input.checked).map((input) => input.value);
    fill();
  } }), title(key)));
  const pick = el("details", { class: "columns", ontoggle: () => boxes.forEach((box) => { const input = box.querySelector("input"); input.checked = columns().includes(input.value); }) },
    el("summary", {}, "columns"), el("div", {}, boxes, el("button", { type: "button", onclick: () => { state.columns = []; fill(); pick.open = false; } }, "reset")));
  fill();
  return section("results", "Results", el("div", { class: "controls" }, search, choose, chips, count), pick,
    el("div", { class: "scroll", tabindex: "0", "aria-label": "table of results" }, el("table", {}, el("thead", {}, head), body)),
    el("p", { class: "soft" }, "mIoU in percent. A gap is measured minus published, in points. Intervals are 95 % percentile bootstrap; the page of an experiment says over what. The address of this page holds the filters and columns."));
}

function heatmaps() {
  const measured = Object.keys(DATA.experiments).filter((name) => DATA.experiments[name].per_class);
  const groups = DATA.datasets.map((name) => [name, measured.filter((key) => DATA.experiments[key].dataset === name)]).filter((group) => group[1].length);
  return section("classes", "IoU per class", groups.map(([name, members]) => {
    const names = Object.keys(DATA.experiments[members[0]].per_class);
    return el("div", {}, el("h3", {}, name), el("div", { class: "scroll", tabindex: "0", "aria-label": "IoU per class on " + name }, el("table", { class: "heat" },
      el("thead", {}, el("tr", {}, el("th", {}), names.map((title) => el("th", { scope: "col" }, el("span", {}, title))))),
      el("tbody", {}, members.map((key) => el("tr", {}, el("th", { scope: "row" }, link(key)), names.map((title) => {
        const value = DATA.experiments[key].per_class[title];
        return missing(value) ? el("td", {}) : el("td", { style: `background:${heat(value)};color:#fff`, title: `${title} ${number(value)}` }, number(value, 0));
      })))))));
  }));
}

function overview() {
  const measured = Object.keys(DATA.experiments).filter((name) => DATA.experiments[name].metrics);
  const counts = VERDICTS.map((name) => [name, DATA.rows.filter((row) => row.verdict === name).length]).filter(([, number]) => number)
    .map(([name, number]) => el("div", { class: "card" }, el("div", { class: "big" }, String(number)), verdict(name)));
  const plots = document.getElementById("plots").content.cloneNode(true);
  return [el("p", { class: "lead" }, DATA.headline + "."), el("p", { class: "soft" }, DATA.summary), el("div", { class: "cards" }, counts),
    section("plots-of-results", "Published against measured", plots.childElementCount ? el("div", { class: "plots" }, plots) : null),
    results(), scatter(), heatmaps(), curves(measured)];
}
