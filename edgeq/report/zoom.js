"use strict";
// Adds a button to each drawing that shows it on the whole screen. The page is complete without it.
const box = document.createElement("dialog");
const close = document.createElement("button");
close.type = "button";
close.className = "close";
close.textContent = "Close";
close.addEventListener("click", () => box.close());
box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
box.addEventListener("close", () => box.querySelector("figure")?.remove());
box.append(close);
document.body.append(box);
for (const figure of document.querySelectorAll("figure.zoomable")) {
  const caption = figure.querySelector("figcaption");
  const name = caption.firstElementChild.textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "zoom";
  button.textContent = "⤢";
  button.setAttribute("aria-label", "Enlarge " + name);
  button.addEventListener("click", () => {
    const copy = figure.cloneNode(true);
    copy.querySelector("button.zoom")?.remove();
    box.setAttribute("aria-label", name);
    box.append(copy);
    box.showModal();
  });
  caption.append(button);
}
