// Draws each chart of the page from the specification that stands beside it. Expressions are interpreted (`ast`), so that the page's
// content-security policy can forbid code that is made at run time; styles come from the page's own style sheet.
const options = {
  actions: false,
  ast: true,
  defaultStyle: false,
  renderer: "svg",
  tooltip: { theme: "page", disableDefaultStyle: true },
};

// Controls beside a chart set its parameters: a list of what is switched off, or the one choice of several.
function steer(view, chart) {
  const controls = [...document.querySelectorAll(`[data-steers~="${chart}"] input`)];
  function apply() {
    const off = controls.filter((control) => control.type === "checkbox" && !control.checked);
    for (const control of controls) {
      if (control.type === "checkbox") view.signal(control.dataset.signal, off.map((other) => other.value));
      else if (control.checked) view.signal(control.dataset.signal, control.value);
    }
    view.runAsync();
  }
  for (const control of controls) control.addEventListener("input", apply);
}

// A click on a cell of transformation and class is told to the rest of the page.
function report(event, item) {
  const cell = item?.datum ?? {};
  if ("transformation" in cell) document.dispatchEvent(new CustomEvent("cell", { detail: cell }));
}

for (const place of document.querySelectorAll("[data-chart]")) {
  const chart = place.dataset.chart;
  vegaEmbed(place, JSON.parse(document.getElementById(chart).textContent), options)
    .then(({ view }) => {
      steer(view, chart);
      view.addEventListener("click", report);
    })
    .catch((error) => {
      place.textContent = `This chart could not be drawn (${error.message}); the tables hold its numbers.`;
      console.error(error);
    });
}
