(function () {
  "use strict";
  var doc = document, root = doc.documentElement;
  function all(selector) { return Array.prototype.slice.call(doc.querySelectorAll(selector)); }
  function by(id) { return doc.getElementById(id); }

  // Theme: as the system says, until somebody chooses. Storage may be closed to a local file.
  var theme = by("theme"), dark = window.matchMedia("(prefers-color-scheme: dark)");
  function isDark() { return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches; }
  function label() { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", "Switch to " + (isDark() ? "light" : "dark") + " colours"); }
  try { var kept = localStorage.getItem("tornwrite-theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch (e) { /* not kept */ }
  theme.hidden = false; label();
  theme.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark"; label();
    try { localStorage.setItem("tornwrite-theme", root.dataset.theme); } catch (e) { /* not kept */ }
  });
  dark.addEventListener("change", label);

  // Copy, also where the clipboard is only open to the old way.
  all("button.copy").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var code = button.parentNode.querySelector("code");
      function done(text) { button.textContent = text; setTimeout(function () { button.textContent = "Copy"; }, 1600); }
      function old() {
        var range = doc.createRange(), selection = window.getSelection();
        range.selectNodeContents(code); selection.removeAllRanges(); selection.addRange(range);
        done(doc.execCommand("copy") ? "Copied" : "Press Ctrl+C");
      }
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(function () { done("Copied"); }, old);
      else old();
    });
  });

  // Where a strip is wider than its box, its fault is in the middle; a closed finding has no boxes yet.
  function centre(within) {
    Array.prototype.forEach.call(within.querySelectorAll(".strip .scroll"), function (box) {
      var mark = box.querySelector("path.mark");
      if (mark && box.scrollWidth > box.clientWidth) box.scrollLeft = mark.getBBox().x - box.clientWidth / 2;
    });
  }
  all("article.finding > details").forEach(function (each) {
    if (each.open) centre(each);
    each.addEventListener("toggle", function () { if (each.open) centre(each); });
  });

  // A link to something inside a closed part opens it.
  function reveal() {
    var id = decodeURIComponent(location.hash.slice(1)), at = id && by(id);
    if (!at) return;
    if (at.classList.contains("finding")) at.querySelector("details").open = true;
    for (var up = at; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    at.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  reveal();
  window.addEventListener("beforeprint", function () { all("details").forEach(function (each) { each.open = true; }); });

  var form = by("filters");
  if (!form) return;
  form.hidden = false;
  var findings = all("article.finding"), text = by("q"), selects = all("select[data-filter]"), texts = new Map(), current = -1;
  function words(each) {
    if (!texts.has(each)) texts.set(each, each.textContent.toLowerCase());
    return texts.get(each);
  }
  function matches(each) {
    return selects.every(function (select) {
      var has = each.dataset[select.dataset.filter];
      return !select.value || (select.dataset.filter === "invariant" ? has.split(" ").indexOf(select.value) >= 0 : has === select.value);
    }) && text.value.toLowerCase().split(/\s+/).every(function (word) { return !word || words(each).indexOf(word) >= 0; });
  }
  function apply() {
    var shown = 0;
    findings.forEach(function (each) { each.hidden = !matches(each); shown += !each.hidden; });
    by("shown").textContent = shown + " of " + findings.length + " shown";
    by("none").hidden = shown > 0;
  }
  function visible() { return findings.filter(function (each) { return !each.hidden; }); }
  function go(each) {
    if (!each) return;
    each.querySelector("details").open = true;
    each.scrollIntoView({ block: "start" });
    each.querySelector("summary").focus({ preventScroll: true });
    current = findings.indexOf(each);
  }
  function step(by) {
    var there = visible(), focused = doc.activeElement && doc.activeElement.closest("article.finding");
    var from = focused ? findings.indexOf(focused) : current;
    var next = by > 0 ? there.filter(function (each) { return findings.indexOf(each) > from; })[0]
      : there.filter(function (each) { return findings.indexOf(each) < from; }).pop();
    go(next);
  }
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  text.addEventListener("input", apply);
  selects.forEach(function (select) { select.addEventListener("change", apply); });
  by("first").addEventListener("click", function () { go(visible()[0]); });
  by("expand").addEventListener("click", function () {
    var open = visible().some(function (each) { return !each.querySelector("details").open; });
    visible().forEach(function (each) { each.querySelector("details").open = open; });
    by("expand").textContent = open ? "Close all" : "Open all";
  });
  doc.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") { event.preventDefault(); text.focus(); text.scrollIntoView({ block: "center" }); }
  });
  apply();
})();
