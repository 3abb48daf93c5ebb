// ---- two experiments side by side --------------------------------------------------------------------------

function differing(a, b) {
  const [left, right] = [full(a), full(b)];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].filter((key) => !/^expect\./.test(key) && String(left[key] ?? "") !== String(right[key] ?? ""))
    .map((key) => [key, String(left[key] ?? "–"), String(right[key] ?? "–")]);
}

function comparedMetrics(a, b) {
  const keys = [...new Set([...Object.keys(a.metrics ?? {}), ...Object.keys(b.metrics ?? {})])];
  return keys.map((key) => [key, number(a.metrics?.[key]), number(b.metrics?.[key]), a.metrics?.[key] === undefined || b.metrics?.[key] === undefined ? "" : signed(b.metrics[key] - a.metrics[key])]);
}

function comparedClasses(names) {
  const [a, b] = names.map((name) => DATA.experiments[name].per_class ?? {});
  const same = Object.keys(a).length && Object.keys(a).join() === Object.keys(b).join();
  if (!same) return [];
  return [bars(names), table(["class", ...names, "difference"], Object.keys(a).map((key) => [key, number(a[key]), number(b[key]), missing(a[key]) || missing(b[key]) ? "" : signed(b[key] - a[key])]))];
}

function comparedImages(names) {
  const shown = names.map((name) => el("div", {}, el("h3", {}, link(name)), images(DATA.experiments[name].gallery) ?? el("p", { class: "soft" }, "no images")));
  return names.some((name) => DATA.experiments[name].gallery?.length) ? el("div", { class: "grid" }, shown) : null;
}

function compared(names) {
  const [a, b] = names.map((name) => DATA.experiments[name]);
  const rows = comparedMetrics(a, b), params = differing(a, b);
  const hashes = names.map((name) => DATA.rows.find((row) => row.experiment === name)?.protocol);
  const warn = rows.length && (a.dataset !== b.dataset || hashes[0] !== hashes[1]) ? el("p", { class: "note incomparable" }, "measured under different protocols or data: the numbers are not comparable") : null;
  return [warn, section("metrics", "Metrics", rows.length ? table(["metric", ...names, "difference"], rows) : el("p", { class: "soft" }, "Nothing is measured of either.")),
    params.length ? section("differences", "Parameters that differ", table(["parameter", ...names], params, [false, false, false])) : null,
    ...comparedClasses(names), curves(names.filter((name) => DATA.experiments[name].curve)), comparedImages(names)];
}

function compare() {
  const { query } = place();
  const known = Object.keys(DATA.experiments).sort((x, y) => !!DATA.experiments[y].metrics - !!DATA.experiments[x].metrics || x.localeCompare(y));
  const names = ["a", "b"].map((key, index) => (known.includes(query.get(key)) ? query.get(key) : known[Math.min(index, known.length - 1)]));
  if (!known.length) return [heading("No experiments")];
  const body = el("div");
  const fill = () => {
    remember("/compare", { a: names[0], b: names[1] });
    charts.forEach((chart) => chart.destroy());
    charts = [];
    body.replaceChildren(...compared(names).filter(Boolean));
  };
  const selects = names.map((name, index) => {
    const select = el("select", { "aria-label": index ? "second experiment" : "first experiment", onchange: (event) => { names[index] = event.target.value; fill(); } },
      known.map((key) => el("option", { value: key }, key + (DATA.experiments[key].metrics ? "" : " (unmeasured)"))));
    select.value = name;
    return select;
  });
  fill();
  return [heading("Two experiments side by side"), el("div", { class: "controls" }, selects[0], "and", selects[1]), body];
}
