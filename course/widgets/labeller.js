// The stage of the labeller: one picture, and the keys that answer for it. Python holds
// the state; this shows the picture and says which key was pressed for which turn.

const HELD = "select, textarea, input:not([type=file]), summary, a"; // have own keys

function render({ model, el }) {
  const stage = document.createElement("div");
  const image = document.createElement("img");
  const empty = document.createElement("p");
  const name = document.createElement("div");
  const bar = document.createElement("progress");
  stage.className = "course-stage";
  stage.tabIndex = 0;
  // A screen reader passes single letters on only to an application.
  stage.setAttribute("role", "application");
  stage.setAttribute("data-lm-suppress-shortcuts", "true"); // z and Space are ours
  name.className = "course-stage-name";
  bar.className = "course-stage-bar";
  stage.append(image, empty);
  el.append(stage, name, bar);
  let address = "";
  let waiting = false; // for the answer to the last key: no picture is answered unseen
  let panel = null;
  let frame = 0;

  function show() {
    const view = model.get("picture");
    const there = view && view.byteLength > 0;
    image.hidden = !there;
    empty.hidden = there;
    if (there) {
      const old = address;
      address = URL.createObjectURL(new Blob([view], { type: "image/png" }));
      image.onload = () => old && URL.revokeObjectURL(old);
      image.src = address;
    }
  }

  function tell() {
    image.alt = model.get("name");
    empty.textContent = model.get("closing");
    name.textContent = model.get("name");
    stage.setAttribute("aria-label", model.get("label"));
    bar.max = Math.max(model.get("total"), 1);
    bar.value = model.get("done");
    const progress = `${model.get("done")} of ${model.get("total")} labelled`;
    bar.setAttribute("aria-label", progress);
  }

  function press(event) {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey);
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onButton = event.target.closest("button");
    // On a button Space and Enter press it, as everywhere.
    const own = event.target.closest(HELD) || (onButton && [" ", "Enter"].includes(key));
    if (!plain || own || !model.get("wanted").includes(key)) return;
    event.preventDefault(); // Space would scroll the page
    event.stopPropagation();
    if (event.repeat || waiting) return;
    waiting = true;
    model.send({ key, turn: model.get("turn") });
  }

  // Twice in a row on a button would answer for a picture that nobody has seen.
  function click(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (waiting) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    waiting = !button.disabled;
    if (event.detail > 0) stage.focus({ preventScroll: true }); // by mouse: keys go on
  }

  function next() {
    waiting = false;
    const focused = document.activeElement;
    if (focused && focused.disabled && panel.contains(focused)) stage.focus();
  }

  const attach = () => {
    panel = el.closest(".course-panel");
    if (!panel) return (frame = requestAnimationFrame(attach));
    panel.addEventListener("keydown", press);
    panel.addEventListener("click", click, true);
  };
  attach();
  model.on("change:picture", show);
  model.on("change:turn", next);
  model.on("change", tell);
  show();
  tell();
  return () => {
    cancelAnimationFrame(frame);
    if (address) URL.revokeObjectURL(address);
    if (panel) {
      panel.removeEventListener("keydown", press);
      panel.removeEventListener("click", click, true);
    }
    model.off("change:picture", show);
    model.off("change:turn", next);
    model.off("change", tell);
  };
}

export default { render };
