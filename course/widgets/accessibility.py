"""What ipywidgets leaves out: names for who hears a page, room, and both themes."""

from __future__ import annotations

import anywidget

MEND = """
function mend(panel) {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const label = (box) => box.querySelector(".widget-label");
    let box = handle; // up to its own label, not to that of a slider beside it
    while (box !== panel && !label(box)) box = box.parentElement;
    handle.setAttribute("aria-label", label(box)?.textContent ?? "");
  }
  for (const image of panel.querySelectorAll("img.jupyter-widgets")) {
    if (image.alt !== image.title) image.alt = image.title;
  }
  for (const words of panel.querySelectorAll(".course-words")) {
    words.setAttribute("aria-live", "polite");
  }
  // Otherwise JupyterLab takes their keys: an arrow in a menu goes to the next cell and
  // an "a" inserts one. It asks the focused element itself, not what is around it.
  for (const one of panel.querySelectorAll("button, input, select, .noUi-handle")) {
    one.setAttribute("data-lm-suppress-shortcuts", "true");
  }
}

function render({ el }) {
  let watch, frame;
  el.style.display = "none";
  const start = () => {
    const panel = el.closest(".course-panel");
    if (!panel) return (frame = requestAnimationFrame(start));
    mend(panel);
    watch = new MutationObserver(() => mend(panel));
    const what = { childList: true, subtree: true };
    watch.observe(panel, { ...what, attributes: true, attributeFilter: ["title"] });
  };
  start();
  return () => {
    cancelAnimationFrame(frame);
    if (watch) watch.disconnect();
  };
}

export default { render };
"""


# Long options of a poll wrap; a slider's handle, the focus and a menu's arrow can be
# seen in both themes. Colours are the theme's own.
LOOKS = """
.course-panel .widget-radio-box label {
  display: flex; height: auto; line-height: 1.4; padding: 3px 0; white-space: normal;
}
.course-panel .widget-radio-box input { flex: none; order: -1; }
.course-panel .widget-html-content { line-height: 1.4; }
.course-panel .noUi-handle {
  background: var(--jp-brand-color1); border-color: var(--jp-brand-color1);
}
.course-panel :focus-visible {
  outline: 2px solid var(--jp-brand-color1); outline-offset: 2px;
}
.course-words .widget-html-content {
  min-width: 0; max-width: 100%; overflow-wrap: anywhere;
}
.course-words pre { overflow-x: auto; white-space: pre; }
[data-jp-theme-light="false"] .course-panel select {
  background-image: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
viewBox='0 0 18 18'%3E%3Cpath fill='%23fff' d='M5 7l4 4 4-4-1-1-3 3-3-3z'/%3E\
%3C/svg%3E");
}
"""


class Accessibility(anywidget.AnyWidget):
    """An unseen part of each panel that completes its names and its looks.

    A slider's handle gets its label as its name, a picture its description as a real
    alt, and the line below it is announced when it changes. Without it the panel works
    all the same.
    """

    _esm = MEND
    _css = LOOKS
