// ---- charts ------------------------------------------------------------------------------------------------

let charts = [];

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

const first = (row, ...keys) => keys.map((key) => row[key]).find((value) => !missing(value)) ?? null;
const AXES = {
  params: { title: "parameters, millions", measured: ["params_m", "computed_params_m", "published_params_m"], published: ["published_params_m", "computed_params_m", "params_m"] },
  macs: { title: "GMACs of one image", measured: ["gmacs_conv", "computed_gmacs", "published_gmacs"], published: ["published_gmacs", "computed_gmacs", "gmacs_conv"] },
  latency: { title: "latency, ms", measured: ["latency_ms_p50"], published: ["published_time_ms"] },
};

// Published rows in grey, measured results in the colour of their data set.
function scatter() {
  const axes = Object.entries(AXES).filter(([, axis]) => DATA.rows.some((row) => !missing(row.measured) && first(row, ...axis.measured) !== null));
  if (!axes.length) return null;
  const select = el("select", { "aria-label": "cost" }, axes.map(([key, axis]) => el("option", { value: key }, axis.title)));
  const holder = el("div");
  const draw = () => {
    const axis = AXES[select.value];
    const points = (rows, keys, y) => rows.map((row) => ({ x: first(row, ...keys), y: row[y], name: row.experiment || row.row, row: row.row, experiment: row.experiment })).filter((point) => point.x !== null && !missing(point.y));
    const sets = DATA.datasets.map((name) => ({ label: name, pointRadius: 6, pointHoverRadius: 8,
      data: points(DATA.rows.filter((row) => row.dataset === name && !missing(row.measured)), axis.measured, "measured") })).filter((set) => set.data.length)
      .map((set, index) => ({ ...set, pointStyle: POINTS[index % POINTS.length], backgroundColor: COLOURS[index % COLOURS.length], borderColor: COLOURS[index % COLOURS.length] }));
    const published = { label: "published", pointRadius: 3, pointHoverRadius: 6, pointStyle: "circle", backgroundColor: css("--published"), borderColor: css("--published"),
      data: points(DATA.rows, axis.published, "published"), order: 1 };
    if (published.data.length) sets.push(published);
    const linear = select.value === "latency";
    holder.replaceChildren(plot({ type: "scatter", data: { datasets: sets }, options: {
      scales: { x: { type: linear ? "linear" : "logarithmic", title: { display: true, text: axis.title } }, y: { title: { display: true, text: "mIoU, %" } } },
      plugins: { legend: { labels: { usePointStyle: true } }, tooltip: { callbacks: { label: (item) => `${item.raw.name}: ${number(item.raw.y)} (${item.dataset.label}), ${short(item.raw.x)}` } } },
      onClick: (event, items, chart) => { const hit = items.map((item) => chart.data.datasets[item.datasetIndex].data[item.index]).find((point) => point.experiment); if (hit) location.hash = address(hit.experiment); },
    } }, `mIoU against ${axis.title}: ${sets.map((set) => set.data.length + " " + set.label).join(", ")}; the table above holds the numbers`));
  };
  select.addEventListener("change", draw);
  draw();
  return section("cost", "Accuracy against cost", el("div", { class: "controls" }, select,
    el("span", { class: "soft" }, "Grey: published. Latency is comparable on one device only. A click on a point opens it.")), holder);
}

// 0 % red, 50 % amber, 100 % green, readable on both themes
const heat = (value) => `hsl(${Math.round(value * 1.3)} 62% 30%)`;

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
      scales: { x: { type: "linear", title: { display: true, text: "iteration" } }, y: { title: { display: true, text: title } } } } }, title + " of " + having.join(", ")) : null;
  };
  return section("curves", "Learning curves", el("div", { class: "grid" }, line("loss", "training loss"), line("val_mIoU", "validation mIoU, %")));
}

// IoU per class of one or two experiments.
function bars(names) {
  const classes = Object.keys(DATA.experiments[names[0]].per_class ?? {}).filter((key) => names.some((name) => !missing(DATA.experiments[name].per_class?.[key])));
  if (!classes.length) return null;
  const sets = names.map((name, index) => ({ label: name, data: classes.map((key) => DATA.experiments[name].per_class?.[key] ?? null),
    backgroundColor: names.length > 1 ? COLOURS[index] : classes.map((key) => heat(DATA.experiments[name].per_class[key] ?? 0)) }));
  const box = plot({ type: "bar", data: { labels: classes, datasets: sets },
    options: { indexAxis: "y", plugins: { legend: { display: names.length > 1 } }, scales: { x: { min: 0, max: 100, title: { display: true, text: "IoU, %" } } } } },
  "IoU of " + classes.map((key) => key + " " + names.map((name) => number(DATA.experiments[name].per_class?.[key], 1)).join(" and ")).join(", "));
  box.style.height = Math.max(200, 60 + (14 + 10 * names.length) * classes.length) + "px";
  return section("classes", "IoU per class", box);
}
