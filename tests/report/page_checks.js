// What a page must hold, for tests/report/test_report_in_browser.py; each check returns its faults in words.
"use strict";

// Text that is shown, with the rectangles of its lines.
function shown() {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style, title, .hidden") || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0.5 && box.height > 0.5);
    found.push({ text: node.data.trim(), parent, boxes });
  }
  return found;
}

function overflow() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide in ${root.clientWidth}`);
  for (const { text, parent, boxes } of shown()) {
    const frame = parent.closest("svg, td, th, .card, pre, summary, a, section, header, dialog, body");
    const edge = frame.getBoundingClientRect();
    for (const box of boxes) {
      const low = parent.closest("svg") && (box.top < edge.top - 1 || box.bottom > edge.bottom + 1);
      if (box.left < edge.left - 1 || box.right > edge.right + 1 || low) {
        faults.push(`${text.slice(0, 40)} leaves its ${frame.tagName} ${frame.getAttribute("class") ?? ""}`);
      }
    }
  }
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    const clips = ["hidden", "clip"].includes(style.overflowX) && !element.closest("svg, .hidden");
    if (clips && element.scrollWidth > element.clientWidth) faults.push(`${element.tagName} clips what it holds`);
  }
  return faults;
}

function overlap() {
  const faults = [];
  const groups = new Map();
  for (const item of shown()) {
    const group = item.parent.closest("figure, tr, .tile, nav, header, summary, p") ?? document.body;
    groups.set(group, [...(groups.get(group) ?? []), item]);
  }
  for (const items of groups.values()) {
    for (let i = 0; i < items.length; i++) {
      for (let j = i + 1; j < items.length; j++) {
        for (const a of items[i].boxes) for (const b of items[j].boxes) {
          const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (across > 1 && down > 3) faults.push(`${items[i].text.slice(0, 30)} | ${items[j].text.slice(0, 30)}`);
        }
      }
    }
  }
  return faults;
}

function contrast() {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const cache = new Map();
  const rgba = (color) => {
    if (!cache.has(color)) {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
      cache.set(color, [...context.getImageData(0, 0, 1, 1).data]);
    }
    return cache.get(color);
  };
  const light = ([r, g, b]) => {
    const part = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
      if (color[3] !== 0) throw new Error("a background that is half transparent");
    }
    return [255, 255, 255, 255];
  };
  const worst = new Map();
  for (const { text, parent } of shown()) {
    const style = getComputedStyle(parent);
    const [a, b] = [light(rgba(parent.closest("svg") ? style.fill : style.color)), light(behind(parent))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.set(`${style.color} of ${parent.tagName}.${parent.className}`, `${ratio.toFixed(2)} ${text.slice(0, 20)}`);
  }
  return [...worst].map(([what, ratio]) => `${what}: ${ratio}`);
}

function names() {
  const faults = [];
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) faults.push("an id twice");
  const bare = (selector, fits) => {
    for (const element of document.querySelectorAll(selector)) if (!fits(element)) faults.push(element.outerHTML.slice(0, 80));
  };
  bare("img", (image) => image.alt.trim());
  bare("svg", (svg) => svg.getAttribute("aria-label") || svg.getAttribute("aria-hidden") || svg.querySelector("title"));
  bare("th", (header) => header.scope && header.textContent.trim());
  bare("button", (button) => button.getAttribute("aria-label") || button.textContent.trim());
  bare("div[tabindex]", (region) => region.getAttribute("role") === "region" && region.getAttribute("aria-label"));
  bare("section, details", (part) => part.querySelector("h2, summary"));
  bare("figure", (figure) => figure.querySelector("figcaption"));
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`after a heading of level ${level} comes ${heading.outerHTML}`);
    level = next;
  }
  return faults;
}
