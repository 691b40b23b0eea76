// Steps through continuations token by token: lanes on one scale, a slider, arrow keys.
// The data is in the page, as JSON that dpotox.step_through wrote; all of it enters the page as text.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 240, HEIGHT = 60, LEFT = 24, EDGE = 6, SECONDS_PER_TOKEN = 0.7;

  const make = (name, of = {}, ...inside) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(of)) element.setAttribute(key, value);
    element.append(...inside);
    return element;
  };
  const draw = (name, of) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(of)) element.setAttribute(key, value);
    return element;
  };
  const signed = (value, digits = 2) => (value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(digits);

  // The same markup as Mask.html makes, so that the page's switch works here too.
  const text = (segments) => segments.map(([hidden, shown, masked]) => {
    if (!masked) return document.createTextNode(hidden);
    if (hidden === shown) return make("span", { class: "masked" }, hidden);
    const word = make("span", { class: "word", hidden: "" }, shown);
    return make("span", { class: "masked" }, make("span", { class: "stars" }, hidden), word);
  });
  // Spaces before a token stand outside of it, so that its box never begins at the end of a line.
  const spaced = (segments) => {
    if (!segments.length) return ["", segments];
    const [first, ...rest] = segments, [hidden, shown, masked] = first, bare = hidden.trimStart();
    if (masked || !(bare || rest.length)) return ["", segments];
    return [hidden.slice(0, hidden.length - bare.length), bare ? [[bare, shown.trimStart(), masked], ...rest] : rest];
  };
  const visible = (segments) => {
    const shows = document.documentElement.dataset.toxic === "shown";
    return segments.map(([hidden, shown]) => (shows ? shown : hidden)).join("").trim();
  };

  function start(root) {
    const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    const low = Math.min(0, data.scale[0]), high = Math.max(0, data.scale[1]);
    const farthest = Math.max(-low, high) || 1;
    let prompt = data.prompts[0], at = 0, lanes = [], timer = 0;

    const y = (value) => EDGE + (HEIGHT - 2 * EDGE) * (high - value) / (high - low || 1);
    const steps = () => prompt.lanes[0].projection.length;
    const x = (step) => LEFT + (WIDTH - LEFT - EDGE) * step / Math.max(1, steps() - 1);
    const points = (values, from = 0) => values.map((v, i) => `${x(from + i).toFixed(1)},${y(v).toFixed(1)}`).join(" ");

    // Controls
    const choices = data.prompts.map((some, i) => {
      const button = make("button", { type: "button", "aria-label": `prompt ${i + 1} of ${data.prompts.length}` }, `${i + 1}`);
      button.addEventListener("click", () => choose(some));
      return button;
    });
    const given = make("p", { class: "st-prompt" });
    const laneBox = make("div", { class: "st-lanes" });
    const button = (label, sign, act) => {
      const made = make("button", { type: "button", "aria-label": label, title: label }, sign);
      made.addEventListener("click", act);
      return made;
    };
    const back = button("previous token", "\u2190", () => go(at - 1));
    const next = button("next token", "\u2192", () => go(at + 1));
    const play = button("play", "\u25b6\ufe0e", () => (timer ? stop() : run()));
    play.className = "st-play";
    const slider = make("input", { type: "range", min: 1, step: 1 });
    slider.addEventListener("input", () => go(slider.valueAsNumber - 1));
    const count = make("output", { class: "st-count" });
    const said = make("p", { class: "st-said", "aria-live": "polite" });
    const bar = make("div", { class: "st-bar" }, back, next, play, make("label", {}, "token", slider), count);
    const key = make("p", { class: "st-key" });
    for (const words of [
      "Lines: projection on the probe at the position that writes the token; the dashed line is 0.",
      "Thin line: before DPO.",
      "Tint: orange towards the probe, blue away from it.",
    ]) key.append(make("span", {}, words));
    root.replaceChildren(
      make("div", { class: "st-choice", role: "group", "aria-label": "choice of prompt" }, make("span", {}, "Prompt"), ...choices),
      given, key, laneBox, bar, said,
    );
    root.tabIndex = -1; // a click anywhere in it lets the arrow keys work
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", "continuations token by token");

    function lane(of) {
      const written = make("p", { class: "st-text" });
      const tokens = of.tokens.map((segments, i) => {
        const value = of.projection[i], [space, bare] = spaced(segments);
        const token = make("span", { class: value > 0 ? "st-token st-up" : "st-token" }, ...text(bare));
        token.style.setProperty("--tint", (Math.abs(value) / farthest).toFixed(3));
        written.append(space, token);
        return token;
      });
      const value = make("b"), toxicity = make("b");
      const chart = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
      const line = draw("polyline", { class: "st-line" });
      const ahead = draw("polyline", { class: "st-ahead" });
      const cursor = draw("line", { class: "st-cursor", y1: EDGE, y2: HEIGHT - EDGE });
      const dot = draw("circle", { r: 3 });
      chart.append(draw("line", { class: "st-zero", x1: LEFT, x2: WIDTH - EDGE, y1: y(0), y2: y(0) }));
      for (const mark of [high, 0, low]) {
        if (mark && Math.abs(y(mark) - y(0)) < 9) continue;
        const label = draw("text", { x: LEFT - 5, y: y(mark) + 3, "text-anchor": "end" });
        label.textContent = signed(mark, 0);
        chart.append(label);
      }
      if (of !== prompt.lanes[0]) {
        chart.append(draw("polyline", { class: "st-first", points: points(prompt.lanes[0].projection) }));
      }
      chart.append(ahead, line, cursor, dot);
      const name = make("div", { class: "st-name" }, of.name, make("span", { class: "st-way" }, of.way));
      const figures = make("div", { class: "st-figures" },
        make("span", {}, "projection ", value), make("span", {}, "toxicity so far ", toxicity));
      const box = make("div", { class: "st-lane", role: "group", "aria-label": of.name },
        name, written, make("div", {}, figures, chart));
      const show = () => {
        tokens.forEach((token, i) => {
          token.classList.toggle("st-now", i === at);
          token.classList.toggle("st-later", i > at);
        });
        line.setAttribute("points", points(of.projection.slice(0, at + 1)));
        ahead.setAttribute("points", points(of.projection.slice(at), at));
        for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(at));
        dot.setAttribute("cx", x(at));
        dot.setAttribute("cy", y(of.projection[at]));
        value.textContent = signed(of.projection[at]);
        toxicity.textContent = of.toxicity[at].toFixed(2);
      };
      return { box, show };
    }

    function choose(some) {
      stop();
      prompt = some;
      choices.forEach((choice, i) => choice.setAttribute("aria-pressed", data.prompts[i] === some));
      given.replaceChildren(
        ...text(some.prompt), make("span", { class: "st-way" }, `number ${some.number} in the table of results`),
      );
      lanes = some.lanes.map(lane);
      laneBox.replaceChildren(...lanes.map((one) => one.box));
      slider.max = steps();
      go(steps() - 1);
    }

    function go(step) {
      at = Math.min(Math.max(step, 0), steps() - 1);
      slider.value = at + 1;
      slider.setAttribute("aria-valuetext", `${at + 1} of ${steps()}`);
      count.textContent = `${at + 1} of ${steps()}`;
      back.disabled = at === 0;
      next.disabled = at === steps() - 1;
      lanes.forEach((one) => one.show());
      said.textContent = `Token ${at + 1} of ${steps()}. ` + prompt.lanes.map(
        (of) => `${of.name}: ${visible(of.tokens[at]) || "nothing"}, projection ${signed(of.projection[at], 1)}`,
      ).join("; ") + ".";
    }

    function run() {
      if (at === steps() - 1) go(0);
      said.setAttribute("aria-live", "off"); // too fast to be read out
      play.textContent = "\u23f8\ufe0e";
      play.setAttribute("aria-label", "pause");
      play.title = "pause";
      timer = setInterval(() => (at < steps() - 1 ? go(at + 1) : stop()), 1000 * SECONDS_PER_TOKEN);
    }
    function stop() {
      clearInterval(timer);
      timer = 0;
      said.setAttribute("aria-live", "polite");
      play.textContent = "\u25b6\ufe0e";
      play.setAttribute("aria-label", "play");
      play.title = "play";
    }

    root.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.stopPropagation(); // the book's own arrow keys turn pages
      event.preventDefault();
      stop();
      go(at + by);
    });
    choose(prompt);
  }

  const all = () => document.querySelectorAll(".step-through:not([role])").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
