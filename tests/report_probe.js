// Runs inside the report after it has drawn itself; what it finds is read from the dumped document.
addEventListener("load", () => setTimeout(() => {
  const cells = (column) => [...document.querySelectorAll("#results tbody tr")].map((row) => row.children[column].textContent);
  const click = (key) => document.querySelector(`#results th[data-key=${key}] button`).click();
  const found = {};
  found.rows = cells(0).length;
  found.first = cells(1).slice(0, 3);
  found.charts = [...document.querySelectorAll("canvas")].map((canvas) => canvas.width > 0 && !!Chart.getChart(canvas));
  found.colours = Chart.getChart(document.querySelector("#cost canvas")).data.datasets.map((set) => set.backgroundColor);
  const edge = (node) => node.getBoundingClientRect().right;
  found.cut = edge(document.querySelector("#results tbody .verdict")) > edge(document.querySelector("#results .scroll"));
  click("measured"); found.up = cells(4).filter(Boolean).map(Number);
  found.sorted = document.querySelector("#results th[data-key=measured]").getAttribute("aria-sort");
  click("measured"); found.down = cells(4).filter(Boolean).map(Number);
  const search = document.querySelector("input[type=search]");
  search.value = "003-028"; search.dispatchEvent(new Event("input")); found.filtered = cells(0);
  search.value = ""; search.dispatchEvent(new Event("input"));
  document.querySelectorAll(".chip.unmeasured")[0].click(); found.measured = cells(1);
  document.querySelectorAll(".chip.unmeasured")[0].click();
  found.links = [...document.querySelectorAll("#results tbody a")].map((a) => decodeURIComponent(a.hash.replace("#/experiment/", "")));
  found.unknown = found.links.filter((name) => !DATA.experiments[name]);
  found.wide = document.body.scrollWidth > document.body.clientWidth;
  location.hash = "#/experiment/EXPERIMENT";
  setTimeout(() => {
    found.page = main.textContent;
    found.pictures = [...document.querySelectorAll("#gallery img")].map((picture) => picture.src.slice(0, 22));
    found.sections = [...document.querySelectorAll("section[id]")].map((section) => section.id);
    found.errors = errors;
    document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
  }, 50);
}, 50));
