// Shows the samples of a cell. Everything that matters stands in the tables already: without this script nothing is lost.
(function () {
  "use strict";
  var samples = JSON.parse(document.getElementById("samples").textContent);
  var box = document.getElementById("samples-of");
  var pinned = null;

  function time(s) {
    var unit = s >= 1 ? [1, " s"] : s >= 1e-3 ? [1e-3, " ms"] : [1e-6, " µs"];
    return (s / unit[0]).toPrecision(3) + unit[1];
  }

  function draw(values) {
    var low = Math.min.apply(null, values), high = Math.max.apply(null, values);
    var span = high - low || low || 1;
    var dots = values.map(function (v) {
      var x = 10 + 280 * (v - low) / span;
      return '<circle class="dot" cx="' + x.toFixed(1) + '" cy="20" r="5"/>';
    }).join("");
    return '<svg viewBox="0 0 300 40" aria-hidden="true"><line class="axis" x1="5" x2="295" y1="32" y2="32"/>' + dots + "</svg>";
  }

  function show(cell) {
    var values = samples[cell.dataset.cell];
    var sorted = values.slice().sort(function (a, b) { return a - b; });
    box.textContent = "";
    var title = document.createElement("p");
    var strong = document.createElement("strong");
    strong.textContent = cell.dataset.name;
    title.appendChild(strong);
    var picture = document.createElement("div");
    picture.innerHTML = draw(values);
    var range = document.createElement("p");
    range.textContent = values.length + " samples from " + time(sorted[0]) + " (left) to " + time(sorted[sorted.length - 1]) + " (right)";
    var all = document.createElement("p");
    all.textContent = "In the order of rounds: " + values.map(time).join(", ");
    box.append(title, picture, range, all);
    box.hidden = false;
  }

  function hide() { box.hidden = true; pinned = null; }

  document.querySelectorAll("table[data-samples]").forEach(function (table) {
    var buttons = [];
    table.setAttribute("role", "grid"); // one stop for Tab; arrow keys go from cell to cell
    table.querySelectorAll("td[data-cell]").forEach(function (cell, index) {
      var value = cell.querySelector(".value"), button = document.createElement("button");
      button.type = "button";
      button.className = "value";
      button.textContent = value.textContent;
      button.setAttribute("aria-label", value.textContent + ", show samples of " + cell.dataset.name);
      button.tabIndex = index ? -1 : 0;
      value.replaceWith(button);
      buttons.push(button);
      cell.addEventListener("mouseenter", function () { if (!pinned) show(cell); });
      cell.addEventListener("mouseleave", function () { if (!pinned) hide(); });
      button.addEventListener("focus", function () { show(cell); });
      button.addEventListener("blur", hide);
      cell.addEventListener("click", function () { show(cell); pinned = cell; });
      button.addEventListener("keydown", function (event) {
        var row = cell.parentNode, column = Array.prototype.indexOf.call(row.children, cell), next = null;
        if (event.key === "ArrowRight") next = buttons[index + 1];
        if (event.key === "ArrowLeft") next = buttons[index - 1];
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
          do {
            row = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
            next = row && row.children[column] && row.children[column].querySelector("button.value");
          } while (row && !next);
        }
        if (next) {
          button.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
          event.preventDefault();
        }
      });
    });
  });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") hide(); });

  document.querySelectorAll("table.standings td[title]").forEach(function (cell) { // what a touch has no other way to
    function tell() {
      var told = document.createElement("p");
      told.textContent = cell.title;
      box.textContent = "";
      box.append(told);
      box.hidden = false;
      pinned = cell;
    }
    cell.addEventListener("click", tell);
    cell.addEventListener("focus", tell);
    cell.addEventListener("blur", hide);
  });

  function unfold() { // what a link leads to
    var target = location.hash && document.getElementById(location.hash.slice(1));
    var folded = target && target.closest("details");
    if (folded) folded.open = true;
  }
  window.addEventListener("hashchange", unfold);
  unfold();
})();
