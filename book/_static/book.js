// The switch that shows masked words (dpotox.masking), on every page that has some; the choice is remembered.
"use strict";

const shown = {
  get: () => {
    try {
      return localStorage.getItem("toxic-words") === "shown";
    } catch {
      return false; // storage may be forbidden; then the choice lasts for the page
    }
  },
  set: (on) => {
    try {
      localStorage.setItem("toxic-words", on ? "shown" : "hidden");
    } catch {
      // see above
    }
  },
};

function showToxicWords(on) {
  if (on) document.documentElement.dataset.toxic = "shown";
  else delete document.documentElement.dataset.toxic;
  for (const button of document.querySelectorAll(".toxic-switch")) {
    button.setAttribute("aria-pressed", String(on));
  }
}

showToxicWords(shown.get()); // before anything is drawn

document.addEventListener("DOMContentLoaded", () => {
  const header = document.querySelector(".article-header-buttons");
  if (header && document.querySelector(".masked, .has-masked")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm toxic-switch";
    button.title = "Only mild words can be shown; others stay masked.";
    const show = document.createElement("span"); // left out where there is little room
    show.textContent = "Show ";
    button.append(show, "toxic words");
    header.prepend(button);
  }
  for (const button of document.querySelectorAll(".toxic-switch")) {
    button.addEventListener("click", () => {
      const on = document.documentElement.dataset.toxic !== "shown";
      shown.set(on);
      showToxicWords(on);
    });
  }
  showToxicWords(shown.get());
  // A table or code too wide for its place is scrolled there, which the keyboard must be able to do as well.
  for (const box of document.querySelectorAll(".bd-article table, .bd-article pre, .bd-article div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
