// The canvas of a feature map: points to click, rest on, or step through with the
// arrow keys. Python holds the state; this draws it and says which point was chosen.

const NEAR = 14; // pixels between pointer and point, at most
const REST = 180; // milliseconds on a point that count as choosing it
const STEPS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

// The markers of course.plots, each as a path of radius 1; the first is a circle.
const polygon = (...corners) => (pen) =>
  corners.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
const spokes = (turn) => {
  const cross = [[0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35],
    [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35],
    [-0.35, -1]];
  const [c, s] = [Math.cos(turn), Math.sin(turn)];
  return polygon(...cross.map(([x, y]) => [c * x - s * y, s * x + c * y]));
};
const star = [...Array(10).keys()].map((i) => {
  const [r, turn] = [i % 2 ? 0.45 : 1.2, (i * Math.PI) / 5];
  return [r * Math.sin(turn), -r * Math.cos(turn)];
});
const MARKERS = {
  o: (pen) => pen.arc(0, 0, 1, 0, 2 * Math.PI),
  s: polygon([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]),
  "^": polygon([0, -1.1], [1.1, 0.9], [-1.1, 0.9]),
  D: polygon([0, -1.25], [1.05, 0], [0, 1.25], [-1.05, 0]),
  v: polygon([0, 1.1], [1.1, -0.9], [-1.1, -0.9]),
  P: spokes(0),
  X: spokes(Math.PI / 4),
  "*": polygon(...star),
};

function mark(pen, x, y, radius, sign, shade) {
  pen.save();
  pen.translate(x, y);
  pen.scale(radius, radius);
  pen.beginPath();
  (MARKERS[sign] ?? MARKERS.o)(pen);
  pen.closePath();
  pen.fillStyle = shade;
  pen.fill();
  pen.restore();
}

function ring(pen, [x, y], radius, width, ink) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.lineWidth = width;
  pen.strokeStyle = ink;
  pen.stroke();
}

// Fit the canvas to its element at the screen's own resolution; return pen and size.
function fit(canvas, wide, high) {
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${high}px`;
  canvas.width = Math.round(wide * scale);
  canvas.height = Math.round(high * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  return pen;
}

function render({ model, el }) {
  const box = document.createElement("div");
  const canvas = document.createElement("canvas");
  const legend = document.createElement("div");
  box.className = "course-map";
  legend.className = "course-map-legend";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("data-lm-suppress-shortcuts", "true"); // the arrows are ours
  box.append(canvas, legend);
  el.append(box);
  let places = []; // of the points, in pixels
  let hovered = -1;
  let timer = 0;
  let drawn = 0; // the width of the last drawing

  const ink = () => getComputedStyle(box).color;
  const shadeOf = (kind) => {
    const shade = model.get("colours")[kind];
    return shade === "#000000" ? ink() : shade; // black would be lost on a dark page
  };
  const signOf = (kind) => model.get("markers")[kind];
  const open = (i) => [-1, model.get("kinds")[i]].includes(model.get("shown"));

  function draw() {
    drawn = canvas.clientWidth;
    const wide = Math.max(drawn, 120);
    const high = Math.round(Math.min(Math.max(0.62 * wide, 200), 420));
    const pen = fit(canvas, wide, high);
    const [left, top] = [16, 16];
    const flat = model.get("points");
    const kinds = model.get("kinds");
    places = kinds.map((_, i) => [
      left + flat[2 * i] * (wide - 2 * left),
      top + (1 - flat[2 * i + 1]) * (high - 2 * top),
    ]);
    const radius = kinds.length > 600 ? 3 : wide < 420 ? 3.6 : 4.6;
    kinds.forEach((kind, i) => {
      pen.globalAlpha = open(i) ? 0.85 : 0.12;
      mark(pen, ...places[i], radius, signOf(kind), shadeOf(kind));
    });
    pen.globalAlpha = 1;
    const chosen = model.get("chosen");
    if (places[chosen]) drawChosen(pen, chosen, radius);
    if (hovered >= 0 && open(hovered)) drawName(pen, hovered, wide);
  }

  function drawChosen(pen, chosen, radius) {
    const linked = model.get("linked").filter((i) => places[i]);
    for (const i of linked) {
      pen.beginPath();
      pen.moveTo(...places[chosen]);
      pen.lineTo(...places[i]);
      pen.lineWidth = 1.4;
      pen.strokeStyle = ink();
      pen.stroke();
    }
    for (const i of [...linked, chosen]) {
      const kind = model.get("kinds")[i];
      mark(pen, ...places[i], radius + 1.5, signOf(kind), shadeOf(kind));
      ring(pen, places[i], i === chosen ? 12 : 8.5, i === chosen ? 3 : 1.4, ink());
    }
  }

  function drawName(pen, i, wide) {
    const name = model.get("classes")[model.get("kinds")[i]];
    const [x, y] = places[i];
    pen.font = "13px sans-serif";
    const room = pen.measureText(name).width + 10;
    const at = x + room + 10 > wide ? x - room - 8 : x + 10;
    pen.fillStyle = ink();
    pen.fillRect(at, y - 11, room, 21);
    pen.fillStyle = getComputedStyle(box).getPropertyValue("--paper") || "white";
    pen.fillText(name, at + 5, y + 4);
  }

  function explain() {
    canvas.setAttribute("aria-label", model.get("label"));
    legend.replaceChildren(
      ...model.get("classes").map((name, kind) => {
        const item = document.createElement("span");
        const sample = document.createElement("canvas");
        sample.style.width = "14px";
        sample.setAttribute("aria-hidden", "true");
        mark(fit(sample, 14, 14), 7, 7, 5, signOf(kind), shadeOf(kind));
        item.append(sample, name);
        return item;
      }),
    );
  }

  function nearest(event) {
    const frame = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let [best, least] = [-1, NEAR];
    places.forEach(([px, py], i) => {
      const gap = Math.hypot(px - x, py - y);
      if (gap < least && open(i)) [best, least] = [i, gap];
    });
    return best;
  }

  function choose(i) {
    if (i < 0 || i === model.get("chosen")) return;
    model.set("chosen", i);
    model.save_changes();
  }

  function hover(i) {
    if (i === hovered) return;
    hovered = i;
    canvas.style.cursor = i < 0 ? "default" : "pointer";
    clearTimeout(timer);
    if (i >= 0) timer = setTimeout(() => choose(i), REST);
    draw();
  }

  // The nearest point in that direction, where what lies aside counts double.
  function step([dx, dy]) {
    const from = places[model.get("chosen")];
    let [best, least] = [-1, Infinity];
    places.forEach(([x, y], i) => {
      const ahead = (x - from[0]) * dx + (y - from[1]) * dy;
      const aside = Math.abs((x - from[0]) * dy) + Math.abs((y - from[1]) * dx);
      const cost = ahead + 2 * aside;
      if (ahead > 0 && cost < least && open(i)) [best, least] = [i, cost];
    });
    choose(best);
  }

  const redraw = () => {
    explain();
    draw();
  };
  canvas.addEventListener("pointermove", (e) => hover(nearest(e)));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("click", (e) => choose(nearest(e)));
  canvas.addEventListener("keydown", (e) => {
    if (!(e.key in STEPS)) return;
    e.preventDefault();
    step(STEPS[e.key]);
  });
  const size = new ResizeObserver(() => {
    if (canvas.clientWidth !== drawn) requestAnimationFrame(draw);
  });
  size.observe(canvas);
  const theme = new MutationObserver(redraw); // light or dark was chosen
  theme.observe(document.body, { attributes: true });
  model.on("change", redraw);
  redraw();
  return () => {
    clearTimeout(timer);
    size.disconnect();
    theme.disconnect();
    model.off("change", redraw);
  };
}

export default { render };
