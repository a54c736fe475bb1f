/** The live view: camera to canvas to JPEG to the service's stream, one frame under way at a time, and the answers drawn. */

import { agesField } from "./ages.js";
import * as camera from "./camera.js";
import { attributes, colour, crop } from "./card.js";
import { $, el, icon, place } from "./dom.js";
import { known, language, number, text, translate } from "./language.js";
import { position } from "./picture.js";
import { count, duration, failure, visible, warning, words } from "./words.js";

const SIDE = 640; // pixels; a face that fills a tenth of it is found
const QUALITY = 0.8;
const STILL_MS = 1500; // a card's crop is taken anew so often
const AWAY_MS = 2500; // the service expects a face back for two seconds; so long its card stays
const SNAPSHOT = 4096; // pixels
const RECONNECTS = 6;
const LEAD_MS = 300; // a box runs ahead of its answer by no more than this

export class Live {
  #facet;
  #photos;
  #stream = null;
  #run = null;
  #facing = "user";
  #tracks = new Map();

  constructor(facet, photos) {
    this.#facet = facet;
    this.#photos = photos;
    this.#build();
    document.addEventListener("visibilitychange", () => document.hidden && this.stop("live.hidden"));
    language.addEventListener("change", () => (translate(this.message), this.#clear()));
  }

  #build() {
    this.video = el("video", { playsinline: true, muted: true });
    this.video.muted = true;
    this.overlay = el("div", { class: "live-boxes" });
    this.status = el("p", { class: "live-status", role: "status" });
    this.start = el("button", { type: "button", class: "primary", onclick: () => this.begin() }, icon("camera"), el("span", { "data-text": "live.start" }));
    this.end = el("button", { type: "button", class: "stop", hidden: true, onclick: () => this.stop() }, icon("stop"), el("span", { "data-text": "live.stop" }));
    this.flip = el("button", { type: "button", hidden: true, onclick: () => this.#flip() }, icon("flip"), el("span", { "data-text": "live.flip" }));
    this.snap = el("button", { type: "button", hidden: true, onclick: () => this.#snapshot() }, icon("image"), el("span", { "data-text": "live.snapshot" }));
    this.message = el("div", { class: "live-message" });
    this.cards = el("div", { class: "cards live-cards" });
    this.stage = el("div", { class: "stage live-stage idle" }, this.video, this.overlay, this.message);
    const controls = el("div", { class: "live-controls" }, this.start, this.end, this.snap, this.flip, this.status);
    const title = el("h1", { id: "live-title", class: "view-title", "data-text": "live.title" });
    $("live").append(el("div", { class: "result live-result" }, el("div", { class: "stage-column" }, title, this.stage, controls, agesField(this.#photos, "live-ages")), this.cards));
    this.#show("live.intro", "live.intro.text");
    translate($("live"));
  }

  /** Called whenever the view is opened. */
  opened() {
    if (!camera.available()) {
      this.start.hidden = true;
      this.#show("live.https", "live.https.text", "facet serve --tls");
    }
  }

  async begin() {
    const run = (this.#run = Object.assign(new AbortController(), { opened: false, lost: 0 }));
    this.start.hidden = true;
    this.#show("live.opening");
    try {
      this.#stream = await camera.open(this.#facing);
    } catch (error) {
      this.#end(run, "live.no_camera", camera.refusal(error));
      return;
    }
    if (run.signal.aborted) return camera.stop(this.#stream);
    this.video.srcObject = this.#stream;
    this.stage.classList.toggle("mirrored", camera.mirrored(this.#stream));
    this.#stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("live.disconnected"), { signal: run.signal });
    await this.video.play().catch(() => {});
    this.#frameSize();
    this.end.hidden = this.snap.hidden = false;
    const cameras = await navigator.mediaDevices.enumerateDevices();
    this.flip.hidden = cameras.filter(({ kind }) => kind === "videoinput").length < 2;
    await this.#follow(run);
  }

  /** Let go of the camera and of the stream. */
  stop(reason = null) {
    if (this.#run && !this.#run.signal.aborted) this.#end(this.#run, reason ? "live.stopped" : "live.off", reason ?? "live.off.text");
  }

  async #follow(run) {
    this.#show("live.connecting");
    while (!run.signal.aborted) {
      try {
        await this.#runStream(run);
      } catch (error) {
        if (run.signal.aborted) return;
        if (!run.opened || !PASSING.has(error.code) || run.lost >= RECONNECTS) return await this.#failed(run, error);
        await this.#reconnect(run);
      }
    }
  }

  /** Keep the camera, and try another stream after 0.5, 1, 2, … seconds. */
  async #reconnect(run) {
    this.#clear();
    this.status.replaceChildren();
    this.#show("live.reconnecting", "live.reconnecting.text");
    this.stage.classList.add("idle");
    await pause(Math.min(8000, 500 * 2 ** run.lost++), run.signal);
  }

  /** One stream. Its parameters are sent at its start, so that it ends when they change. */
  async #runStream(run) {
    const canvas = el("canvas");
    const current = () => JSON.stringify(this.#photos.parameters);
    const begunWith = current();
    const stream = this.#facet.stream({ ...this.#photos.parameters, signal: run.signal, timeoutMs: 15_000 });
    try {
      const { max_fps: fastest = 30 } = await stream.ready;
      run.opened = true;
      this.#clear();
      this.message.replaceChildren();
      this.stage.classList.remove("idle");
      while (!run.signal.aborted && current() === begunWith) {
        const began = performance.now();
        const waitMs = await this.#sendFrame(stream, canvas, run);
        const spent = performance.now() - began;
        await pause(Math.max(waitMs, 1000 / fastest - spent), run.signal);
      }
    } finally {
      stream.close();
    }
  }

  /** Send a frame and draw its answer; milliseconds that the service asks to wait for the next one. */
  async #sendFrame(stream, canvas, run) {
    const jpeg = await camera.frame(this.video, SIDE, QUALITY, canvas);
    if (!jpeg || run.signal.aborted) return 50;
    const sent = performance.now();
    try {
      const answer = await stream.send(jpeg);
      run.lost = 0;
      if (answer && !run.signal.aborted) this.#draw(answer, canvas, sent);
      return answer?.next_in_ms ?? 0;
    } catch (error) {
      if (stream.over || run.signal.aborted) throw error;
      this.#report(failure(error).title, ""); // this frame alone
      return 500;
    }
  }

  /** Draw the answer to a frame that was taken at `taken`. */
  #draw({ image, faces }, canvas, taken) {
    const now = performance.now();
    const mirror = this.stage.classList.contains("mirrored");
    this.#hideAbsent(new Set(faces.map(({ id }) => id)), now);
    for (const face of faces) {
      const track = this.#tracks.get(face.id) ?? this.#appear(face);
      const { left, top } = ahead(track, face.box, taken, now);
      const x = mirror ? image.width - left - face.box.width : left;
      position(track.box, { ...face.box, x, y: top }, image.width, image.height, colour(face.id - 1));
      if (!track.box.isConnected) this.overlay.append(track.box);
      track.box.classList.toggle("under", top / image.height < 0.12);
      track.box.classList.toggle("leftwards", x / image.width > 0.55);
      track.tag.textContent = words(face, this.#photos.hidden).slice(0, 2).join(", ");
      this.#describe(track, face, canvas, canvas.width / image.width);
    }
    const found = faces.length ? count(faces.length, "faces") : text("live.nobody");
    this.#report(found, duration(now - taken));
  }

  /** What is not in view has no box; its card stays a while, so that nothing jumps where somebody is hidden for a moment. */
  #hideAbsent(present, now) {
    for (const [id, track] of this.#tracks) {
      if (present.has(id)) track.lastSeen = now;
      track.card.classList.toggle("away", !present.has(id));
      if (present.has(id)) continue;
      track.box.remove();
      track.last = null;
      if (now - track.lastSeen < AWAY_MS) continue;
      track.card.remove();
      this.#tracks.delete(id);
    }
  }

  #appear(face) {
    const tag = el("span");
    const box = el("div", { class: "box", "data-track": String(face.id) }, el("span", { class: "tag" }, el("b", {}, number(face.id)), " ", tag));
    const holder = el("div", { class: "live-body" });
    const card = place(el("article", { class: "card live-card", "aria-label": text("face.title", { n: face.id }) }, holder), { "--face": colour(face.id - 1) });
    const track = { tag, box, card, holder, still: null, stillAt: -Infinity, last: null, lastSeen: performance.now() };
    this.cards.append(card);
    this.#tracks.set(face.id, track);
    return track;
  }

  #describe(track, face, canvas, scale) {
    const now = performance.now();
    if (now - track.stillAt > STILL_MS) {
      track.still = crop(canvas, face.box, scale);
      track.stillAt = now;
    }
    const { hidden } = this.#photos;
    const answered = visible(face, new Set()).length > 0;
    track.holder.replaceChildren(
      el(
        "header",
        {},
        track.still,
        el("div", {}, el("h3", {}, el("span", { class: "number", "aria-hidden": "true" }, number(face.id)), text("face.title", { n: face.id })), el("p", { class: "fine" }, answered ? text("live.from", { frames: count(face.answers ?? face.frames, "frames") }) : text("live.looking"))),
      ),
      ...[
        ...attributes(face, hidden),
        face.warnings?.length && el("ul", { class: "warnings" }, face.warnings.map((name) => el("li", {}, icon("alert"), warning(name)))),
      ].filter(Boolean),
    );
  }

  /** The number of faces is news for a screen reader; the pace is not. */
  #report(found, pace) {
    if (this.status.firstChild?.textContent !== found) this.status.replaceChildren(el("span", {}, found), el("span", { class: "pace", "aria-hidden": "true" }));
    this.status.lastChild.textContent = pace;
  }

  async #flip() {
    this.#facing = this.#facing === "user" ? "environment" : "user";
    this.stop();
    await this.begin();
  }

  async #failed(run, error) {
    if (error.code === "network_error" && (await reachable(this.#facet))) {
      return this.#end(run, "live.unopened", "live.unopened.text");
    }
    const { title, advice } = failure(error);
    this.#end(run, title, advice);
    if (error.code === "unauthenticated") this.stage.dispatchEvent(new CustomEvent("key", { bubbles: true }));
  }

  #end(run, title, text) {
    run.abort();
    camera.stop(this.#stream);
    this.#stream = null;
    this.video.srcObject = null;
    this.#clear();
    this.status.replaceChildren();
    this.stage.classList.add("idle");
    this.start.hidden = false;
    this.end.hidden = this.flip.hidden = this.snap.hidden = true;
    this.#show(title, text);
  }

  /** Faces are numbered anew in every stream. */
  #clear() {
    for (const { box, card } of this.#tracks.values()) (box.remove(), card.remove());
    this.#tracks.clear();
  }

  /** A title and a sentence by their keys, or what `failure` and `refusal` have put into words already. */
  #show(title, sentence = null, command = null) {
    const line = (tag, words) => (known(words) ? el(tag, { "data-text": words }, text(words)) : el(tag, {}, words));
    this.message.replaceChildren(line("h2", title), ...(sentence ? [line("p", sentence)] : []), ...(command ? [el("code", {}, command)] : []));
  }

  /** What the camera shows now, as a photo of the visit. */
  async #snapshot() {
    const photo = await camera.frame(this.video, SNAPSHOT, 0.92);
    if (photo) this.stage.dispatchEvent(new CustomEvent("snapshot", { bubbles: true, detail: photo }));
  }

  #frameSize() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width && height) place(this.stage, { "--ratio": String(width / height) });
  }
}

/** Where a box is by now, if the face goes on as it went between its last two frames: an answer is as old as it took. */
function ahead(track, { x, y, width }, taken, now) {
  const { last } = track;
  const span = last && taken - last.taken;
  const pace = (to, from, before) => (span > 0 ? ((to - from) / span + before) / 2 : 0); // its own noise is half of a still face's
  const across = pace(x, last?.x, last?.across);
  const down = pace(y, last?.y, last?.down);
  track.last = { x, y, taken, across, down };
  const lead = Math.min(now - taken, LEAD_MS);
  const moves = Math.hypot(across, down) * lead > width / 20; // a still face must not tremble
  return moves ? { left: x + across * lead, top: y + down * lead } : { left: x, top: y };
}

/** What ends a stream, but may not end the next one. */
const PASSING = new Set(["network_error", "not_ready", "stream_over", "timeout"]);

async function reachable(facet) {
  try {
    return (await facet.health({ timeoutMs: 4000 })).status === "ok";
  } catch {
    return false;
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, ms));
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
