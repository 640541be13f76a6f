"use strict";
// Zoom of the rasters: buttons, and on the picture itself + - 0 and the arrow keys. Without scripts the page is whole.
for (const figure of document.querySelectorAll("figure.raster")) {
  const picture = figure.querySelector("svg"), said = figure.querySelector("output");
  const whole = picture.getAttribute("viewBox").split(" ").map(Number);
  let seen = whole.slice();

  const show = () => {
    for (const [start, size] of [[0, 2], [1, 3]]) {
      seen[size] = Math.min(Math.max(seen[size], Math.min(5, whole[size])), whole[size]);
      seen[start] = Math.min(Math.max(seen[start], whole[start]), whole[start] + whole[size] - seen[size]);
    }
    picture.setAttribute("viewBox", seen.join(" "));
    const [x, y, width, height] = seen.map(Math.round);
    said.textContent = `steps ${x} to ${x + width - 1}, rows ${y} to ${y + height - 1}`;
  };
  const scale = (factor) => {
    const [x, y, width, height] = seen;
    seen = [x + width * (1 - factor) / 2, y + height * (1 - factor) / 2, width * factor, height * factor];
  };
  const move = (right, down) => { seen[0] += right * seen[2] / 4; seen[1] += down * seen[3] / 4; };
  const acts = {
    in: () => scale(0.5),
    out: () => scale(2),
    all: () => { seen = whole.slice(); },
    first: () => {
      const step = Number(picture.dataset.step), row = Number(picture.dataset.row);
      seen = [step - 15, row - 6, 31, 13];
    },
  };
  const keys = {
    "+": acts.in, "=": acts.in, "-": acts.out, "0": acts.all,
    ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
  };
  for (const button of figure.querySelectorAll("button")) {
    button.addEventListener("click", () => { acts[button.dataset.zoom](); show(); });
  }
  picture.addEventListener("keydown", (event) => {
    if (event.key in keys && !event.ctrlKey && !event.metaKey) { keys[event.key](); show(); event.preventDefault(); }
  });
  show();
}
