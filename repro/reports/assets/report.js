"use strict";
// Draws the report from the JSON in #data. Addresses hold what is shown, so that a link shows the same view:
// "#/?q=camvid&cols=row,measured" the overview, "#/experiment/NAME" one experiment, "#/compare?a=NAME&b=NAME" two.
const DATA = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const VERDICTS = ["reproduced", "improved", "regressed", "holds", "drifted", "incomparable", "unmeasured"];
const COLOURS = ["#3b82f6", "#d97706", "#0d9488", "#c2410c", "#8b5cf6", "#db2777", "#0891b2", "#65a30d", "#a16207", "#64748b"];
const POINTS = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "cross"];  // for eyes that cannot separate the colours
const ERRORS = [["right", "#dee2e8"], ["wrong", "#c81e28"], ["void", "#5a6370"]];

// el("p", {class: "soft"}, "text", child) makes an element; text is never read as markup.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}
const missing = (value) => value === null || value === undefined || value === "";
const number = (value, digits = 2) => (missing(value) ? "" : value.toFixed(digits));
const signed = (value) => (missing(value) ? "" : ((value > 0 ? "+" : "") + value.toFixed(2)).replace(/^[+-](0\.00)$/, "+$1"));
const short = (value) => (typeof value === "number" ? +value.toPrecision(6) : value);
const verdict = (name) => el("span", { class: "verdict " + name }, name);
// a long name may break after an underscore
const breakable = (name) => name.split(/(?<=_)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part]));
const address = (name) => "#/experiment/" + encodeURIComponent(name);
const link = (name) => el("a", { href: address(name) }, breakable(name));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// only addresses of the web and of this page become links, whatever a record or a published page holds
const outside = (text, url) => (url && /^https?:\/\//.test(url) ? el("a", { href: url, rel: "noopener noreferrer" }, text) : text);
const heading = (...children) => el("h2", { tabindex: "-1" }, children);

function section(id, title, ...children) {
  const shown = children.flat(Infinity).filter(Boolean);
  return shown.length ? el("section", { id, "aria-label": title }, el("h2", {}, title), shown) : null;
}

function list(values) {
  const entries = Object.entries(values);
  return entries.length ? el("dl", {}, entries.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Node || Array.isArray(value) ? value : String(short(value)))])) : null;
}

function table(heads, rows, numbers = heads.map((_, index) => index > 0)) {
  return el("div", { class: "scroll facts", tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((title, index) => el("th", { scope: "col", class: numbers[index] ? "n" : null }, breakable(title))))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, index) => el("td", { class: numbers[index] ? "n" : null }, typeof cell === "string" && !numbers[index] ? breakable(cell) : cell)))))));
}

// ---- the address -------------------------------------------------------------------------------------------

function place() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

// Keeps the view in the address without a new entry in the history.
function remember(path, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  const text = query.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", "#" + path + (text ? "?" + text : ""));
}
