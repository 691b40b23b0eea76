/* The neuron explorer: every neuron of the table as a point, to be filtered, searched and linked to.

   It loads nothing by itself: plotly.js and the neurons come as scripts before this one (dpotox.explorer).
   Tokens and whatever a reader types enter the page as text only. A neuron is named by its row, and rows are
   in order of the projection drop, so that row 0 has rank 1. */
"use strict";
(() => {
  const root = document.querySelector("div.neuron-explorer");
  if (!root) return;
  const source = window.dpotoxNeurons;
  const clear = () => root.replaceChildren();
  if (!source || !window.Plotly) {
    clear();
    root.append("The explorer's files are not beside this page: look for neurons.js and plotly.min.js.");
    return;
  }

  // The neurons

  const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
  const array = ([type, text]) => {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return new TYPES[type](bytes.buffer);
  };
  const { count, groups, tokens, perNeuron } = source;
  const layer = array(source.layer);
  const neuron = array(source.neuron);
  const group = array(source.group);
  const nearest = array(source.nearest);
  const cosine = array(source.cosine);
  const drop = array(source.projection_drop);
  const before = array(source.pre_activation);
  const after = array(source.post_activation);
  const largest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
  const layers = largest(layer) + 1;
  const width = largest(neuron) + 1;
  const rowOf = new Int32Array(layers * width).fill(-1);
  for (let row = 0; row < count; row++) rowOf[layer[row] * width + neuron[row]] = row;
  const nameOf = (row) => `${layer[row]}:${neuron[row]}`;

  const finite = Float32Array.from(drop.filter(Number.isFinite), Math.abs).sort();
  const middle = finite[finite.length >> 1] || finite[finite.length - 1] || 1;
  const linearTo = 10 ** Math.round(Math.log10(middle));
  // Most drops are tiny beside the largest. This axis is linear near zero and logarithmic far from it.
  const scales = {
    stretched: { to: (v) => Math.asinh(v / linearTo), from: (v) => Math.sinh(v) * linearTo },
    linear: { to: (v) => v, from: (v) => v },
  };
  const heights = { linear: drop, stretched: drop.map(scales.stretched.to) };

  const whole = new Intl.NumberFormat("en-GB").format;
  const number = (value) => {
    if (!Number.isFinite(value)) return "-";
    if (value === 0) return "0";
    const short = Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
    return short.replaceAll("-", "\u2212");
  };

  // The state, all of it

  const every = groups.map((_, i) => i);
  const state = { groups: new Set(every), layer: -1, top: count, scale: "stretched", pinned: 0, traces: [] };
  const isShown = (row) =>
    row < state.top && state.groups.has(group[row]) && (state.layer < 0 || layer[row] === state.layer);

  // The controls

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };
  const button = (text, onclick, attributes = {}) =>
    element("button", { type: "button", onclick, ...attributes }, text);
  const chip = (which) => {
    const made = element("span", { class: "chip", "aria-hidden": "true" });
    made.style.background = groups[which].colour;
    return made;
  };

  const toggleGroup = (which) => {
    if (!state.groups.delete(which)) state.groups.add(which);
    update();
  };
  const counts = groups.map(() => element("span", { class: "count" }));
  const groupButtons = groups.map((g, i) =>
    button("", () => toggleGroup(i), { class: "group", "aria-pressed": "true", "data-group": g.name })
  );
  groupButtons.forEach((made, i) => made.append(chip(i), groups[i].name, counts[i]));
  const side = (label, reduces) =>
    element("div", { class: "side", role: "group", "aria-label": label },
      element("span", { class: "side-name" }, label),
      ...groupButtons.filter((_, i) => groups[i].reduces === reduces));

  const layerChoice = element("select", { id: "explorer-layer", onchange: () => {
    state.layer = Number(layerChoice.value);
    update();
  } }, element("option", { value: "-1" }, "all"));
  for (let i = 0; i < layers; i++) layerChoice.append(element("option", { value: String(i) }, String(i)));
  const topChoice = element("input", {
    id: "explorer-top", type: "number", min: "1", max: String(count), placeholder: "all", inputmode: "numeric",
    onchange: () => {
      const wanted = Math.floor(Number(topChoice.value));
      state.top = wanted >= 1 ? Math.min(wanted, count) : count;
      topChoice.value = state.top === count ? "" : String(state.top);
      update();
    },
  });
  const stretch = element("input", { id: "explorer-stretch", type: "checkbox", onchange: () => {
    state.scale = stretch.checked ? "stretched" : "linear";
    update();
  } });
  stretch.checked = true;
  const field = (label, input) => element("label", { class: "field", for: input.id }, label, input);

  const search = element("input", {
    id: "explorer-search", type: "search", placeholder: `such as ${nameOf(0)}`, autocomplete: "off",
    spellcheck: "false",
  });
  const message = element("p", { class: "message", role: "status" });
  const searchForm = element("form", { class: "search", role: "search", onsubmit: (event) => {
    event.preventDefault();
    select(search.value, true);
  } }, field("Neuron", search), element("button", { type: "submit" }, "Find"));

  const reset = button("Show all", () => {
    Object.assign(state, { groups: new Set(every), layer: -1, top: count });
    layerChoice.value = "-1";
    topChoice.value = "";
    state.views = (state.views || 0) + 1; // forgets the zoom too
    update();
  }, { class: "reset" });
  const none = button("Hide all groups", () => {
    state.groups.clear();
    update();
  });
  const shownCount = element("p", { class: "shown", role: "status" });

  // What is known of one neuron

  const panel = element("section", { class: "panel", "aria-label": "The neuron" });
  const step = (by) => {
    let row = state.pinned + by;
    while (row >= 0 && row < count && !isShown(row)) row += by;
    if (row >= 0 && row < count) pin(row, true);
    else say(by < 0 ? "No neuron shown has a larger drop." : "No neuron shown has a smaller drop.");
  };
  const steps = element("div", { class: "steps" },
    button("← Previous", () => step(-1), { "data-step": "previous", title: "the next larger drop shown" }),
    button("Next →", () => step(1), { "data-step": "next", title: "the next smaller drop shown" }),
    button("Copy link", () => copyLink(), { "data-copy": true }));

  const token = (index) => {
    const text = tokens[index];
    const made = element("span", { class: "token" });
    if (typeof text === "string") made.append(text);
    else {
      // The markup of a masked word, which the page's switch shows (dpotox.masking).
      made.append(element("span", { class: "masked" },
        element("span", { class: "stars" }, text[0]),
        element("span", { class: "word", hidden: true }, text[1])));
    }
    return made;
  };
  const meaning = (name) => [
    name[0] === "T" ? "toxic value vector" : "anti-toxic value vector",
    name[1] === "P" ? "active before DPO" : "negative before DPO",
    name[2] === "+" ? "moved away from zero" : "moved towards zero",
  ].join(", ");
  const describe = (row) => {
    const g = groups[group[row]];
    const words = element("dd", { class: "tokens" });
    for (let i = 0; i < perNeuron; i++) words.append(token(nearest[row * perNeuron + i]), " ");
    const fact = (name, ...values) => element("div", {}, element("dt", {}, name), element("dd", {}, ...values));
    panel.dataset.neuron = nameOf(row);
    panel.replaceChildren(
      element("p", { class: "name" }, element("strong", {}, nameOf(row)), " ",
        element("span", { class: "tag" }, chip(group[row]), g.name)),
      element("p", { class: "meaning" }, `${meaning(g.name)}.`),
      element("dl", {},
        fact("rank by drop", `${whole(row + 1)} of ${whole(count)}`),
        fact("projection drop", number(drop[row])),
        fact("cosine with the probe", number(cosine[row])),
        fact("activation before → after", `${number(before[row])} → ${number(after[row])}`),
        element("div", { class: "wide" }, element("dt", {}, "nearest tokens of its value vector"), words)),
      ...(isShown(row) ? [] : [element("p", { class: "meaning" }, "The filters leave it out of the plot.")]));
  };

  // Choosing one neuron, and linking to it

  const say = (text) => { message.textContent = text; };
  const pin = (row, link) => {
    state.pinned = row;
    say("");
    describe(row);
    mark();
    if (link) history.replaceState(null, "", `#neuron=${nameOf(row)}`);
  };
  const select = (wanted, link) => {
    const text = wanted.trim();
    const parts = /^(\d{1,6})\s*:\s*(\d{1,7})$/.exec(text);
    if (!parts) return say(`“${text.slice(0, 40)}” is no neuron; write layer:neuron, such as ${nameOf(0)}.`);
    const [l, n] = [Number(parts[1]), Number(parts[2])];
    const row = l < layers && n < width ? rowOf[l * width + n] : -1;
    if (row < 0) {
      return say(`There is no neuron ${l}:${n}; layers go from 0 to ${layers - 1}, neurons to ${width - 1}.`);
    }
    return pin(row, link);
  };
  const followHash = () => {
    const found = /^#neuron=(.*)$/.exec(location.hash);
    if (!found) return false;
    let wanted = found[1];
    try { wanted = decodeURIComponent(wanted); } catch { /* it stays as it is, and is no neuron */ }
    select(wanted, false);
    return true;
  };
  const copyLink = async () => {
    const link = `${location.href.split("#")[0]}#neuron=${nameOf(state.pinned)}`;
    try {
      await navigator.clipboard.writeText(link);
      say(`Copied the link to ${nameOf(state.pinned)}.`);
    } catch { // not allowed here: the address bar has it
      history.replaceState(null, "", `#neuron=${nameOf(state.pinned)}`);
      say("The browser lets no page copy here; the link is in the address bar.");
    }
  };

  // The table of what is shown

  const download = () => {
    const lines = ["layer,neuron,group,rank,cosine,projection_drop,pre_activation,post_activation"];
    for (let row = 0; row < count; row++) {
      if (!isShown(row)) continue;
      const values = [cosine[row], drop[row], before[row], after[row]].map((v) => v.toPrecision(7));
      lines.push([layer[row], neuron[row], groups[group[row]].name, row + 1, ...values].join());
    }
    const link = element("a", { download: "neurons-shown.csv" });
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const downloads = element("p", { class: "downloads" },
    "Download: ", element("a", { href: root.dataset.table, download: true }, "the whole table (parquet)"), " · ",
    button("the neurons shown (CSV)", download, { class: "as-link", "data-download": true }));

  // The picture

  const plot = element("div", { class: "plot", role: "group", "aria-label":
    `Scatter of ${whole(count)} neurons: cosine with the probe across, projection drop upwards` });
  const tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const canvas = document.createElement("canvas");
  const webgl = Boolean(canvas.getContext("webgl"));
  const drawable = webgl ? count : Math.min(count, 2_000); // without WebGL every point is an element

  const extent = (values, pad) => {
    let [low, high] = [0, 0];
    for (const v of values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
    const room = (high - low || 1) * pad;
    return [low - room, high + room];
  };
  const ranges = { x: extent(cosine, 0.05) };
  for (const scale of Object.keys(scales)) ranges[scale] = extent(heights[scale], 0.06);

  const ticks = ([low, high]) => {
    const { to, from } = scales[state.scale];
    const multiples = (digits) => {
      const values = [0];
      for (let k = Math.round(Math.log10(linearTo)); k < 9; k++) {
        for (const digit of digits) values.push(digit * 10 ** k, -digit * 10 ** k);
      }
      return values.filter((v) => to(v) >= low && to(v) <= high);
    };
    const candidates = [multiples([1]), multiples([1, 2, 5])];
    let chosen = candidates.find((some) => some.length > 3);
    if (!chosen) { // looking closely: evenly spaced
      const raw = (from(high) - from(low)) / 5;
      const base = 10 ** Math.floor(Math.log10(raw));
      const apart = base * [1, 2, 5, 10].find((m) => m * base >= raw);
      chosen = [];
      for (let v = Math.ceil(from(low) / apart); v * apart <= from(high); v++) chosen.push(v * apart);
    }
    return { tickvals: chosen.map(to), ticktext: chosen.map((v) => number(Number(v.toPrecision(6)))) };
  };

  const colours = () => {
    const style = getComputedStyle(root);
    const variable = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    return {
      text: variable("--pst-color-text-base", "#222832"),
      muted: variable("--pst-color-text-muted", "#48566b"),
      grid: variable("--pst-color-surface", "#f3f4f5"),
      surface: variable("--pst-color-background", "#ffffff"),
    };
  };
  const sideNotes = (ink) => {
    const note = (text, more) => ({
      text, showarrow: false, xref: "paper", yref: "paper", font: { size: 12, color: ink.muted }, ...more,
    });
    const below = { y: 0, yshift: -46, yanchor: "middle" };
    const left = { x: 0, xshift: -58, xanchor: "center", textangle: -90 };
    const titles = { font: { size: 13, color: ink.text } };
    if (plot.clientWidth && plot.clientWidth < 480) { // no room for three apart: one line each
      return [
        note("← anti-toxic · <b>cosine with the probe</b> · toxic →",
          { ...below, x: 0.5, font: { size: 11, color: ink.text } }),
        note("← increases · <b>projection drop</b> · reduces toxicity →",
          { ...left, y: 0.5, yanchor: "middle", font: { size: 11, color: ink.text } }),
      ];
    }
    return [
      note("← anti-toxic", { ...below, x: 0, xanchor: "left" }),
      note("toxic →", { ...below, x: 1, xanchor: "right" }),
      note("reduces toxicity →", { ...left, y: 1, yanchor: "top" }),
      note("← increases toxicity", { ...left, y: 0, yanchor: "bottom" }),
      note("cosine with the probe", { ...below, x: 0.5, ...titles }),
      note("projection drop", { ...left, y: 0.5, yanchor: "middle", ...titles }),
    ];
  };
  const ring = (ink) => {
    const [x, y] = [cosine[state.pinned], heights[state.scale][state.pinned]];
    if (!Number.isFinite(x) || !Number.isFinite(y)) return { shapes: [], annotations: [] };
    const shape = {
      type: "circle", xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y,
      x0: -8, x1: 8, y0: -8, y1: 8, line: { color: ink.text, width: 2 },
    };
    const range = plot.layout?.xaxis?.range || ranges.x;
    const right = x > (range[0] + range[1]) / 2;
    const label = {
      text: nameOf(state.pinned), x, y, xref: "x", yref: "y", showarrow: false, bgcolor: ink.surface,
      xanchor: right ? "right" : "left", xshift: right ? -12 : 12, borderpad: 2, opacity: 0.9,
      font: { size: 13, color: ink.text, weight: 600 },
    };
    return { shapes: [shape], annotations: [label] };
  };
  const overlay = (ink) => {
    const { shapes, annotations } = ring(ink);
    return { shapes, annotations: [...sideNotes(ink), ...annotations] };
  };
  const axis = (ink) => ({
    color: ink.text, gridcolor: ink.grid, zerolinecolor: ink.muted, zerolinewidth: 1, showline: false,
    tickfont: { size: 12 },
  });
  const layout = () => {
    const ink = colours();
    const y = ranges[state.scale];
    return {
      ...overlay(ink),
      uirevision: `${state.scale} ${state.views}`,
      margin: { l: 74, r: 12, t: 34, b: 62 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(root).fontFamily, color: ink.text },
      showlegend: false, hovermode: "closest", hoverdistance: 12,
      // A finger on the plot scrolls the page; the buttons above it zoom.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink.muted, activecolor: ink.text },
      xaxis: { ...axis(ink), range: [...ranges.x], nticks: 8 },
      yaxis: { ...axis(ink), range: [...y], ...ticks(y) },
    };
  };
  const traces = () => {
    const rows = groups.map(() => []);
    for (let row = 0; row < Math.min(state.top, drawable); row++) if (isShown(row)) rows[group[row]].push(row);
    state.traces = rows;
    const many = count > 20_000;
    const height = heights[state.scale];
    return rows.map((own, i) => ({
      type: webgl ? "scattergl" : "scatter", mode: "markers", name: groups[i].name, visible: own.length > 0,
      x: Float32Array.from(own, (row) => cosine[row]), y: Float32Array.from(own, (row) => height[row]),
      hoverinfo: "none", marker: { color: groups[i].colour, size: many ? 4 : 6, opacity: many ? 0.4 : 0.6 },
    }));
  };
  const config = {
    displaylogo: false, responsive: true, displayModeBar: true, doubleClick: "reset",
    modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };

  const mark = () => { if (plot.data) Plotly.relayout(plot, overlay(colours())); };
  const update = () => {
    const drawn = traces();
    const shown = state.traces.reduce((sum, own) => sum + own.length, 0);
    groupButtons.forEach((made, i) => made.setAttribute("aria-pressed", String(state.groups.has(i))));
    counts.forEach((made, i) => { made.textContent = whole(state.traces[i].length); });
    shownCount.textContent = `${whole(shown)} of ${whole(count)} neurons shown${
      webgl ? "" : `; this browser has no WebGL, so only the first ${whole(drawable)} are drawn`}`;
    describe(state.pinned);
    return Plotly.react(plot, drawn, layout(), config);
  };

  const rowAt = (event) => state.traces[event.points[0].curveNumber]?.[event.points[0].pointNumber];
  const listen = () => {
    plot.on("plotly_hover", (event) => {
      const row = rowAt(event);
      if (row === undefined) return;
      describe(row);
      const box = event.points[0].bbox;
      tip.textContent = `${nameOf(row)}  ${groups[group[row]].name}`;
      tip.hidden = false;
      const left = Math.min(box.x1 + 8, plot.clientWidth - tip.offsetWidth - 4);
      tip.style.transform = `translate(${left}px, ${box.y0 - 28}px)`;
    });
    plot.on("plotly_unhover", () => {
      tip.hidden = true;
      describe(state.pinned);
    });
    plot.on("plotly_click", (event) => {
      const row = rowAt(event);
      if (row !== undefined) pin(row, true);
    });
    plot.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((key) => key.startsWith("yaxis.range") || key === "yaxis.autorange")) {
        const made = ticks(plot.layout.yaxis.range);
        Plotly.relayout(plot, { "yaxis.tickvals": made.tickvals, "yaxis.ticktext": made.ticktext });
      }
    });
  };

  // Together

  clear();
  root.append(
    element("div", { class: "controls" },
      element("div", { class: "line" }, searchForm, field("Layer", layerChoice),
        field("Largest drops", topChoice), field("Stretch small drops", stretch)),
      element("div", { class: "line" },
        side("reduce toxicity", true), side("increase toxicity", false),
        element("div", { class: "side" }, reset, none))),
    message,
    element("div", { class: "parts" },
      element("div", { class: "picture" }, plot, tip, shownCount),
      element("div", { class: "aside" }, panel, steps, downloads)));
  const linked = followHash();
  update().then(() => {
    listen();
    root.dataset.ready = "true";
    if (linked) root.scrollIntoView();
  });
  addEventListener("hashchange", followHash);
  addEventListener("resize", mark); // the notes beside the axes depend on the width
  new MutationObserver(() => {
    const { xaxis, yaxis, uirevision, ...rest } = layout();
    const axes = Object.entries(axis(colours()));
    const both = axes.flatMap(([k, v]) => [[`xaxis.${k}`, v], [`yaxis.${k}`, v]]);
    Plotly.relayout(plot, { ...rest, ...Object.fromEntries(both) });
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
