"use strict";

// Tables are complete without this; it adds sorting and filtering.

function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(a, b, down) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // no number: last, either way
  const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -order : order;
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [value(row, column), row]);
  rows.sort((a, b) => compare(a[0], b[0], down));
  body.append(...rows.map(([, row]) => row));
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
  });
}

// A box above some rows: those that hold all its words stay.
function filterable(place, rows, name, ...more) {
  const bar = document.createElement("div");
  bar.className = "filter";
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  input.placeholder = "words to look for";
  label.append(`Filter ${name} `, input);
  bar.append(label, count, ...more);
  place.before(bar);
  const texts = rows.map((row) => row.querySelector("summary") ?? row).map((row) => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

// In large reports the inside of a problem is packed (gzip, base64) until somebody opens it.
async function unpack(section) {
  const packed = section.querySelector("script");
  if (!packed) return;
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  packed.remove();
  const inside = section.querySelector(".inside");
  try {
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    inside.innerHTML = await new Response(plain).text(); // escaped when it was packed
    inside.querySelectorAll("table.sort").forEach(sortable);
  } catch (error) {
    inside.textContent = `This browser cannot unpack it (${error}); one from 2023 or later can.`;
  }
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.hidden = false;
    named.open = true;
    named.scrollIntoView();
    named.querySelector("summary").focus();
  }
}

for (const table of document.querySelectorAll("table.sort")) {
  sortable(table);
  const rows = [...table.tBodies[0].rows];
  if (rows.length > 5 && table.dataset.name) filterable(table.parentElement, rows, table.dataset.name);
}
const sections = [...document.querySelectorAll(".problem")];
for (const section of sections) section.addEventListener("toggle", () => section.open && unpack(section));
if (sections.length) {
  const all = document.createElement("button");
  all.type = "button";
  all.textContent = "Open those shown";
  all.addEventListener("click", () => sections.forEach((s) => { if (!s.hidden) s.open = true; }));
  filterable(sections[0], sections, "problems", all);
}
addEventListener("hashchange", openNamed);
openNamed();
