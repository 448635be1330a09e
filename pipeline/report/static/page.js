"use strict";
// What every page shares: its data, and scripts that are loaded when somebody asks for them.
const rdcodec = window.rdcodec = {
  data: JSON.parse(document.getElementById("data").textContent),
  waiting: new Map(),

  // Scripts under assets/ hand over their value by this.
  receive(name, value) {
    rdcodec.waiting.get(name)?.resolve(value);
  },

  // The value of assets/PATH.js; a page opened from a disk may run scripts, and read no other file.
  fetch(path, name) {
    if (!rdcodec.waiting.has(name)) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => {
        Object.assign(entry, {resolve, reject});
        rdcodec.run(path).catch(reject);
      });
      rdcodec.waiting.set(name, entry);
    }
    return rdcodec.waiting.get(name).promise;
  },

  forget(name) {
    rdcodec.waiting.delete(name);
  },

  run(path) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `assets/${path.split("/").map(encodeURIComponent).join("/")}.js`;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => {
        script.remove();
        reject(new Error(`${script.getAttribute("src")} is missing: keep the page and its folder assets together`));
      };
      document.head.append(script);
    });
  },

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  },

  // Points with their kbps: a pair alone, or the other rates and a peer, too.
  points(pair, more) {
    const {pairs, peer} = rdcodec.data;
    return new Map([
      [pair.neural, pair.neural_kbps], [pair.anchor, pair.anchor_kbps],
      ...more ? pairs.map((one) => [one.neural, one.neural_kbps]) : [],
      ...more && peer ? [[peer.point, peer.kbps]] : [],
    ]);
  },

  // One of several buttons is pressed.
  press(buttons, chosen) {
    for (const button of buttons) button.setAttribute("aria-pressed", button === chosen);
  },

  dark: matchMedia("(prefers-color-scheme: dark)"),
};
