// Draws each chart of the page from the specification that stands beside it. Expressions are interpreted (`ast`), so that the page's
// content-security policy can forbid code that is made at run time; styles come from the page's own style sheet.
const options = {
  actions: false,
  ast: true,
  defaultStyle: false,
  renderer: "svg",
  tooltip: { theme: "page", disableDefaultStyle: true },
};

for (const place of document.querySelectorAll("[data-chart]")) {
  const specification = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, specification, options).catch((error) => {
    place.textContent = `This chart could not be drawn (${error.message}); the tables hold its numbers.`;
    console.error(error);
  });
}
