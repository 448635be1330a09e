"use strict";
// The table of clips and the player that it leads to.
(() => {
  const {data, colour} = rdcodec;
  const find = (id) => document.getElementById(id);
  const table = find("clips"), body = table.tBodies[0];
  const state = {kind: "all", sort: "difference", rising: true, clips: [], shown: [], current: null};
  const pair = () => data.pairs[Number(find("pair").value)];
  const metric = () => find("listen-metric").value;
  const text = (value, digits) => typeof value === "number" ? value.toFixed(digits).replace("-", "−") : "–";

  // One row of the table: numbers of the chosen pair and metric.
  function row(clip, number) {
    const [neural, anchor] = [clip.points[pair().neural], clip.points[pair().anchor]];
    const [own, theirs] = [neural.scores[metric()], anchor.scores[metric()]];
    const both = typeof own === "number" && typeof theirs === "number";
    return {number, clip: clip.clip, kind: clip.kind, neural_kbps: neural.kbps, anchor_kbps: anchor.kbps,
      neural: own, anchor: theirs, difference: both ? own - theirs : null};
  }

  function compare(a, b) {
    const [first, second] = [a[state.sort], b[state.sort]];
    // Clips without a score stand last in either order.
    const missing = (typeof first !== typeof second) && (typeof first === "number" ? -1 : 1);
    if (missing) return missing;
    const order = first === second ? a.number - b.number : first < second ? -1 : 1;
    return state.rising ? order : -order;
  }

  function fill() {
    const wanted = find("find").value.trim().toLowerCase();
    const rows = state.clips.map(row).filter((one) =>
      (state.kind === "all" || one.kind === state.kind) && one.clip.toLowerCase().includes(wanted));
    state.shown = rows.sort(compare).map((one) => one.number);
    body.replaceChildren(...rows.map((one) => {
      const line = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = one.clip;
      button.addEventListener("click", () => one.number === state.current ? player.toggle() : open(one.number, true));
      name.append(button);
      line.append(name);
      for (const value of [one.kind, text(one.neural_kbps, 1), text(one.anchor_kbps, 1), text(one.neural, 2),
        text(one.anchor, 2), text(one.difference, 2)]) line.insertCell().textContent = value;
      line.setAttribute("aria-current", one.number === state.current);
      line.dataset.clip = one.number;
      return line;
    }));
    for (const head of table.tHead.rows[0].cells) {
      const own = head.firstElementChild.dataset.sort === state.sort;
      head.setAttribute("aria-sort", own ? state.rising ? "ascending" : "descending" : "none");
    }
    for (const button of document.querySelectorAll("[data-order]")) button.setAttribute("aria-pressed",
      state.sort === "difference" && state.rising === (button.dataset.order === "worst"));
  }

  // The clip whose difference is the median, of those that have one: neither a good nor a bad day.
  function median() {
    const known = state.clips.map(row).filter((one) => one.difference !== null).sort((a, b) => a.difference - b.difference);
    return known.length ? known[(known.length - 1) >> 1].number : state.shown[0];
  }

  function sort(by, rising) {
    Object.assign(state, {sort: by, rising});
    fill();
  }

  const player = new rdcodec.Player(() => {
    find("play").textContent = player.playing ? "Stop" : "Play";
    find("play").setAttribute("aria-pressed", player.playing);
    if (player.playing) requestAnimationFrame(follow);
    show();
  });
  const sources = [...document.querySelectorAll("[data-source]")];
  const canvases = [...document.querySelectorAll("[data-spectrogram]")];

  function choose(index) {
    player.choose(index);
    rdcodec.press(sources, sources[index]);
  }

  function show() {
    const share = player.duration ? player.position / player.duration : 0;
    find("seek").value = share;
    find("clock").textContent = `${player.position.toFixed(1)} of ${player.duration.toFixed(1)} s`;
    for (const head of document.querySelectorAll(".head")) head.style.left = `${100 * share}%`;
  }

  function follow() {
    show();
    if (player.playing) requestAnimationFrame(follow);
  }

  async function open(number, moves) {
    const clip = state.clips[number], chosen = pair();
    state.current = number;
    const names = ["original", ...rdcodec.points(chosen, find("more")?.checked).keys()];
    for (const line of body.rows) line.setAttribute("aria-current", Number(line.dataset.clip) === number);
    player.stop();
    delete find("player").dataset.ready;
    find("player-hint").hidden = true;
    find("player-body").hidden = false;
    find("player-title").textContent = `${clip.clip} (${clip.kind}, ${clip.seconds.toFixed(1)} s)`;
    const labels = ["Original", ...names.slice(1).map((name) => `${name}, ${clip.points[name].kbps.toFixed(1)} kbps`)];
    sources.forEach((button, index) => button.hidden = index >= names.length);
    canvases.forEach((canvas, index) => {
      canvas.closest("figure").hidden = index >= names.length;
      canvas.closest("figure").querySelector("figcaption").textContent = labels[index] ?? "";
      canvas.setAttribute("aria-label", `Spectrogram: ${labels[index]}`);
    });
    state.found = null;
    state.labels = labels;
    state.gains = names.map(() => 1);
    name();
    scores(clip, names.slice(0, 3));
    const found = await load(names.map((name) => `${number}-${name}`));
    if (!found || state.current !== number) return;
    state.found = found;
    player.load(found.map((one) => one.buffer));
    match();
    choose(player.chosen);
    const top = Math.min(20000, found[0].buffer.sampleRate / 2);
    find("top-frequency").textContent = top / 1000;
    rdcodec.spectrogram(canvases.slice(0, found.length), found.map((one) => one.buffer), top);
    state.drawn = {buffer: found[0].buffer, timelines: found.slice(1, 3).map((one) => one.timeline), labels};
    bits();
    show();
    find("player").dataset.ready = number;
    if (moves && innerWidth < 1280) find("player").scrollIntoView({block: "start"});
  }

  const loudest = (buffer) => Math.max(...Array.from({length: buffer.numberOfChannels}, (_, index) =>
    buffer.getChannelData(index).reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0)));

  // As loud as the original, or as near as clipping allows.
  function match() {
    const wanted = find("matched").checked ? state.found[0].lufs : null;
    state.gains = state.found.map(({lufs, buffer}) => {
      if (wanted === null || lufs === null) return 1;
      return Math.min(10 ** ((wanted - lufs) / 20), Math.max(1, 1 / loudest(buffer)));
    });
    player.level(state.gains);
    name();
  }

  function name() {
    state.labels.forEach((label, index) => {
      const gain = 20 * Math.log10(state.gains[index]);
      const shown = Math.abs(gain) < 0.05 ? "" : ` (${gain > 0 ? "+" : "−"}${Math.abs(gain).toFixed(1)} dB)`;
      sources[index].querySelector("span").textContent = label + shown;
    });
  }

  async function load(names) {
    try {
      return await Promise.all(names.map(rdcodec.audio));
    } catch (error) {
      find("player-title").textContent = error.message;
      return null;
    }
  }

  function scores(clip, names) {
    const [, first, second] = find("clip-scores").tHead.rows[0].cells;
    [first.textContent, second.textContent] = names.slice(1);
    find("clip-scores").tBodies[0].replaceChildren(...Object.entries(data.metrics).flatMap(([name, title]) => {
      const [own, theirs] = names.slice(1).map((point) => clip.points[point].scores[name]);
      if (own === undefined) return [];
      const line = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = title;
      line.append(head);
      const both = typeof own === "number" && typeof theirs === "number";
      for (const value of [own, theirs, both ? own - theirs : null]) {
        line.insertCell().textContent = typeof value === "string" ? value : text(value, 3);
      }
      return [line];
    }));
  }

  // The waveform, and under it the rate of every tenth of a second.
  function bits() {
    const {buffer, timelines, labels} = state.drawn;
    const canvas = find("bits"), scale = devicePixelRatio || 1;
    const [width, height] = [canvas.width, canvas.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    const context = canvas.getContext("2d");
    const samples = buffer.getChannelData(0), middle = height * 0.25;
    context.fillStyle = colour("--soft");
    for (let x = 0; x < width; x++) {
      let low = 1, high = -1;
      const end = Math.ceil((x + 1) / width * samples.length);
      for (let n = Math.floor(x / width * samples.length); n < end; n++) {
        low = Math.min(low, samples[n]);
        high = Math.max(high, samples[n]);
      }
      context.fillRect(x, middle * (1 - high), 1, Math.max(1, middle * (high - low)));
    }
    const known = timelines.filter(Boolean), bottom = height - 2, room = height * 0.42;
    const most = Math.max(1, ...known.flat());
    timelines.forEach((timeline, index) => {
      if (!timeline) return;
      const shift = buffer.duration / 0.1;
      context.strokeStyle = colour(index ? "--opus" : "--neural");
      context.lineWidth = 2 * scale;
      context.setLineDash(index ? [6 * scale, 3 * scale] : []);
      context.beginPath();
      timeline.forEach((value, place) => {
        const y = bottom - value / most * room;
        context.lineTo(place / shift * width, y);
        context.lineTo(Math.min(place + 1, shift) / shift * width, y);
      });
      context.stroke();
    });
    context.setLineDash([]);
    context.fillStyle = colour("--soft");
    context.font = `${12 * scale}px system-ui, sans-serif`;
    context.fillText(`${(most / 100).toFixed(0)} kbps`, 4 * scale, height * 0.56 - 3 * scale);
    find("bits-legend").textContent = `solid: ${labels[1]}; dashed: ${labels[2]}`;
  }

  function step(by) {
    const place = state.shown.indexOf(state.current) + by;
    if (place >= 0 && place < state.shown.length) open(state.shown[place], false);
  }

  const seek = (seconds) => player.seek(seconds).then(show);

  const keys = {
    " ": () => player.toggle(),
    ...Object.fromEntries(sources.map((_, index) => [index + 1, () => { if (index < state.labels.length) choose(index); }])),
    ArrowLeft: () => seek(player.position - 1), ArrowRight: () => seek(player.position + 1),
    ArrowUp: () => step(-1), ArrowDown: () => step(1),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, summary, a");
    const pressing = event.target.closest("button") && event.key === " ";
    if (state.current === null || typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
    const seen = find("listen").getBoundingClientRect();
    if (seen.bottom < 0 || seen.top > innerHeight || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  find("play").addEventListener("click", () => player.toggle());
  find("matched").addEventListener("change", () => { if (state.found) match(); });
  find("more")?.addEventListener("change", () => { if (state.current !== null) open(state.current, false); });
  find("loop").addEventListener("change", (event) => player.repeat(event.target.checked));
  find("seek").addEventListener("input", (event) => seek(event.target.value * player.duration));
  for (const button of sources) button.addEventListener("click", () => choose(Number(button.dataset.source)));
  for (const area of document.querySelectorAll("[data-seek]")) area.addEventListener("click", (event) => {
    const box = area.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * player.duration);
  });
  for (const button of table.tHead.querySelectorAll("button")) button.addEventListener("click", () => {
    sort(button.dataset.sort, button.dataset.sort === state.sort ? !state.rising : true);
  });
  for (const button of document.querySelectorAll("[data-order]")) button.addEventListener("click", () => {
    sort("difference", button.dataset.order === "worst");
  });
  find("find").addEventListener("input", fill);
  find("listen-metric").addEventListener("change", fill);
  find("pair").addEventListener("change", () => {
    fill();
    if (state.current !== null) open(state.current, false);
  });
  document.addEventListener("kind", (event) => {
    state.kind = event.detail;
    fill();
  });
  const again = () => { if (state.drawn) bits(); };
  rdcodec.dark.addEventListener("change", again);
  addEventListener("resize", again);

  new IntersectionObserver(async (entries, watcher) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    state.clips = await rdcodec.fetch("clips", "clips");
    // Metrics that this run has, the one that scores every kind first.
    const names = Object.keys(data.metrics).filter((name) => state.clips.some((clip) =>
      name in clip.points[pair().neural].scores));
    names.sort((a, b) => (b === data.headline) - (a === data.headline));
    find("listen-metric").replaceChildren(...names.map((name) => new Option(data.metrics[name], name)));
    fill();
    if (state.current === null && state.shown.length) open(median(), false);
  }, {rootMargin: "600px"}).observe(find("listen"));
})();
