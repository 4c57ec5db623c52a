// @ts-check
// The Chat tab: lines, files, the field to write in.

import { dress, el, icon } from "./dom.js";
import { MAX_CHAT_LETTERS } from "./chat.js";
import { formatBytes, splitLinks } from "./text.js";

/** @typedef {import("./chat.js").ChatLine} ChatLine */
/** @typedef {import("./files.js").FileEntry} FileEntry */

/** Lines of one person within this time share a heading, milliseconds. */
const TOGETHER_MS = 120_000;

export class ChatView {
  #list = el("ol", { class: "lines", role: "log", "aria-label": "Messages", tabindex: 0 });
  #empty = el("p", { class: "empty" }, "Messages and files reach everybody who is in the room now. They are not kept.");
  #field = el("textarea", {
    rows: 1, maxlength: MAX_CHAT_LETTERS, placeholder: "Write to everybody", "aria-label": "Message to everybody",
  });
  #error = el("p", { class: "form-error", role: "alert", hidden: true });
  /** @type {Map<number, HTMLElement>} */
  #lines = new Map();
  /** @type {Map<string, HTMLElement>} */
  #files = new Map();
  #last = { from: "", atMs: 0 };

  /**
   * @param {HTMLElement} holder
   * @param {{say: (text: string) => string | null, attach: (files: File[]) => void}} on
   */
  constructor(holder, on) {
    const pick = el("input", { type: "file", multiple: true, hidden: true });
    const attach = el("button", { type: "button", class: "quiet", onclick: () => pick.click() });
    const send = el("button", { type: "submit", class: "quiet send" });
    dress(attach, { icon: "attach", label: "Share files" });
    dress(send, { icon: "send", label: "Send", key: "Enter" });
    pick.addEventListener("change", () => {
      on.attach([...(pick.files ?? [])]);
      pick.value = "";
    });
    const form = el("form", { class: "write" }, attach, pick, this.#field, send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wrong = on.say(this.#field.value);
      this.#error.hidden = !wrong;
      this.#error.textContent = wrong;
      if (wrong !== null) return;
      this.#field.value = "";
      this.#grow();
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#field.addEventListener("input", () => this.#grow());
    this.#field.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length > 0) {
        event.preventDefault();
        on.attach(files);
      }
    });
    holder.append(this.#empty, this.#list, this.#error, form);
  }

  /** @param {boolean} allowed */
  allow(allowed) {
    this.#field.disabled = !allowed;
    this.#field.placeholder = allowed ? "Write to everybody" : "You may not write in this room";
  }

  /** @param {ChatLine} line */
  add(line) {
    const body = el("p", { class: "said" }, ...splitLinks(line.text).map(({ text, href }) => {
      return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, text) : text;
    }));
    const item = this.#item(line.from, line.own ? "You" : line.name, line.atMs, line.own);
    item.append(body);
    this.#lines.set(line.key, item);
    this.change(line);
    this.#append(item, line.own);
  }

  /** @param {ChatLine} line */
  change(line) {
    this.#lines.get(line.key)?.classList.toggle("waiting", line.waiting);
  }

  /**
   * Adds the file or shows its progress.
   * @param {FileEntry} entry
   * @param {string} name of who sends it
   */
  file(entry, name) {
    let box = this.#files.get(entry.key);
    if (!box) {
      const own = entry.direction === "out";
      const item = this.#item(entry.from, own ? "You" : name, Date.now(), own);
      box = el("div", { class: "file" });
      item.append(box);
      this.#files.set(entry.key, box);
      this.#append(item, own);
    }
    const done = entry.status === "done" || entry.status === "failed";
    // Progress changes often: only the bar moves, unless the state is another one.
    const bar = box.querySelector("progress");
    if (bar && !done && box.dataset.status === entry.status) {
      bar.value = entry.progress;
      return;
    }
    box.dataset.status = entry.status;
    box.replaceChildren(...fileContent(entry, done));
  }

  /**
   * @param {string} from
   * @param {string} name
   * @param {number} atMs
   * @param {boolean} own
   */
  #item(from, name, atMs, own) {
    const item = el("li", { class: own ? "line own" : "line" });
    const follows = this.#last.from === from && atMs - this.#last.atMs < TOGETHER_MS;
    this.#last = { from, atMs };
    if (!follows) {
      const time = new Date(atMs);
      const clock = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      item.classList.add("first");
      item.append(el("div", { class: "who" }, el("b", {}, name), el("time", { datetime: time.toISOString() }, clock)));
    }
    return item;
  }

  /**
   * @param {HTMLElement} item
   * @param {boolean} follow scroll to it in any case
   */
  #append(item, follow) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    this.#empty.hidden = true;
    list.append(item);
    while (list.children.length > 2_000) list.firstElementChild?.remove();
    if (follow || atEnd) list.scrollTop = list.scrollHeight;
  }

  #grow() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(140, this.#field.scrollHeight)}px`;
  }
}

/**
 * @param {FileEntry} entry
 * @param {boolean} done
 */
function fileContent(entry, done) {
  const facts = el("span", { class: "file-facts" }, formatBytes(entry.size), entry.note ? ` · ${entry.note}` : "");
  const text = el("div", { class: "file-text" }, el("span", { class: "file-name", title: entry.name }, entry.name), facts);
  const parts = [icon("file"), text];
  if (entry.url && entry.ok) {
    const link = el("a", { class: "quiet", href: entry.url, download: entry.name, title: `Save ${entry.name}` }, icon("download"));
    link.setAttribute("aria-label", `Save ${entry.name}`);
    return [...parts, link];
  }
  if (!done) {
    text.append(el("progress", { max: 1, value: entry.progress, "aria-label": `Progress of ${entry.name}` }));
  }
  return parts;
}
