"use strict";
// The blind listening test: ABX, and ratings with hidden reference and anchor.
(() => {
  const {data} = rdcodec;
  const find = (id) => document.getElementById(id);
  const setup = find("setup");
  const session = {};
  const player = new rdcodec.Player(() => {
    find("play").textContent = player.playing ? "Stop" : "Play";
    find("play").setAttribute("aria-pressed", player.playing);
  });
  player.loop = true;

  // Anyone can repeat a session's order from its seed (mulberry32).
  function generator(seed) {
    return () => {
      seed = seed + 0x6D2B79F5 | 0;
      let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
      mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
      return ((mixed ^ mixed >>> 14) >>> 0) / 4294967296;
    };
  }

  function shuffled(items, random) {
    const order = [...items];
    for (let last = order.length - 1; last > 0; last--) {
      const place = Math.floor(random() * (last + 1));
      [order[last], order[place]] = [order[place], order[last]];
    }
    return order;
  }

  // Clips in random order, all of them once before any comes again.
  function* drawn(count, random) {
    for (;;) yield* shuffled(Array.from({length: count}, (_, number) => number), random);
  }

  function questions(test, systems, count, clips, random) {
    const places = systems.map(() => drawn(clips, random));
    if (test === "mushra") return Array.from({length: count}, () => ({
      clip: places[0].next().value,
      stimuli: shuffled(["reference", ...systems, "lowpass-3500"], random),
    }));
    return shuffled(Array.from({length: count}, (_, index) => index % systems.length), random).map((which) => ({
      clip: places[which].next().value, system: systems[which], x: random() < 0.5 ? "A" : "B",
    }));
  }

  // A steep low-pass at 3.5 kHz, the low anchor of BS.1534: a Butterworth filter of order 8.
  async function lowpass(buffer) {
    const context = new OfflineAudioContext(buffer.numberOfChannels, buffer.length, buffer.sampleRate);
    const source = new AudioBufferSourceNode(context, {buffer});
    const last = [1, 3, 5, 7].reduce((node, k) => {
      const factor = 1 / (2 * Math.cos(k * Math.PI / 16));
      const filter = new BiquadFilterNode(context, {type: "lowpass", frequency: 3500, Q: 20 * Math.log10(factor)});
      return node.connect(filter);
    }, source);
    last.connect(context.destination);
    source.start();
    return context.startRendering();
  }

  async function buffer(clip, name, original) {
    if (name === "lowpass-3500") return lowpass(original);
    return (await rdcodec.audio(`${clip}-${name === "reference" ? "original" : name}`)).buffer;
  }

  setup.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = new FormData(setup);
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const test = form.get("test"), systems = rdcodec.points(data.pairs[Number(form.get("pair"))], form.has("more"));
    try {
      session.clips = await rdcodec.fetch("clips", "clips");
    } catch (error) {
      alert(error.message);
      return;
    }
    Object.assign(session, {
      place: 0, open: false,
      questions: questions(test, [...systems.keys()], Number(form.get("trials")), session.clips.length, generator(seed)),
      result: {
        format: "rdcodec listening 1", test, listener: form.get("listener").trim(), playback: form.get("playback"),
        session: Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
        seed, started: new Date().toISOString(), finished: null, run: data.run,
        systems: Object.fromEntries(systems), trials: [],
      },
    });
    setup.hidden = true;
    find("running").hidden = false;
    find("abx").hidden = test !== "abx";
    find("mushra").hidden = test !== "mushra";
    await ask();
  });

  async function ask() {
    const {place, result} = session;
    const question = session.questions[place];
    session.open = false;
    find("problem").textContent = "";
    find("stimuli").replaceChildren();
    find("ratings").replaceChildren();
    find("progress").value = place / session.questions.length;
    find("question").textContent = `Question ${place + 1} of ${session.questions.length}`;
    find("question").focus();
    const abx = result.test === "abx";
    find("instruction").textContent = abx
      ? "A is the original, B is coded. Which of them is X?"
      : "Rate each version against the reference. One of them is the reference itself, and should get 100.";
    find("keys").textContent = abx
      ? "Keys: A, B and X choose what is heard, Space plays and stops, ← says that X is A, → that X is B."
      : `Keys: 0 is the reference, 1 to ${Math.min(9, question.stimuli.length)} the versions; Space plays and stops; arrow keys move the slider of the version chosen; Enter goes on.`;
    try {
      const original = await buffer(question.clip, "reference");
      const names = abx ? ["reference", question.system, question.x === "A" ? "reference" : question.system]
        : ["reference", ...question.stimuli];
      const buffers = await Promise.all(names.map((name) => buffer(question.clip, name, original)));
      player.load(buffers);
    } catch (error) {
      find("problem").textContent = error.message;
      return;
    }
    const labels = abx ? ["A", "B", "X"] : ["reference", ...question.stimuli.map((_, index) => `${index + 1}`)];
    find("stimuli").replaceChildren(...labels.map((label, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.dataset.stimulus = index;
      button.addEventListener("click", () => hear(index));
      return button;
    }));
    session.heard = new Set();
    session.asked = performance.now();
    if (!abx) rate(question);
    session.open = true;
    await hear(abx ? 2 : 0);
  }

  async function hear(index) {
    player.choose(index);
    session.heard.add(index);
    const buttons = [...find("stimuli").children];
    rdcodec.press(buttons, buttons[index]);
    await player.play();
    ready();
  }

  function rate(question) {
    session.ratings = question.stimuli.map(() => null);
    find("ratings").replaceChildren(...question.stimuli.map((_, index) => {
      const line = document.createElement("label");
      line.className = "rating";
      const slider = Object.assign(document.createElement("input"), {type: "range", min: 0, max: 100, value: 50});
      const shown = document.createElement("output");
      shown.textContent = "–";
      slider.setAttribute("aria-label", `Rating of version ${index + 1}`);
      slider.addEventListener("input", () => {
        session.ratings[index] = Number(slider.value);
        shown.textContent = slider.value;
        if (player.chosen !== index + 1) hear(index + 1);
        ready();
      });
      line.append(`version ${index + 1}`, slider, shown);
      return line;
    }));
    ready();
  }

  function ready() {
    if (session.result.test !== "mushra") return;
    const all = session.ratings.every((rating, index) => rating !== null && session.heard.has(index + 1));
    find("next").disabled = !all;
  }

  async function record(answer) {
    if (!session.open) return;
    session.open = false;
    const question = session.questions[session.place];
    const clip = session.clips[question.clip];
    player.stop();
    session.result.trials.push({
      clip: clip.clip, kind: clip.kind, ...answer,
      seconds: Math.round(performance.now() - session.asked) / 1000,
    });
    session.place += 1;
    if (session.place < session.questions.length) await ask();
    else finish();
  }

  function answer(said) {
    const {system, x} = session.questions[session.place];
    return record({system, x, answer: said});
  }

  function next() {
    const {stimuli} = session.questions[session.place];
    return record({ratings: Object.fromEntries(stimuli.map((name, index) => [name, session.ratings[index]]))});
  }

  function finish() {
    const {result} = session;
    result.finished = new Date().toISOString();
    find("running").hidden = true;
    find("done").hidden = false;
    find("done-title").focus();
    const right = result.trials.filter((trial) => trial.x && trial.x === trial.answer).length;
    find("outcome").textContent = result.test === "abx"
      ? `${right} of ${result.trials.length} answers were right; guessing gives about ${result.trials.length / 2}.`
      : `${result.trials.length} clips rated.`;
    send(result);
    const link = find("download");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(result, null, 1) + "\n"], {type: "application/json"}));
    link.download = `listening-${result.test}-${result.session}.json`;
  }

  // Where `rdcodec listening serve` gave the page, answers go back to it; the file is there anyway.
  const answers = document.querySelector('meta[name="answers"]')?.content;
  async function send(result) {
    if (!answers) return;
    let said = "Your answers have arrived; there is nothing to save.";
    try {
      const response = await fetch(answers, {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(result),
      });
      if (!response.ok) throw new Error((await response.json()).detail);
    } catch (error) {
      said = `Your answers did not arrive (${error.message}): save them, please.`;
    }
    find("sent").textContent = said;
  }
  if (answers) {
    find("report").replaceWith(...find("report").childNodes);
    find("promise").textContent = "At the end your answers go to whoever gave you this page, and nowhere else.";
  }

  find("play").addEventListener("click", () => player.toggle());
  find("next").addEventListener("click", next);
  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  addEventListener("beforeunload", (event) => { if (session.open) event.preventDefault(); });

  document.addEventListener("keydown", (event) => {
    if (!session.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const abx = session.result.test === "abx";
    const onButton = event.target.closest("button");
    const keys = abx
      ? {a: () => hear(0), b: () => hear(1), x: () => hear(2), ArrowLeft: () => answer("A"), ArrowRight: () => answer("B")}
      : {0: () => hear(0), Enter: () => { if (!find("next").disabled) next(); }};
    [...find("ratings").children].forEach((line, index) => keys[index + 1] = () => {
      hear(index + 1);
      line.querySelector("input").focus();
    });
    keys[" "] = () => player.toggle();
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!keys[key] || onButton && (key === " " || key === "Enter")) return;
    event.preventDefault();
    keys[key]();
  });
})();
