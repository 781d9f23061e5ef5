const slides = [...document.querySelectorAll("section")];
const count = document.getElementById("count");
let now = 0;
function show(place, focus) {
  now = Math.max(0, Math.min(slides.length - 1, place));
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now));
  count.textContent = `${now + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${now + 1}`);
  slides[now].scrollTop = 0;
  if (focus) slides[now].focus({preventScroll: true});
}
const from_address = () => show((parseInt(location.hash.slice(1)) || 1) - 1);
const steps = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1};
document.addEventListener("keydown", (event) => {
  const held = event.altKey || event.ctrlKey || event.metaKey;
  const wide = event.target.closest?.("pre");
  if (held || (wide && event.key.startsWith("Arrow"))) return;
  if (event.key in steps) show(now + steps[event.key], true);
  else if (event.key === "Home") show(0, true);
  else if (event.key === "End") show(slides.length - 1, true);
  else return;
  event.preventDefault();
});
document.getElementById("back").addEventListener("click", () => show(now - 1));
document.getElementById("next").addEventListener("click", () => show(now + 1));
addEventListener("hashchange", from_address);
document.documentElement.classList.add("deck");
from_address();
