"use strict";
// Spectrograms of decoded audio, drawn in the browser.
rdcodec.spectrogram = (() => {
  const size = 1024;
  const range = 80; // dB
  const window = Float32Array.from({length: size}, (_, n) => 0.5 - 0.5 * Math.cos(2 * Math.PI * n / size));
  const cosines = Float32Array.from({length: size / 2}, (_, k) => Math.cos(2 * Math.PI * k / size));
  const sines = Float32Array.from({length: size / 2}, (_, k) => -Math.sin(2 * Math.PI * k / size));
  const reversed = Uint16Array.from({length: size}, (_, n) => {
    let mirrored = 0;
    for (let bit = 1, place = size >> 1; bit < size; bit <<= 1, place >>= 1) if (n & bit) mirrored |= place;
    return mirrored;
  });
  // Stops of a dark to light scale whose lightness rises evenly.
  const stops = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

  function transform(real, imaginary) {
    for (let length = 2; length <= size; length <<= 1) {
      const half = length >> 1, step = size / length;
      for (let start = 0; start < size; start += length) {
        for (let k = 0; k < half; k++) {
          const cosine = cosines[k * step], sine = sines[k * step];
          const a = start + k, b = a + half;
          const re = real[b] * cosine - imaginary[b] * sine, im = real[b] * sine + imaginary[b] * cosine;
          real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
          real[a] += re; imaginary[a] += im;
        }
      }
    }
  }

  // Power in dB, columns times bins, bin 0 the lowest; channels averaged.
  function analyse(buffer, columns, top) {
    const channels = Array.from({length: buffer.numberOfChannels}, (_, index) => buffer.getChannelData(index));
    const bins = Math.min(size / 2, Math.ceil(top / buffer.sampleRate * size));
    const levels = new Float32Array(columns * bins);
    const real = new Float32Array(size), imaginary = new Float32Array(size);
    for (let column = 0; column < columns; column++) {
      const start = Math.round((column + 0.5) / columns * buffer.length) - size / 2;
      imaginary.fill(0);
      for (let n = 0; n < size; n++) {
        const at = start + reversed[n];
        let sample = 0;
        if (at >= 0 && at < buffer.length) for (const channel of channels) sample += channel[at];
        real[n] = sample / channels.length * window[reversed[n]];
      }
      transform(real, imaginary);
      for (let bin = 0; bin < bins; bin++) {
        levels[column * bins + bin] = 10 * Math.log10(real[bin] ** 2 + imaginary[bin] ** 2 + 1e-12);
      }
    }
    return {levels, columns, bins, peak: levels.reduce((a, b) => Math.max(a, b), -120)};
  }

  function paint(canvas, found, peak) {
    const {levels, columns, bins} = found;
    canvas.width = columns;
    canvas.height = bins;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, bins);
    for (let column = 0; column < columns; column++) for (let bin = 0; bin < bins; bin++) {
      const share = Math.min(1, Math.max(0, 1 + (levels[column * bins + bin] - peak) / range)) * (stops.length - 1);
      const low = Math.min(stops.length - 2, Math.floor(share)), part = share - low;
      const at = 4 * ((bins - 1 - bin) * columns + column);
      for (let c = 0; c < 3; c++) image.data[at + c] = stops[low][c] + part * (stops[low + 1][c] - stops[low][c]);
      image.data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // Draws one spectrogram per canvas, all on the scale of the first; top is their highest Hz.
  return (canvases, buffers, top) => {
    const columns = Math.max(120, Math.min(700, Math.round(canvases[0].clientWidth)));
    const found = buffers.map((buffer) => analyse(buffer, columns, top));
    canvases.forEach((canvas, index) => paint(canvas, found[index], found[0].peak));
  };
})();
