// ---- one experiment ----------------------------------------------------------------------------------------

function confusion(matrix) {
  return section("confusion", "Confusion matrix", el("p", { class: "soft" }, "Rows: actual class, columns: predicted class, percent of the row."),
    el("div", { class: "scroll", tabindex: "0", "aria-label": "confusion matrix" }, el("table", { class: "heat" },
      el("thead", {}, el("tr", {}, el("th", {}), matrix.classes.map((name) => el("th", { scope: "col" }, el("span", {}, name))))),
      el("tbody", {}, matrix.percent.map((row, index) => el("tr", {}, el("th", { scope: "row" }, matrix.classes[index]), row.map((value, column) =>
        el("td", { style: `background:color-mix(in srgb, ${index === column ? "var(--good)" : "var(--bad)"} ${Math.round(value * 0.55)}%, transparent)`,
          title: `${matrix.classes[index]} predicted as ${matrix.classes[column]}: ${value} %` }, value >= 0.5 ? value.toFixed(0) : ""))))))));
}

function metrics(one) {
  const rows = Object.entries(one.metrics).map(([name, value]) => {
    const interval = one.intervals[name], printed = one.published[name];
    return [name, number(value), interval ? number(interval[0]) + " to " + number(interval[1]) : "", printed === undefined ? "" : String(printed), printed === undefined ? "" : signed(value - printed)];
  });
  const undefined_ = Object.entries(one.undefined).map(([name, why]) => [name, "undefined", why, "", ""]);
  return section("metrics", "Measured", table(["metric", "measured", "95 % interval", "published", "gap"], [...rows, ...undefined_]),
    one.interval ? el("p", { class: "soft" }, "Percent. Interval: " + one.interval) : el("p", { class: "soft" }, "Percent."));
}

const swatches = (pairs) => el("ul", { class: "legend", "aria-label": "legend" }, pairs.map(([name, colour]) => el("li", {}, el("i", { style: "background:" + colour }), name)));

function images(gallery) {
  if (!gallery?.length) return null;
  const figure = (picture) => el("div", { class: picture.parts.length > 1 ? "figures" : "figures one" }, picture.parts.map(([title, source]) =>
    el("figure", {}, el("img", { src: source, loading: "lazy", alt: `${title} of ${picture.name}` }), el("figcaption", {}, title))));
  const legend = [...new Map(gallery.flatMap((picture) => picture.legend)).entries()];
  return section("gallery", "Predictions", legend.length ? swatches(legend) : null,
    gallery.some((picture) => picture.parts.some(([title]) => title.includes("errors"))) ? swatches(ERRORS.map(([name, colour]) => ["errors: " + name, colour])) : null, gallery.map(figure));
}

function printed(row) {
  const links = row.weights.map(([text, url, state]) => el("li", {}, outside(text, url), state ? el("span", { class: "soft" }, " (" + state + ")") : null));
  return el("div", { class: "box" }, el("h3", {}, "Row ", row.id, ": ", row.label),
    el("p", {}, outside(row.page, row.url), row.papers.map(([title, url]) => [" · ", outside(title, url)])),
    list(Object.fromEntries(Object.entries(row.printed).map(([name, value]) => [name.replaceAll("_", " "), String(value)]))),
    Object.keys(row.about).length ? el("details", {}, el("summary", {}, "as the page says"), list(row.about)) : null,
    row.remarks.length ? el("details", {}, el("summary", {}, row.remarks.length + " remarks"), el("ul", {}, row.remarks.map((text) => el("li", {}, text)))) : null,
    links.length ? [el("h3", {}, "Its links"), el("ul", {}, links)] : null);
}

function needs(one) {
  const data = one.data.title ? { "data set": [outside(one.data.title, /^https?:/.test(one.data.page ?? "") ? one.data.page : null)], licence: one.data.licence } : { "data set": one.dataset };
  if (one.missing) data.missing = ["the data: ", el("code", {}, one.missing)];
  return el("div", { class: "box" }, el("h3", {}, "To run it"), el("p", {}, el("code", {}, one.next)), list({ ...data, ...one.estimates }),
    one.estimates["hours on one GPU"] ? el("p", { class: "soft" }, "Estimates: hours at 0.3 of the data sheet's peak, without validation; memory of one GPU.") : null,
    Object.keys(one.network).length ? [el("h3", {}, "Its network"), list(one.network)] : null,
    el("h3", {}, "Files"), el("ul", {}, one.links.map(([text, url]) => el("li", {}, outside(breakable(text), url)))));
}

const full = (one) => (Object.keys(one.own).length ? { ...(DATA.recipes[one.recipe] ?? {}), ...one.own } : one.params ?? {});

function params(one) {
  const all = one.params ?? full(one);
  return section("params", "Parameters", one.recipe ? el("p", {}, "What differs from the recipe ", el("code", {}, one.recipe), ":") : null, list(one.own),
    Object.keys(all).length ? el("details", {}, el("summary", {}, `all ${Object.keys(all).length} parameters`), list(all)) : null);
}

function folded(id, name, values) {
  return values && Object.keys(values).length ? el("section", { id }, el("details", {}, el("summary", {}, el("b", {}, name)), list(values))) : null;
}

function experiment(name) {
  const one = DATA.experiments[name];
  if (!one) return [heading("No experiment " + name), el("p", {}, el("a", { href: "#/" }, "all results"))];
  const head = [heading(breakable(name), " ", verdict(one.verdict)), one.tier ? el("p", { class: "soft" }, "evidence: " + one.tier) : null, one.note ? el("p", {}, one.note) : null, one.about ? el("p", { class: "soft" }, one.about) : null,
    one.state ? el("p", {}, one.state + ".") : null];
  const facts = el("div", { class: "grid" }, one.rows.map(printed), needs(one));
  const rest = one.metrics ? [metrics(one), one.notes.length ? el("ul", {}, one.notes.map((note) => el("li", {}, note))) : null, facts, bars([name]), images(one.gallery), curves([name]),
    one.confusion ? confusion(one.confusion) : null] : [facts];
  return [...head, ...rest, params(one), folded("cost-of-one", "Cost", one.cost), folded("provenance", "Provenance", one.provenance)];
}
