// The gallery: sorts, filters and opens the run's images. Their pixels lie on one sheet, from which each is drawn; their numbers in
// `gallery-data`. All text goes in as text, so that no name can become markup.
(() => {
  const AT_ONCE = 96; // images that are added at a time
  const ITSELF = -1; // stands for the original where a copy's number would
  const { sheet, measures, classes, transformations, items } = JSON.parse(document.getElementById("gallery-data").textContent);
  const explorer = document.getElementById("explorer");
  const find = (selector) => explorer.querySelector(selector);
  const [thumbs, hint, dialog] = [find(".thumbs"), find(".hint"), find("dialog")];
  const controls = Object.fromEntries([...explorer.querySelectorAll("[data-filter]")].map((control) => [control.dataset.filter, control]));
  const standard = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));
  const pixels = new Image();
  let matching = []; // numbers of the items that pass the filters, in order
  let opened = 0; // the item in the dialog

  // Making elements

  function element(tag, className, text = "") {
    return Object.assign(document.createElement(tag), { className, textContent: text });
  }

  function drawn(number) {
    const canvas = Object.assign(element("canvas", sheet.crisp ? "crisp" : ""), { width: sheet.width, height: sheet.height });
    const [x, y] = [(number % sheet.columns) * sheet.across, Math.floor(number / sheet.columns) * sheet.down];
    canvas.getContext("2d").drawImage(pixels, x, y, sheet.width, sheet.height, 0, 0, sheet.width, sheet.height);
    canvas.setAttribute("aria-hidden", "true");
    return canvas;
  }

  function thumb(number) {
    const [place, button] = [element("li", ""), element("button", "thumb")];
    button.type = "button";
    button.dataset.item = number;
    button.classList.toggle("chosen", items[number].selected);
    button.classList.toggle("flagged", "reasons" in items[number]);
    button.setAttribute("aria-label", [title(number), items[number].origin, state(items[number])].join(", "));
    button.append(drawn(number));
    place.append(button);
    return place;
  }

  // Words

  const kindOf = (item) => (item.copy === ITSELF ? "original" : transformations[item.copy]);
  const title = (number) => `${classes[items[number].label]}: ${kindOf(items[number])}`;
  const state = (item) => (item.selected ? "chosen" : "not chosen") + ("reasons" in item ? ", flagged" : "");

  function written(value, { kind, unit }) {
    if (kind === "share") return `${(100 * value).toFixed(1)} %`;
    const text = kind === "count" ? value.toLocaleString("en") : String(Number(value.toPrecision(3)));
    return text.replace("-", "−") + (unit && ` ${unit}`);
  }

  function numbers(item) {
    const list = element("dl", "numbers");
    for (const measure of measures.filter(({ name }) => name in item)) {
      const row = element("div", "");
      row.append(element("dt", "", measure.title), element("dd", "", written(item[measure.name], measure)));
      list.append(row);
    }
    return list;
  }

  // Filters and order

  function passes(item) {
    const [main, image] = [item[measures[0].name], controls.image.value];
    const [least, most] = [controls.least.valueAsNumber, controls.most.valueAsNumber];
    return (
      (!controls.class.value || item.label === Number(controls.class.value)) &&
      (!image || (image === "copies" ? item.copy !== ITSELF : item.copy === Number(image))) &&
      (!controls.choice.value || item.selected === (controls.choice.value === "yes")) &&
      (!controls.flags?.value || "reasons" in item) &&
      (Number.isNaN(least) || main >= least) &&
      (Number.isNaN(most) || main <= most)
    );
  }

  function byOrder(a, b) {
    const [sign, name] = [controls.order.value[0] === "+" ? 1 : -1, controls.order.value.slice(1)];
    const [x, y] = [items[a][name], items[b][name]];
    if (x === y) return a - b;
    if (x === undefined || y === undefined) return x === undefined ? 1 : -1; // what has no such number comes last
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
  }

  function update() {
    matching = items.map((_, number) => number).filter((number) => passes(items[number])).sort(byOrder);
    hide();
    thumbs.replaceChildren();
    more();
    if (thumbs.firstChild) thumbs.querySelector("button").tabIndex = 0;
  }

  function more() {
    const there = thumbs.children.length;
    thumbs.append(...matching.slice(there, there + AT_ONCE).map(thumb));
    for (const button of [...thumbs.querySelectorAll("button")].slice(there)) button.tabIndex = -1;
    const [shown, all] = [thumbs.children.length, matching.length].map((count) => count.toLocaleString("en"));
    find(".more").hidden = shown === all;
    find(".count").textContent = all === "0" ? "No image matches these filters." : `${shown} of ${all} matching images`;
  }

  function reset() {
    for (const [name, control] of Object.entries(controls)) control.value = standard[name];
    update();
  }

  // Numbers beside the image that the pointer or the focus is on

  function tell(button) {
    const item = items[button.dataset.item];
    hint.replaceChildren(
      element("p", "label", title(button.dataset.item)), element("p", "origin", item.origin), element("p", "badge", state(item)), numbers(item),
    );
    hint.hidden = false;
    find("[aria-describedby='hint']")?.removeAttribute("aria-describedby");
    button.setAttribute("aria-describedby", "hint");
    put();
  }

  function put() {
    const button = find("[aria-describedby='hint']");
    if (!button) return;
    const [box, own] = [button.getBoundingClientRect(), hint.getBoundingClientRect()];
    const below = box.bottom + own.height + 16 < innerHeight;
    hint.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - own.width - 8))}px`;
    hint.style.top = `${Math.max(8, below ? box.bottom + 8 : box.top - own.height - 8)}px`;
  }

  function hide() {
    hint.hidden = true;
    find("[aria-describedby='hint']")?.removeAttribute("aria-describedby");
  }

  // The dialog

  function open(number) {
    opened = number;
    const item = items[number];
    hide();
    find("dialog .label").textContent = title(number);
    find("dialog .origin").textContent = item.origin;
    const family = items.map((_, other) => other).filter((other) => items[other].point === item.point);
    const itself = family.find((other) => items[other].copy === ITSELF);
    find(".pair").replaceChildren(...[...new Set([itself, number])].filter((other) => other !== undefined).map(pictured));
    const reasons = (item.reasons ?? []).map((reason) => element("p", "reason", reason));
    find(".facts-of-it").replaceChildren(element("p", "badge", state(item)), ...reasons, numbers(item));
    find(".family").hidden = family.length < 2;
    const copies = family.length - 1 === transformations.length ? "all" : family.length - 1;
    find(".family .caption").textContent = `The original and ${copies} of its ${transformations.length} copies`;
    find(".family .thumbs").replaceChildren(...family.map(thumb));
    find(`.family [data-item="${number}"]`).setAttribute("aria-current", "true");
    if (!dialog.open) dialog.showModal();
  }

  function pictured(number) {
    const figure = element("figure", "");
    figure.append(drawn(number), element("figcaption", "", kindOf(items[number])));
    return figure;
  }

  function turn(step) {
    const place = matching.indexOf(opened) + step;
    if (matching[place] !== undefined) open(matching[place]);
  }

  // Keys and pointers

  const KEYS = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: perRow, ArrowUp: () => -perRow(), Home: () => -Infinity, End: () => Infinity };

  function perRow() {
    const top = thumbs.firstChild.offsetTop;
    const count = [...thumbs.children].findIndex((place) => place.offsetTop !== top);
    return count === -1 ? thumbs.children.length : count;
  }

  function move(event) {
    if (event.key === "Escape") hide();
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    const buttons = [...thumbs.querySelectorAll("button")];
    const place = Math.max(0, Math.min(buttons.indexOf(event.target) + KEYS[event.key](), buttons.length - 1));
    buttons[place].focus();
  }

  function settle(button) {
    for (const other of thumbs.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    button.tabIndex = 0;
  }

  const thumbOf = (event) => event.target.closest(".thumb");
  thumbs.addEventListener("keydown", move);
  thumbs.addEventListener("focusin", (event) => {
    settle(thumbOf(event));
    if (event.target.matches(":focus-visible")) tell(thumbOf(event));
  });
  thumbs.addEventListener("focusout", hide);
  thumbs.addEventListener("pointerover", (event) => event.pointerType === "mouse" && thumbOf(event) && tell(thumbOf(event)));
  thumbs.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", put, { passive: true });
  explorer.addEventListener("click", (event) => thumbOf(event) && open(Number(thumbOf(event).dataset.item)));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") turn(1);
    if (event.key === "ArrowLeft") turn(-1);
  });
  find(".previous").addEventListener("click", () => turn(-1));
  find(".next").addEventListener("click", () => turn(1));
  find(".close").addEventListener("click", () => dialog.close());
  find(".more").addEventListener("click", more);
  find(".reset").addEventListener("click", reset);
  find(".controls").addEventListener("input", update);
  document.addEventListener("cell", ({ detail }) => {
    reset();
    controls.class.value = classes.indexOf(detail.class);
    controls.image.value = transformations.indexOf(detail.transformation);
    controls.choice.value = detail.chosen ? "yes" : "";
    update();
    explorer.scrollIntoView();
  });
  pixels.src = sheet.source;
  pixels.decode().then(update, () => {
    find(".count").textContent = "The images could not be read; the files of the run hold their numbers.";
  });
})();
