// The page: models and their controls, requests, and what comes back. All names are text, never markup.
import { Board } from "./board.js";

const $ = (id) => document.getElementById(id);
const MOST_SAMPLES = 16;
const state = { models: [], limits: { pixels: 4e6 }, token: "", number: 0 };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// ---- the server ----

async function ask(path, options = {}) {
  const headers = state.token ? { authorization: `Bearer ${state.token}` } : {};
  const answer = await fetch(path.replace(/^\//, ""), { ...options, headers, cache: "no-store" });
  if (answer.status === 401) $("token").hidden = false;
  if (answer.ok) return answer;
  let said = `status ${answer.status}`;
  try {
    const { error } = await answer.json();
    said = `${error.field}: found ${error.found}; expected ${error.expected}. ${error.fix}`;
  } catch { /* a proxy's own page */ }
  const refusal = new Error(said);
  refusal.busy = answer.status === 429 || answer.status === 503;
  throw refusal;
}

async function patiently(path, options) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!error.busy || tries === 5) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 1000 * tries); });
    }
  }
}

async function load() {
  say("Asking the server for its models.");
  try {
    const { models, limits } = await (await ask("models")).json();
    state.models = models;
    state.limits = limits;
    $("token").hidden = true;
    listModels();
    say(`${models.length} ${models.length === 1 ? "model" : "models"} ready.`);
  } catch (error) {
    say(error.message, true);
  }
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "error" : "";
}

// ---- models and controls ----

function listModels() {
  const boxes = state.models.map((model, number) => {
    const box = make("input", { type: "checkbox", value: String(number), checked: number === 0, className: "unseen" });
    box.addEventListener("change", choose);
    const title = `${model.method}, ${model.images.toLocaleString()} images`;
    return make("label", { className: "button", title }, box, model.name);
  });
  $("model-list").replaceChildren(...boxes);
  choose();
}

function chosen() {
  return [...$("model-list").querySelectorAll("input:checked")].map((box) => state.models[Number(box.value)]);
}

let shape = "";

function choose() {
  const models = chosen();
  const groups = new Map();
  for (const model of models) {
    const key = JSON.stringify([model.controls, model.size]);
    groups.set(key, [...(groups.get(key) ?? []), model]);
  }
  const sets = [...groups.values()].map((alike) => fieldset(alike));
  $("controls").replaceChildren(...sets);
  $("make").disabled = !models.length;
  const first = models.find((model) => inputOf(model));
  $("input").hidden = !first;
  if (!first) return;
  const { palette } = inputOf(first);
  const next = JSON.stringify([first.size, palette]);
  if (next === shape) return;
  shape = next;
  board.hard = palette.length > 0;
  board.paper = palette[0]?.colour || "#ffffff";
  showPalette(palette);
  if (!board.file && !board.done.length) board.size(first.size[1] || 256, first.size[0] || 256);
}

function inputOf(model) {
  return model.inputs[directionOf(model)] ?? null;
}

function directionOf(model) {
  const box = [...$("controls").children].find((one) => one.models?.includes(model));
  return box?.querySelector("[name=direction]")?.value ?? "AtoB";
}

function fieldset(models) {
  const [first] = models;
  const fields = first.controls.map((control) => field(control, first)).filter(Boolean);
  if (!fields.length) fields.push(make("p", { className: "note" }, "Nothing to set."));
  const box = make("fieldset", {}, make("legend", {}, models.map((model) => model.name).join(", ")), ...fields);
  box.models = models;
  return box;
}

const WORDS = {
  sample: "First sample", longer_side: "Longer side, pixels", code: "Code z", like: "Like these images",
  direction: "Direction", output: "Output",
};

function row(text, ...inputs) {
  return make("label", { className: "field" }, make("span", {}, text), ...inputs);
}

function field(control, model) {
  const { name, kind } = control;
  const text = WORDS[name] ?? name;
  if (kind === "labels") return labels(control);
  if (kind === "images") {
    const most = control.most > 1 ? `, at most ${control.most}` : "";
    return row(`${text}${most}`, make("input", { type: "file", accept: "image/*", name, multiple: control.most > 1 }));
  }
  if (kind === "numbers") {
    return row(text, make("input", { type: "text", name, placeholder: `drawn; or ${control.count} numbers`, size: 24 }));
  }
  if (kind === "number") {
    const start = name === "longer_side" ? Math.max(...model.size) || "" : control.least;
    const input = make("input", { type: "number", name, min: control.least, max: control.most, value: start });
    if (name !== "sample") return row(text, input);
    const many = make("input", { type: "number", name: "count", min: 1, max: MOST_SAMPLES, value: 1 });
    return make("div", {}, row(text, input), row("How many samples", many));
  }
  const options = control.choices.map((one) => make("option", { value: one }, one));
  return row(text, make("select", { name }, ...options));
}

function labels(control) {
  const boxes = control.sets.map((set, number) => {
    const type = set.exclusive && control.sets.length === 1 ? "radio" : "checkbox";
    const each = set.names.map((title, place) => {
      const checked = !number && !place;
      const box = make("input", { type, name: `target-${number}-${state.number}`, value: title, checked, className: "unseen" });
      box.dataset.label = "";
      return make("label", { className: "button" }, box, title);
    });
    return make("div", { className: "choices", role: "group", "aria-label": "Labels of the output" }, ...each);
  });
  state.number += 1;
  return make("div", { className: "field" }, make("span", {}, "Target"), ...boxes);
}

function quoted(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

function fieldsOf(model) {
  // The fields of a model's form, and how many samples are wanted.
  const box = [...$("controls").children].find((one) => one.models.includes(model));
  const texts = {};
  let like = [];
  let count = 1;
  for (const control of model.controls) {
    const input = box.querySelector(`[name="${control.name}"]`);
    if (control.kind === "labels") {
      const on = [...box.querySelectorAll("[data-label]:checked")].map((one) => quoted(one.value));
      texts[control.name] = on.join(",") || "none";
    } else if (control.kind === "images") {
      like = [...input.files];
    } else if (input.value !== "") {
      texts[control.name] = input.value;
    }
  }
  const many = box.querySelector("[name=count]");
  if (many) count = Math.min(MOST_SAMPLES, Math.max(1, Number(many.value) || 1));
  return { texts, like, count };
}

// ---- making ----

async function makeAll(event) {
  event.preventDefault();
  const models = chosen();
  const source = await board.blob();
  const sourceURL = URL.createObjectURL(source);
  const jobs = models.flatMap((model) => {
    const { texts, like, count } = fieldsOf(model);
    return Array.from({ length: count }, (_, k) => {
      const own = { ...texts };
      if (count > 1 || "sample" in texts) own.sample = String(Number(texts.sample ?? 0) + k);
      return { model, texts: own, like, hasInput: Boolean(inputOf(model)) };
    });
  });
  $("make").disabled = true;
  say(`Making ${jobs.length} ${jobs.length === 1 ? "image" : "images"}.`);
  const figures = jobs.map((job) => figure(job));
  $("outputs").replaceChildren(...figures.map((one) => one.element));
  const made = await Promise.all(jobs.map((job, number) => one(job, source, sourceURL, figures[number])));
  const failed = made.filter((done) => !done).length;
  say(failed ? `${failed} of ${jobs.length} could not be made.` : "Done.", failed > 0);
  $("make").disabled = false;
}

async function one(job, source, sourceURL, shown) {
  const form = new FormData();
  if (job.hasInput) form.append("image", source, "input.png");
  for (const [name, value] of Object.entries(job.texts)) form.append(name, value);
  for (const file of job.like) form.append("like", file, "like");
  const begun = performance.now();
  try {
    const answer = await patiently(job.model.url, { method: "POST", body: form });
    const blob = await answer.blob();
    if (!blob.type.startsWith("image/")) throw new Error("The output is no picture that a browser shows; use the API.");
    shown.show(job, job.hasInput ? sourceURL : "", blob, performance.now() - begun);
    return true;
  } catch (error) {
    shown.fail(error.message);
    return false;
  }
}

function titleOf(job) {
  const said = ["target", "sample", "direction"].filter((name) => name in job.texts);
  return [job.model.name, ...said.map((name) => `${name} ${job.texts[name]}`)].join(", ");
}

function figure(job) {
  const caption = make("figcaption", {}, titleOf(job));
  const body = make("div", {}, make("p", { className: "note" }, "Waiting."));
  const element = make("figure", {}, caption, body);
  return {
    element,
    fail: (text) => body.replaceChildren(make("p", { className: "error", role: "alert" }, text)),
    show: (done, sourceURL, blob, milliseconds) => {
      const url = URL.createObjectURL(blob);
      const output = make("img", { src: url, alt: `output of ${titleOf(done)}` });
      const pair = make("div", { className: sourceURL ? "pair" : "pair alone" });
      const parts = [pair];
      if (sourceURL) {
        pair.append(make("img", { src: sourceURL, alt: "source" }), output);
        const slider = make("input", { type: "range", min: 0, max: 100, value: 50 });
        slider.setAttribute("aria-label", "Source on the left, output on the right of");
        slider.addEventListener("input", () => pair.style.setProperty("--cut", `${slider.value}%`));
        parts.push(slider);
      } else {
        pair.append(output);
      }
      const name = `${titleOf(done).replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80)}.png`;
      const save = make("a", { href: url, download: name, className: "button" }, "Download");
      const again = make("button", { type: "button" }, "As input");
      again.addEventListener("click", () => open(blob));
      const time = make("span", { className: "note" }, `${(milliseconds / 1000).toFixed(2)} s`);
      body.replaceChildren(...parts, make("div", { className: "deeds" }, save, again, time));
    },
  };
}

// ---- the board ----

const board = new Board($("board"), $("cursor"), ({ done, undone }) => {
  $("undo").disabled = !done.length;
  $("redo").disabled = !undone.length;
});

async function open(blob) {
  if (!blob.type.startsWith("image/")) {
    say(`That is no image but ${blob.type || "a file of an unknown kind"}.`, true);
    return;
  }
  try {
    await board.open(blob, state.limits.pixels);
  } catch {
    say("That image cannot be opened by this browser.", true);
    return;
  }
  say(`An image of ${board.canvas.width} x ${board.canvas.height} pixels.`);
  const models = chosen();
  const palette = models.length && inputOf(models[0])?.palette;
  if (palette && palette.length) return;
  const colours = board.colours();
  board.hard = colours.length > 0;
  showPalette(colours.map((colour) => ({ name: colour, colour })));
}

function showPalette(palette) {
  const buttons = palette.filter((one) => one.colour).map(({ name, colour }, number) => {
    const box = make("input", { type: "radio", name: "palette", value: colour, className: "unseen", checked: !number });
    box.addEventListener("change", () => pick(colour));
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = colour;
    return make("label", { className: "button" }, box, swatch, name);
  });
  $("palette").replaceChildren(...buttons);
  if (buttons.length) pick(palette.find((one) => one.colour).colour);
}

function pick(colour) {
  board.colour = colour;
  $("colour").value = colour;
}

$("colour").addEventListener("input", (event) => { board.colour = event.target.value; });
$("width").addEventListener("input", (event) => { board.width = Number(event.target.value); });
$("tool").addEventListener("change", (event) => { board.tool = event.target.value; });
$("undo").addEventListener("click", () => board.undo());
$("redo").addEventListener("click", () => board.redo());
$("clear").addEventListener("click", () => board.clear());
$("file").addEventListener("change", (event) => { if (event.target.files[0]) open(event.target.files[0]); });
$("ask").addEventListener("submit", makeAll);
$("controls").addEventListener("change", (event) => { if (event.target.name === "direction") redirect(); });

function redirect() {
  const first = chosen().find((model) => inputOf(model));
  if (first) showPalette(inputOf(first).palette);
}

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches("input:not([type=radio], [type=range]), textarea")) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) board.undo();
  else if (key === "y" || key === "z") board.redo();
  else return;
  event.preventDefault();
});

document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) open(file);
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a file beside the board must not replace the page
    $("easel").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}

// ---- light and dark, the token, the beginning ----

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = new FormData(event.target).get("token").trim();
  sessionStorage.setItem("token", state.token);
  load();
});

const theme = localStorage.getItem("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
if (location.hash.length > 16) {
  sessionStorage.setItem("token", decodeURIComponent(location.hash.slice(1)));
  history.replaceState(null, "", location.pathname); // it must not stay in the address
}
state.token = sessionStorage.getItem("token") ?? "";
load();
