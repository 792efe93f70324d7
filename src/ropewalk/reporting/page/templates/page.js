"use strict";
// Tables sort by any column: numbers by data-value, names as text; what did not run stays last.
for (const button of document.querySelectorAll(".sorts thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const table = head.closest("table");
    const column = [...head.parentElement.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const key = (row) => {
      const cell = row.children[column];
      return column === 0 ? cell.textContent : cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    const order = (a, b) => {
      const [left, right] = [key(a), key(b)];
      if (left === null || right === null) return (left === null) - (right === null);
      const sign = typeof left === "string" ? left.localeCompare(right) : left - right;
      return up ? sign : -sign;
    };
    body.append(...[...body.rows].sort(order));
  });
}
// A curve is brought out by its entry in the legend.
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure");
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    const on = new Set();
    for (const each of figure.querySelectorAll(".legend button[aria-pressed=true]")) on.add(each.dataset.curve);
    figure.classList.toggle("picked", on.size > 0);
    for (const curve of figure.querySelectorAll("svg g[data-curve]")) curve.classList.toggle("on", on.has(curve.dataset.curve));
  });
}
// The data, unpacked if it is packed, as a file.
async function text() {
  const content = document.getElementById("data").textContent;
  const data = JSON.parse(content);
  if (!data.gzip) return JSON.stringify(data, null, 1);
  const bytes = Uint8Array.from(atob(data.gzip), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.stringify(JSON.parse(await new Response(stream).text()), null, 1);
}
document.getElementById("save").addEventListener("click", async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([await text()], { type: "application/json" }));
  link.download = "ropewalk-report.json";
  link.click();
  URL.revokeObjectURL(link.href);
  document.getElementById("saved").textContent = "Saved as ropewalk-report.json.";
});
