"use strict";
// The curves with their switches, and figures that are drawn when they come into view.
(() => {
  const {data, dark, colour} = rdcodec;
  // Figures carry the light palette; in the dark each colour has a lighter twin.
  const twins = {
    "#0072B2": "#56B4E9", "#D55E00": "#F0913A", "#009E73": "#3ECBA0", "#CC79A7": "#E3A3C6",
    "rgba(0,114,178,0.15)": "rgba(86,180,233,0.2)", "rgba(213,94,0,0.15)": "rgba(240,145,58,0.2)",
    "rgba(0,158,115,0.15)": "rgba(62,203,160,0.2)",
  };
  const state = {kind: Object.keys(data.kinds)[0], metric: null, hidden: new Set()};
  const charts = [...document.querySelectorAll("[data-metric]")];
  const kindButtons = [...document.querySelectorAll("[data-kind]")];
  const metricButtons = [...document.querySelectorAll("[data-metric-switch]")];
  state.metric = metricButtons[0]?.dataset.metricSwitch ?? "";

  let plotly;
  const library = () => plotly ??= rdcodec.run("plotly.min");
  const twin = (value) => dark.matches && twins[value] || value;

  function themed(figure, legend) {
    const copy = structuredClone(figure);
    for (const trace of copy.data) {
      if (trace.line) trace.line.color = twin(trace.line.color);
      if (trace.marker) trace.marker.color = twin(trace.marker.color);
      if (trace.textfont) trace.textfont.color = twin(trace.textfont.color);
      if (trace.fillcolor) trace.fillcolor = twin(trace.fillcolor);
      if (!legend && state.hidden.has(trace.legendgroup)) trace.visible = false;
    }
    const axis = {gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false, automargin: true};
    const layout = copy.layout;
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: {l: 56, r: 14, t: legend ? 34 : 12, b: 44}, showlegend: legend, hovermode: "closest",
      font: {family: "system-ui, sans-serif", size: 13, color: colour("--ink")},
      legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom"},
      hoverlabel: {bgcolor: colour("--card"), bordercolor: colour("--line"), font: {color: colour("--ink")}},
    });
    for (const name of ["xaxis", "yaxis"]) {
      Object.assign(layout[name], axis, {title: {text: layout[name].title.text, standoff: 8}});
    }
    return copy;
  }

  async function draw(element, figure, legend) {
    await library();
    element.querySelector(".sketch")?.remove();
    const {data: traces, layout} = themed(figure, legend);
    await Plotly.react(element.querySelector(".plot"), traces, layout, {responsive: true, displayModeBar: false});
    element.dataset.drawn = "yes";
  }

  function drawCurves() {
    const all = state.metric === "";
    document.getElementById("charts").classList.toggle("one", !all);
    for (const element of charts) {
      const metric = element.dataset.metric;
      element.hidden = !all && metric !== state.metric;
      if (element.hidden) continue;
      // A speech metric stays on speech, whatever is chosen.
      const kind = [state.kind, "all", "speech"].find((one) => data.figures[`${metric} ${one}`]);
      element.querySelector("small").textContent = kind === state.kind ? "" : `(${data.kinds[kind].toLowerCase()} only)`;
      draw(element, data.figures[`${metric} ${kind}`], false);
    }
  }

  for (const button of kindButtons) button.addEventListener("click", () => {
    state.kind = button.dataset.kind;
    rdcodec.press(kindButtons, button);
    for (const table of document.querySelectorAll("[data-of-kind]")) table.hidden = table.dataset.ofKind !== state.kind;
    drawCurves();
    document.dispatchEvent(new CustomEvent("kind", {detail: state.kind}));
  });
  for (const button of metricButtons) button.addEventListener("click", () => {
    state.metric = button.dataset.metricSwitch;
    rdcodec.press(metricButtons, button);
    drawCurves();
  });
  for (const button of document.querySelectorAll("[data-series]")) button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", !shown);
    state.hidden[shown ? "add" : "delete"](button.dataset.series);
    drawCurves();
  });

  const inside = [...document.querySelectorAll("[data-figure]")];
  async function drawInside(element) {
    const figures = await rdcodec.fetch("inside", "figures");
    await draw(element, figures[element.dataset.figure], true);
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      watcher.unobserve(entry.target);
      drawInside(entry.target);
    }
  }, {rootMargin: "400px"});
  for (const element of inside) watcher.observe(element);
  addEventListener("beforeprint", () => inside.forEach(drawInside));

  function paintSwatches() {
    for (const swatch of document.querySelectorAll(".swatch")) swatch.style.color = twin(swatch.dataset.colour);
  }
  dark.addEventListener("change", () => {
    paintSwatches();
    drawCurves();
    for (const element of inside) if (element.dataset.drawn) drawInside(element);
  });
  paintSwatches();
  // Words first: the library of the figures is large.
  requestAnimationFrame(() => setTimeout(drawCurves));
})();
