"use strict";
// Draws the report from the JSON in #data. Addresses: "#/" overview, "#/experiment/NAME" one experiment.
const DATA = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const VERDICTS = ["reproduced", "improved", "regressed", "holds", "drifted", "incomparable", "unmeasured"];
const COLOURS = ["#3b82f6", "#ef8a17", "#10a37f", "#c2410c", "#8b5cf6", "#db2777", "#0891b2", "#65a30d", "#a16207", "#64748b"];
const POINTS = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "cross"];  // for eyes that do not part the colours
let charts = [];

// el("p", {class: "soft"}, "text", child) makes an element; text is never read as markup.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const number = (value, digits = 2) => (value === null || value === undefined ? "" : value.toFixed(digits));
const signed = (value) => (value === null || value === undefined ? "" : ((value > 0 ? "+" : "") + value.toFixed(2)).replace(/^[+-](0\.00)$/, "+$1"));
const verdict = (name) => el("span", { class: "verdict " + name }, name);
// a long name may break after an underscore
const link = (name) => el("a", { href: "#/experiment/" + encodeURIComponent(name) },
  name.split(/(?<=_)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part])));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plot(config, label) {
  const canvas = el("canvas", { role: "img", "aria-label": label });
  const box = el("div", { class: "plot" }, canvas);
  queueMicrotask(() => {
    Chart.defaults.color = css("--soft");
    Chart.defaults.borderColor = css("--line");
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
    charts.push(new Chart(canvas, config));
  });
  return box;
}

// ---- overview ----------------------------------------------------------------------------------------------

const COLUMNS = [
  { key: "row", title: "row", wide: true },
  { key: "experiment", title: "experiment", name: true, show: (r) => (r.experiment ? link(r.experiment) : el("span", { class: "soft" }, r.label)) },
  { key: "dataset", title: "data set", wide: true },
  { key: "published", title: "published", n: true, show: (r) => number(r.published) },
  { key: "measured", title: "measured", n: true, show: (r) => number(r.measured) },
  { key: "gap", title: "gap", n: true, wide: true, show: (r) => signed(r.gap) },
  { key: "verdict", title: "verdict", show: (r) => verdict(r.verdict) },
  { key: "low", title: "95 % interval", n: true, wide: true, show: (r) => (r.low === null ? "" : number(r.low) + " to " + number(r.high)) },
  { key: "metric", title: "metric", wide: true },
  { key: "backbone", title: "backbone", wide: true },
  { key: "os", title: "OS", n: true, wide: true },
  { key: "params_M", title: "params M", n: true, wide: true, show: (r) => number(r.params_M) },
  { key: "gmacs", title: "GMACs", n: true, wide: true, show: (r) => number(r.gmacs, 1) },
  { key: "latency", title: "latency ms", n: true, wide: true, show: (r) => number(r.latency, 1) },
];
// until a person sorts, what was measured stands first
const state = { sort: "row", down: false, fresh: true, text: "", dataset: "", verdicts: new Set(VERDICTS) };

function visible() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = DATA.rows.filter((row) =>
    state.verdicts.has(row.verdict) && (!state.dataset || row.dataset === state.dataset) &&
    words.every((word) => [row.row, row.experiment, row.label, row.dataset, row.backbone, row.verdict].join(" ").toLowerCase().includes(word)));
  const key = state.sort, sign = state.down ? -1 : 1;
  const empty = (value) => value === null || value === undefined || value === "";
  return rows.sort((a, b) => {  // what is not there stays at the end, up or down
    if (state.fresh && empty(a.measured) !== empty(b.measured)) return empty(a.measured) - empty(b.measured);
    if (empty(a[key]) || empty(b[key])) return empty(a[key]) - empty(b[key]);
    return sign * (typeof a[key] === "number" ? a[key] - b[key] : String(a[key]).localeCompare(String(b[key]), "en", { numeric: true }));
  });
}

function results() {
  const body = el("tbody"), count = el("span", { class: "soft", role: "status", id: "count" });
  const heads = COLUMNS.map((column) =>
    el("th", { scope: "col", class: [column.n ? "n" : "", column.wide ? "wide" : ""].join(" "), "data-key": column.key },
      el("button", { type: "button", onclick: () => { state.down = state.sort === column.key && !state.down; state.sort = column.key; state.fresh = false; fill(); } }, column.title)));
  function fill() {
    const rows = visible();
    body.replaceChildren(...rows.map((row) => el("tr", {}, COLUMNS.map((column) =>
      el("td", { class: [column.n ? "n" : "", column.wide ? "wide" : "", column.name ? "name" : ""].join(" ") }, column.show ? column.show(row) : String(row[column.key] ?? ""))))));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads.find((head) => head.dataset.key === state.sort).setAttribute("aria-sort", state.down ? "descending" : "ascending");
    count.textContent = rows.length + " of " + DATA.rows.length;
  }
  const search = el("input", { type: "search", placeholder: "filter: row, name, backbone …", "aria-label": "filter", value: state.text,
    oninput: (event) => { state.text = event.target.value; fill(); } });
  const choose = el("select", { "aria-label": "data set", onchange: (event) => { state.dataset = event.target.value; fill(); } },
    el("option", { value: "" }, "all data sets"), DATA.datasets.map((name) => el("option", { value: name }, name)));
  choose.value = state.dataset;
  const chips = VERDICTS.map((name) => el("button", { type: "button", class: "chip " + name, "aria-pressed": state.verdicts.has(name),
    onclick: (event) => {
      state.verdicts.has(name) ? state.verdicts.delete(name) : state.verdicts.add(name);
      event.target.setAttribute("aria-pressed", state.verdicts.has(name));
      fill();
    } }, name + " " + DATA.rows.filter((row) => row.verdict === name).length));
  fill();
  return el("section", { id: "results" }, el("h2", {}, "Results"),
    el("div", { class: "controls" }, search, choose, chips, count),
    el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body)),
    el("p", { class: "soft" }, "Percent. Intervals: 95 % percentile bootstrap; the page of an experiment says over what. A gap is measured minus published, in points."));
}

function scatter() {
  const axes = [["params_M", "parameters, millions"], ["gmacs", "GMACs"], ["latency", "latency, ms"]]
    .filter(([key]) => DATA.rows.some((row) => row.measured !== null && row[key] !== null));
  if (!axes.length) return null;
  const section = el("section", { id: "cost" }, el("h2", {}, "Accuracy against cost"));
  const select = el("select", { "aria-label": "cost" }, axes.map(([key, title]) => el("option", { value: key }, title)));
  const holder = el("div");
  const draw = () => {
    const [key, title] = axes.find((axis) => axis[0] === select.value);
    const sets = DATA.datasets.map((name) => ({
      label: name, pointRadius: 5, pointHoverRadius: 7,
      data: DATA.rows.filter((row) => row.dataset === name && row.measured !== null && row[key] !== null)
        .map((row) => ({ x: row[key], y: row.measured, name: row.experiment })),
    })).filter((set) => set.data.length);
    sets.forEach((set, index) => {
      const colour = COLOURS[index % COLOURS.length];
      Object.assign(set, { backgroundColor: colour, borderColor: colour, pointStyle: POINTS[index % POINTS.length] });
    });
    holder.replaceChildren(plot({ type: "scatter", data: { datasets: sets }, options: {
      scales: { x: { type: key === "latency" ? "linear" : "logarithmic", title: { display: true, text: title } }, y: { title: { display: true, text: "measured, %" } } },
      plugins: { legend: { labels: { usePointStyle: true } }, tooltip: { callbacks: { label: (item) => item.raw.name + ": " + number(item.raw.y) } } },
      onClick: (event, items, chart) => { if (items.length) location.hash = "#/experiment/" + chart.data.datasets[items[0].datasetIndex].data[items[0].index].name; },
    } }, "measured accuracy against " + title));
  };
  select.addEventListener("change", draw);
  draw();
  section.append(el("div", { class: "controls" }, select, el("span", { class: "soft" }, "latency: compare on one device only; click a point to open it")), holder);
  return section;
}

// 0 % red, 50 % amber, 100 % green, readable on both themes
const heat = (value) => `hsl(${Math.round(value * 1.3)} 62% 33%)`;

function classes() {
  const groups = DATA.datasets.map((name) => [name, DATA.measured.filter((key) => DATA.experiments[key].dataset === name)]).filter((group) => group[1].length);
  return groups.length ? el("section", { id: "classes" }, el("h2", {}, "IoU of every class"), groups.map(([name, members]) => {
    const names = Object.keys(DATA.experiments[members[0]].per_class);
    return el("div", {}, el("h3", {}, name), el("div", { class: "scroll", tabindex: "0" }, el("table", { class: "heat" },
      el("thead", {}, el("tr", {}, el("th", {}), names.map((title) => el("th", { scope: "col" }, el("span", {}, title))))),
      el("tbody", {}, members.map((key) => el("tr", {}, el("th", { scope: "row" }, link(key)), names.map((title) => {
        const value = DATA.experiments[key].per_class[title];
        return value === null || value === undefined ? el("td", {}) : el("td", { style: `background:${heat(value)};color:#fff`, title: `${title} ${number(value)}` }, number(value, 0));
      })))))));
  })) : null;
}

function curves(names) {
  const having = names.filter((name) => DATA.experiments[name].curve);
  if (!having.length) return null;
  const line = (series, title) => {
    const sets = having.filter((name) => DATA.experiments[name].curve[series].length).map((name, index) => ({
      label: name, data: DATA.experiments[name].curve[series].map(([x, y]) => ({ x, y })), borderColor: COLOURS[index % COLOURS.length],
      backgroundColor: COLOURS[index % COLOURS.length], borderWidth: 1.6, pointRadius: series === "loss" ? 0 : 2,
    }));
    return sets.length ? plot({ type: "line", data: { datasets: sets }, options: { parsing: false, interaction: { mode: "nearest", axis: "x", intersect: false },
      plugins: { legend: { display: sets.length > 1 && sets.length < 9 } },
      scales: { x: { type: "linear", title: { display: true, text: "iteration" } }, y: { title: { display: true, text: title } } } } }, title) : null;
  };
  return el("section", { id: "curves" }, el("h2", {}, "Learning curves"), el("div", { class: "grid" }, line("loss", "training loss"), line("val_mIoU", "validation mIoU, %")));
}

function overview() {
  const counts = VERDICTS.map((name) => el("div", { class: "card" }, el("div", { class: "big" }, String(DATA.rows.filter((row) => row.verdict === name).length)), verdict(name)));
  return [el("p", {}, DATA.headline + "."), el("p", { class: "soft" }, DATA.summary), el("div", { class: "cards" }, counts), results(), scatter(), classes(), curves(DATA.measured)];
}

// ---- one experiment ----------------------------------------------------------------------------------------

function confusion(matrix) {
  return el("section", { id: "confusion" }, el("h2", {}, "Confusion matrix"), el("p", { class: "soft" }, "Rows: what it is, columns: what was predicted, percent of the row."),
    el("div", { class: "scroll", tabindex: "0" }, el("table", { class: "heat" },
      el("thead", {}, el("tr", {}, el("th", {}), matrix.classes.map((name) => el("th", { scope: "col" }, el("span", {}, name))))),
      el("tbody", {}, matrix.percent.map((row, index) => el("tr", {}, el("th", { scope: "row" }, matrix.classes[index]), row.map((value, column) =>
        el("td", { style: `background:color-mix(in srgb, ${index === column ? "var(--good)" : "var(--bad)"} ${Math.round(value)}%, transparent)` }, value >= 0.5 ? value.toFixed(0) : "")))))))); 
}

function facts(title, values, id) {
  const entries = Object.entries(values);
  return entries.length ? el("section", { id }, el("h2", {}, title), el("dl", {}, entries.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(typeof value === "number" ? +value.toPrecision(6) : value))]))) : null;
}

function metrics(one) {
  return el("div", { class: "scroll" }, one.interval ? el("p", { class: "soft" }, "Interval: " + one.interval) : null, el("table", {}, el("thead", {}, el("tr", {}, ["metric", "measured", "95 % interval", "published"].map((title, index) => el("th", { scope: "col", class: index ? "n" : "" }, title)))),
    el("tbody", {}, Object.entries(one.metrics).map(([name, value]) => {
      const interval = one.intervals[name], printed = one.published[name];
      return el("tr", {}, el("td", {}, name), el("td", { class: "n" }, number(value)),
        el("td", { class: "n" }, interval ? number(interval[0]) + " to " + number(interval[1]) : ""), el("td", { class: "n" }, printed === undefined ? "" : String(printed)));
    }).concat(Object.entries(one.undefined).map(([name, why]) => el("tr", {}, el("td", {}, name), el("td", { colspan: "3" }, "undefined: " + why)))))));
}

function bars(per_class) {
  const names = Object.keys(per_class).filter((name) => per_class[name] !== null);
  if (!names.length) return null;
  const box = plot({ type: "bar", data: { labels: names, datasets: [{ data: names.map((name) => per_class[name]), backgroundColor: names.map((name) => heat(per_class[name])) }] },
    options: { indexAxis: "y", plugins: { legend: { display: false } }, scales: { x: { min: 0, max: 100, title: { display: true, text: "IoU, %" } } } } }, "IoU of every class");
  box.style.height = Math.max(200, 40 + 22 * names.length) + "px";
  return el("section", {}, el("h2", {}, "IoU of every class"), box);
}

function experiment(name) {
  const one = DATA.experiments[name];
  if (!one) return [el("h2", {}, "No experiment " + name), el("p", {}, el("a", { href: "#/" }, "all results"))];
  const head = [el("h2", {}, name, " ", verdict(one.verdict)), el("p", { class: "soft" }, one.about)];
  if (!one.metrics) return [...head, el("p", {}, one.missing + ": ", el("code", {}, one.next)), facts("Parameters", one.params, "params")];
  const gallery = one.gallery.length ? el("section", { id: "gallery" }, el("h2", {}, "Predictions"), el("p", { class: "soft" }, "Image, truth, prediction."),
    el("div", { class: "gallery" }, one.gallery.map((picture, index) => el("img", { src: picture, loading: "lazy", alt: "image, truth and prediction " + (index + 1) })))) : null;
  return [...head, metrics(one), one.notes.length ? el("ul", {}, one.notes.map((note) => el("li", {}, note))) : null, bars(one.per_class), curves([name]),
    one.confusion ? confusion(one.confusion) : null, gallery, facts("Cost", one.cost, "cost"), facts("Parameters", one.params, "params"), facts("Provenance", one.provenance, "provenance")];
}

// ---- pages -------------------------------------------------------------------------------------------------

function show() {
  charts.forEach((chart) => chart.destroy());
  charts = [];
  const match = location.hash.match(/^#\/experiment\/(.+)$/);
  main.replaceChildren(...(match ? experiment(decodeURIComponent(match[1])) : overview()).filter(Boolean));
  document.title = match ? decodeURIComponent(match[1]) : "DeepLab results: published and measured";
  document.getElementById("nav").replaceChildren(
    ...(match ? [el("a", { href: "#/" }, "all results")] : [["results", "Results"], ["cost", "Cost"], ["classes", "Classes"], ["curves", "Curves"]]
      .filter(([id]) => document.getElementById(id))
      .map(([id, title]) => el("button", { type: "button", onclick: () => document.getElementById(id).scrollIntoView({ behavior: "smooth" }) }, title))),
    el("button", { type: "button", "aria-label": "light or dark", onclick: () => {
      const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      document.documentElement.dataset.theme = dark ? "light" : "dark";
      show();
    } }, "◐"));
  scrollTo(0, 0);
}
addEventListener("hashchange", show);
show();
