// Browsers start no worker from a page that was opened from a disk, and the site's search is one.
// There its script runs in a hidden frame, which sends and gets messages as a worker does.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      // What the script says is for this page; a window's own postMessage would say it to itself.
      this.frame.srcdoc =
        '<script>postMessage = data => parent.postMessage(data, "*")</' + "script>" +
        `<script src="${url}"></` + "script>";
      this.loaded = new Promise(done => this.frame.addEventListener("load", done));
      document.body.append(this.frame);
      window.addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow) return;
        const said = new MessageEvent("message", {data: event.data});
        this.onmessage?.(said);
        this.dispatchEvent(said);
      });
    }

    async postMessage(data) {
      await this.loaded;
      const inside = this.frame.contentWindow;
      inside.dispatchEvent(new inside.MessageEvent("message", {data}));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
