"use strict";
// Tables sort by a click on a column's head: numbers by value, words by alphabet, cells without a value always last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    while (head.firstChild) button.append(head.firstChild);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort ?? "";
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row, i) => [key(row), i, row]);
      rows.sort(([a, i], [b, j]) => {
        if (a === "" || b === "") return (a === "") - (b === "") || i - j;
        const numeric = !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
        const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
        return (down ? -order : order) || i - j;
      });
      body.append(...rows.map((entry) => entry[2]));
    });
  });
}
