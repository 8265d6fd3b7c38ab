// The drawing board: a canvas with a pen, an eraser, a fill, and a way back. Pixels are those that are sent.
const MOST_STEPS = 40;
const MOST_COLOURS = 48;

export class Board {
  constructor(canvas, cursor, changed) {
    this.canvas = canvas;
    this.cursor = cursor;
    this.changed = changed;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.tool = "pen";
    this.width = 3;
    this.colour = "#000000";
    this.paper = "#ffffff";
    this.hard = false; // palettes know no colour between two of theirs
    this.file = null; // what was opened, while nothing is drawn on it
    this.undone = [];
    this.done = [];
    this.at = { x: 0, y: 0 };
    this.size(256, 256);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.last = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.show());
    canvas.addEventListener("blur", () => { cursor.hidden = true; });
  }

  size(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.at = { x: width >> 1, y: height >> 1 };
    this.done = [];
    this.undone = [];
    this.file = null;
    this.context.fillStyle = this.paper;
    this.context.fillRect(0, 0, width, height);
    this.changed(this);
  }

  clear() {
    this.keep();
    this.context.fillStyle = this.paper;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed(this);
  }

  // ---- an image that comes ----

  async open(blob, mostPixels) {
    const image = await createImageBitmap(blob, { imageOrientation: "from-image" });
    const scale = Math.min(1, Math.sqrt(mostPixels / (image.width * image.height)));
    const width = Math.max(1, Math.floor(image.width * scale));
    const height = Math.max(1, Math.floor(image.height * scale));
    const paper = this.paper;
    this.paper = "#ffffff";
    this.size(width, height);
    this.paper = paper;
    this.context.drawImage(image, 0, 0, width, height);
    image.close();
    this.file = scale === 1 ? blob : null;
    this.changed(this);
  }

  colours() {
    // Those of the picture, the most frequent first; none where they are many for its size, as in a photo.
    const { data } = this.pixels();
    const words = new Uint32Array(data.buffer);
    const counts = new Map();
    const most = Math.min(MOST_COLOURS, words.length / 64);
    for (const word of words) {
      counts.set(word, (counts.get(word) || 0) + 1);
      if (counts.size > most) return [];
    }
    const hex = (n) => n.toString(16).padStart(2, "0");
    return [...counts].sort((a, b) => b[1] - a[1])
      .map(([word]) => `#${hex(word & 255)}${hex((word >> 8) & 255)}${hex((word >> 16) & 255)}`);
  }

  async blob() {
    if (this.file) return this.file;
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  // ---- a way back ----

  pixels() {
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  keep() {
    this.done.push([this.pixels(), this.file]);
    const room = Math.max(2, Math.min(MOST_STEPS, Math.floor(1e8 / (this.canvas.width * this.canvas.height * 4))));
    while (this.done.length > room) this.done.shift();
    this.undone = [];
    this.file = null;
  }

  undo() { this.swap(this.done, this.undone); }

  redo() { this.swap(this.undone, this.done); }

  swap(from, to) {
    if (!from.length) return;
    to.push([this.pixels(), this.file]);
    const [pixels, file] = from.pop();
    this.context.putImageData(pixels, 0, 0);
    this.file = file;
    this.changed(this);
  }

  // ---- tools ----

  ink() { return this.tool === "eraser" ? this.paper : this.colour; }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const edge = this.canvas.clientLeft;
    const scale = Math.min((box.width - 2 * edge) / this.canvas.width, (box.height - 2 * edge) / this.canvas.height);
    const left = box.left + (box.width - this.canvas.width * scale) / 2;
    const top = box.top + (box.height - this.canvas.height * scale) / 2;
    return { x: Math.floor((event.clientX - left) / scale), y: Math.floor((event.clientY - top) / scale) };
  }

  down(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.cursor.hidden = true;
    try { this.canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone */ }
    this.at = this.place(event);
    this.begin();
  }

  begin() {
    this.keep();
    if (this.tool === "fill") {
      this.fill(this.at.x, this.at.y);
    } else {
      this.last = this.at;
      this.line(this.at, this.at);
    }
    this.changed(this);
  }

  move(event) {
    if (!this.last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const at = this.place(one);
      this.line(this.last, at);
      this.last = this.at = at;
    }
    this.changed(this);
  }

  line(a, b) {
    const c = this.context;
    c.fillStyle = c.strokeStyle = this.ink();
    if (!this.hard && this.width > 1) {
      c.lineWidth = this.width;
      c.lineCap = "round";
      c.beginPath();
      c.moveTo(a.x + 0.5, a.y + 0.5);
      c.lineTo(b.x + 0.5, b.y + 0.5);
      c.stroke();
      return;
    }
    const steps = Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y), 1);
    for (let i = 0; i <= steps; i += 1) {
      this.dot(Math.round(a.x + ((b.x - a.x) * i) / steps), Math.round(a.y + ((b.y - a.y) * i) / steps));
    }
  }

  dot(x, y) {
    // A disc of whole pixels: its edge has no other colour.
    const r = (this.width - 1) / 2;
    for (let dy = -Math.floor(r); dy <= Math.ceil(r); dy += 1) {
      const half = Math.floor(Math.sqrt(Math.max(0, (r + 0.5) ** 2 - dy * dy)));
      this.context.fillRect(x - half, y + dy, Math.max(1, 2 * half + (this.width > 1 ? 1 : 0)), 1);
    }
  }

  fill(x, y) {
    const { width, height } = this.canvas;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const image = this.pixels();
    const words = new Uint32Array(image.data.buffer);
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = this.ink();
    probe.fillRect(0, 0, 1, 1);
    const ink = new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0];
    const old = words[y * width + x];
    if (old === ink) return;
    const left = [y * width + x];
    while (left.length) {
      const at = left.pop();
      if (words[at] !== old) continue;
      const row = at - (at % width);
      let from = at;
      let to = at;
      while (from > row && words[from - 1] === old) from -= 1;
      while (to < row + width - 1 && words[to + 1] === old) to += 1;
      for (let i = from; i <= to; i += 1) {
        words[i] = ink;
        if (i >= width && words[i - width] === old) left.push(i - width);
        if (i + width < words.length && words[i + width] === old) left.push(i + width);
      }
    }
    this.context.putImageData(image, 0, 0);
  }

  // ---- by keyboard ----

  key(event) {
    const step = event.shiftKey ? 8 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      const before = this.at;
      this.at = {
        x: Math.min(this.canvas.width - 1, Math.max(0, before.x + dx)),
        y: Math.min(this.canvas.height - 1, Math.max(0, before.y + dy)),
      };
      if (this.held && this.tool !== "fill") {
        this.line(before, this.at);
        this.changed(this);
      }
      this.show();
    } else if (event.key === " " || event.key === "Enter") {
      // Space starts a line that the arrows draw, and ends it.
      this.held = !this.held && this.tool !== "fill";
      if (this.held || this.tool === "fill") this.begin();
      this.last = null;
      this.show();
    } else {
      return;
    }
    event.preventDefault();
  }

  show() {
    this.cursor.hidden = false;
    this.cursor.style.left = `${((this.at.x + 0.5) / this.canvas.width) * 100}%`;
    this.cursor.style.top = `${((this.at.y + 0.5) / this.canvas.height) * 100}%`;
    this.cursor.style.width = `${(this.width / this.canvas.width) * 100}%`;
    this.cursor.style.aspectRatio = "1";
  }
}
