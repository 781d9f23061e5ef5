// A place to drop files on, with a button that opens the system's dialogue. It checks
// each file's size and sends one after another; Python says what became of them.

function render({ model, el }) {
  const zone = document.createElement("div");
  const button = document.createElement("button");
  const input = document.createElement("input");
  const words = document.createElement("span");
  zone.className = "course-drop";
  button.type = "button";
  button.className = "course-drop-choose jupyter-widgets jupyter-button widget-button";
  button.textContent = model.get("label");
  button.title = model.get("hint");
  input.type = "file";
  input.multiple = true;
  input.accept = "image/*";
  input.hidden = true;
  const idle = () => (words.textContent = model.get("note"));
  zone.append(button, words, input);
  el.append(zone);
  idle();
  let inside = 0; // dragenter and dragleave come for each element on the way
  let queue = Promise.resolve();
  let alive = true;

  // Resolves once Python has dealt with what was sent.
  const taken = () =>
    new Promise((done) => {
      const seen = () => {
        model.off("change:taken", seen);
        done();
      };
      model.on("change:taken", seen);
    });

  async function send(file, place, count) {
    const about = { name: file.name, size: file.size, place, count };
    let content = null;
    if (file.size > model.get("limit")) about.problem = "large";
    else if (place >= model.get("most")) about.problem = "many";
    else {
      try {
        content = await file.arrayBuffer();
      } catch {
        about.problem = "unreadable"; // a folder, or a file that has gone
      }
    }
    const answered = taken();
    if (content) model.send(about, undefined, [content]);
    else model.send(about);
    await answered;
  }

  async function sendAll(files) {
    zone.setAttribute("aria-busy", "true");
    for (const [place, file] of files.entries()) {
      if (!alive) return;
      words.textContent = `reading ${place + 1} of ${files.length}`;
      await send(file, place, files.length);
      if (place >= model.get("most")) break; // said once
    }
    if (!files.length) model.send({ name: "", size: 0, place: 0, count: 0 });
    idle();
    zone.removeAttribute("aria-busy");
  }

  const take = (files) => {
    const list = [...files]; // now: they are gone once the event is over
    queue = queue.then(() => sendAll(list));
  };
  const light = (on) => zone.classList.toggle("course-drop-over", on);

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files);
    input.value = ""; // the same file once more is a change too
  });
  const here = {
    dragenter: () => light(++inside > 0),
    dragleave: () => light(--inside > 0),
    dragover: () => {},
    drop: (event) => {
      inside = 0;
      light(false);
      take(event.dataTransfer.files);
    },
  };
  // The whole panel takes files: beside the zone the browser would open them itself.
  let panel = null;
  let frame = 0;
  const handle = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].some((kind) => /^Files$|uri-list/.test(kind)))
      return; // a cell or a word that is being moved
    event.preventDefault();
    event.stopPropagation();
    here[event.type](event);
  };
  const attach = () => {
    panel = el.closest(".course-panel");
    if (!panel) return (frame = requestAnimationFrame(attach));
    for (const kind in here) panel.addEventListener(kind, handle);
  };
  attach();
  return () => {
    alive = false;
    cancelAnimationFrame(frame);
    if (panel) for (const kind in here) panel.removeEventListener(kind, handle);
  };
}

export default { render };
