// The stage of the scene builder: a picture to click shapes into, with a cross that the
// arrow keys move. Python holds the scene; this says where something is to be put.

const NS = "http://www.w3.org/2000/svg";
const STEP = 4; // pixels of the scene for an arrow key; one with Shift
const MOVES = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const ADD = ["Enter", " "];
const UNDO = ["Backspace", "Delete"];

function drawn(kind, name, parent) {
  const node = document.createElementNS(NS, kind);
  node.setAttribute("class", name);
  parent.append(node);
  return node;
}

function put(node, values) {
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
}

function render({ model, el }) {
  const stage = document.createElement("div");
  const image = document.createElement("img");
  const place = document.createElement("div");
  stage.className = "course-scene";
  stage.tabIndex = 0;
  // A screen reader passes arrow keys on only to an application.
  stage.setAttribute("role", "application");
  stage.setAttribute("data-lm-suppress-shortcuts", "true"); // these keys are ours
  image.draggable = false;
  place.className = "course-scene-place";
  place.setAttribute("aria-live", "polite");
  stage.append(image);
  const marks = drawn("svg", "course-scene-marks", stage);
  marks.setAttribute("aria-hidden", "true");
  // Each line twice, light on dark: it is seen on every background.
  const twice = (kind) =>
    ["under", "over"].map((name) => drawn(kind, `course-scene-${name}`, marks));
  const [ghosts, crosses] = [twice("circle"), twice("path")];
  el.append(stage, place);
  let address = "";
  let pointer = null; // where the mouse is, in pixels of the scene
  let added = false; // just now: the circle of the next shape would hide the last

  const side = () => model.get("side");
  const inside = (value) => Math.min(Math.max(value, 0), side() - 1);

  function show() {
    const view = model.get("picture");
    if (!view || !view.byteLength) return;
    const old = address;
    address = URL.createObjectURL(new Blob([view], { type: "image/png" }));
    image.onload = () => old && URL.revokeObjectURL(old);
    image.src = address;
  }

  function mark() {
    const [x, y] = [model.get("x"), model.get("y")];
    const arm = side() / 20;
    const cross = `M${x - arm} ${y}h${2 * arm}M${x} ${y - arm}v${2 * arm}`;
    const [cx, cy] = pointer ?? [x, y];
    put(marks, { viewBox: `0 0 ${side()} ${side()}` });
    for (const one of crosses) put(one, { d: cross });
    for (const one of ghosts) {
      put(one, { cx, cy, r: model.get("radius") });
      one.toggleAttribute("hidden", added);
    }
  }

  function under(x, y) {
    const on = model.get("objects").findLast(
      (one) => Math.hypot(one.x - x, one.y - y) <= one.size,
    );
    return on ? `on the ${on.name}` : "on no object";
  }

  function tell() {
    const [x, y] = [model.get("x"), model.get("y")];
    stage.setAttribute("aria-label", model.get("label"));
    image.alt = model.get("alt");
    place.textContent = `Cross ${x} from the left, ${y} from the top: ${under(x, y)}.`;
    mark();
  }

  function go(x, y) {
    model.set({ x: inside(Math.round(x)), y: inside(Math.round(y)) });
    model.save_changes();
  }

  function add() {
    added = true;
    mark();
    // With its place: the message may overtake the traits.
    model.send({ act: "add", x: model.get("x"), y: model.get("y") });
  }

  function aim(where) {
    pointer = where;
    added = false;
    mark();
  }

  function at(event) {
    const frame = image.getBoundingClientRect();
    const scale = side() / frame.width;
    return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key];
    const known = move || ADD.includes(event.key) || UNDO.includes(event.key);
    if (!known) return;
    event.preventDefault(); // an arrow or Space would scroll the page
    event.stopPropagation();
    const step = event.shiftKey ? 1 : STEP;
    if (move) {
      aim(null);
      go(model.get("x") + move[0] * step, model.get("y") + move[1] * step);
    } else if (event.repeat) return;
    else if (ADD.includes(event.key)) add();
    else model.send({ act: "undo" });
  }

  // A button that is off loses the focus, and with it the reader's place.
  function rescue() {
    const count = model.get("objects").length;
    if (count > 0 && count < model.get("most")) return;
    const button = document.activeElement?.closest("button");
    if (button && el.closest(".course-panel")?.contains(button)) stage.focus();
  }

  stage.addEventListener("keydown", press);
  stage.addEventListener("click", (event) => {
    stage.focus({ preventScroll: true });
    go(...at(event));
    add();
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") aim(at(event));
  });
  stage.addEventListener("pointerleave", () => {
    pointer = null;
    mark();
  });
  const resized = () => aim(pointer);
  model.on("change:radius", resized);
  model.on("change:objects", rescue);
  model.on("change:picture", show);
  model.on("change", tell);
  show();
  tell();
  return () => {
    if (address) URL.revokeObjectURL(address);
    model.off("change:picture", show);
    model.off("change:radius", resized);
    model.off("change:objects", rescue);
    model.off("change", tell);
  };
}

export default { render };
