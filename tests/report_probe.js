// Runs inside the report after it has drawn itself; what it finds is read from the dumped document.
addEventListener("load", () => setTimeout(() => {
  const found = {};
  const cells = (key) => [...document.querySelectorAll(`#results tbody td[data-key=${key}]`)].map((cell) => cell.textContent);
  const click = (key) => document.querySelector(`#results th[data-key=${key}] button`).click();
  const heads = () => [...document.querySelectorAll("#results th")].map((head) => head.dataset.key);
  const edge = (node) => node.getBoundingClientRect().right;
  const sections = () => [...document.querySelectorAll("section[id]")].map((section) => section.id);
  const wide = () => document.body.scrollWidth > document.body.clientWidth;
  const steps = [
    () => {
      found.rows = cells("experiment").length;
      found.first = cells("experiment").slice(0, 3);
      found.heads = heads();
      found.points = document.querySelectorAll("#plots-of-results circle").length;
      found.charts = [...document.querySelectorAll("canvas")].map((canvas) => canvas.width > 0 && !!Chart.getChart(canvas));
      found.sets = Chart.getChart(document.querySelector("#cost canvas")).data.datasets.map((set) => [set.label, set.backgroundColor]);
      found.cut = edge(document.querySelector("#results tbody .verdict")) > edge(document.querySelector("#results .scroll"));
      click("measured"); found.up = cells("measured").filter(Boolean).map(Number);
      found.sorted = document.querySelector("#results th[data-key=measured]").getAttribute("aria-sort");
      click("measured"); found.down = cells("measured").filter(Boolean).map(Number);
      document.querySelector(".chip.unmeasured").click(); found.measured = cells("experiment");
      found.address = location.hash;
      document.querySelector(".chip.unmeasured").click();
      found.links = [...document.querySelectorAll("#results tbody a")].map((a) => decodeURIComponent(a.hash.replace("#/experiment/", "")));
      found.unknown = found.links.filter((name) => !DATA.experiments[name]);
      found.wide = wide();
      found.unsafe = ["javascript:alert(1)", "data:text/html,x", " https://x"].map((url) => typeof outside("text", url));
      location.hash = "#/?q=003-028&dataset=camvid&cols=row,measured&sort=-measured";
    },
    () => {
      found.shared = { heads: heads(), rows: cells("row"), text: document.querySelector("input[type=search]").value, sorted: document.querySelector("th[aria-sort]").dataset.key };
      document.querySelector("details.columns").open = true;
    },
    () => {
      document.querySelector("details.columns input[value=verdict]").click();
      found.chosen = new URLSearchParams(location.hash.split("?")[1]).get("cols");
      location.hash = "#/experiment/EXPERIMENT";
    },
    () => {
      found.page = main.textContent;
      found.images = [...document.querySelectorAll("#gallery img")].map((image) => [image.src.slice(0, 22), image.alt]);
      found.sections = sections();
      found.page_wide = wide();
      location.hash = "#/experiment/new_one";
    },
    () => { found.unmeasured = main.textContent; location.hash = "#/compare?a=camvid_a&b=camvid_b"; },
    () => { found.compared = main.textContent; found.compared_sections = sections(); found.compare_wide = wide();
      const select = main.querySelectorAll("select")[1]; select.value = "synthetic_a"; select.dispatchEvent(new Event("change")); },
    () => { found.compare_address = location.hash; found.warned = main.textContent.includes("not comparable"); location.hash = "#/"; },
    () => { found.errors = errors; document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) })); },
  ];
  const run = () => { steps.shift()(); if (steps.length) setTimeout(run, 50); };
  run();
}, 50));
