"use strict";
// Several sources that play in step, one of them heard.
rdcodec.context = () => rdcodec.audioContext ??= new AudioContext();

// Decoded audio of assets/audio/NAME.js, with the bits of every tenth of a second where known.
rdcodec.audio = (() => {
  const kept = new Map();
  const most = 24;
  return async (name) => {
    if (!kept.has(name)) {
      kept.set(name, (async () => {
        const {flac, lufs, timeline} = await rdcodec.fetch(`audio/${name}`, name);
        rdcodec.forget(name);
        const bytes = Uint8Array.from(atob(flac), (character) => character.charCodeAt(0));
        return {buffer: await rdcodec.context().decodeAudioData(bytes.buffer), lufs, timeline};
      })());
      kept.get(name).catch(() => { kept.delete(name); rdcodec.forget(name); });
      if (kept.size > most) kept.delete(kept.keys().next().value);
    }
    return kept.get(name);
  };
})();

rdcodec.Player = class {
  // onchange is called when playing starts or ends.
  constructor(onchange) {
    this.onchange = onchange;
    this.buffers = [];
    this.gains = [];
    this.chosen = 0;
    this.place = 0;
    this.loop = false;
    this.playing = false;
    this.nodes = [];
  }

  get duration() {
    return this.buffers.length ? this.buffers[0].duration : 0;
  }

  // Seconds into the clip.
  get position() {
    if (!this.playing) return this.place;
    const passed = this.place + Math.max(0, rdcodec.context().currentTime - this.since);
    return this.loop ? passed % this.duration : Math.min(passed, this.duration);
  }

  // gains: a factor for each buffer.
  load(buffers, gains = buffers.map(() => 1)) {
    this.stop();
    this.buffers = buffers;
    this.gains = gains;
    this.place = 0;
    this.chosen = Math.min(this.chosen, buffers.length - 1);
  }

  async play() {
    if (this.playing || !this.buffers.length) return;
    const context = rdcodec.context();
    await context.resume();
    if (this.place >= this.duration - 0.01) this.place = 0;
    // All sources start at one moment of the audio clock, so they stay in step to the sample.
    this.since = context.currentTime + 0.05;
    this.nodes = this.buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(context, {buffer, loop: this.loop});
      const gain = new GainNode(context, {gain: index === this.chosen ? this.gains[index] : 0});
      source.connect(gain).connect(context.destination);
      source.start(this.since, this.place);
      return {source, gain};
    });
    this.nodes[0].source.onended = () => {
      if (this.loop) return;
      this.stop();
      this.place = 0;
      this.onchange();
    };
    this.playing = true;
    this.onchange();
  }

  stop() {
    if (!this.playing) return;
    this.place = this.position;
    this.playing = false;
    for (const {source} of this.nodes) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.nodes = [];
    this.onchange();
  }

  toggle() {
    return this.playing ? this.stop() : this.play();
  }

  async seek(seconds) {
    const playing = this.playing;
    this.stop();
    this.place = Math.min(Math.max(0, seconds), this.duration);
    if (playing) await this.play();
  }

  async repeat(loop) {
    const playing = this.playing;
    this.stop();
    this.loop = loop;
    if (playing) await this.play();
  }

  // Other factors, at once.
  level(gains) {
    this.gains = gains;
    this.choose(this.chosen);
  }

  // Fades over 10 ms: a hard switch would click.
  choose(index) {
    this.chosen = index;
    const now = rdcodec.context().currentTime;
    this.nodes.forEach(({gain}, place) => {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(place === index ? this.gains[place] : 0, now + 0.01);
    });
  }
};
