/** The live view: camera to canvas to JPEG to the service's stream, one frame under way at a time, and the answers drawn. */

import * as camera from "./camera.js";
import { age, colour, crop, label } from "./card.js";
import { $, el, icon, place } from "./dom.js";
import { position } from "./picture.js";
import { count, failure, summary, warning } from "./words.js";

const SIDE = 640; // pixels; a face that fills a tenth of it is found
const QUALITY = 0.8;
const STILL_MS = 1500; // a card's crop is taken anew so often

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
    document.addEventListener("visibilitychange", () => document.hidden && this.stop("The camera was switched off while the page was in the background."));
  }

  #build() {
    this.video = el("video", { playsinline: true, muted: true });
    this.video.muted = true;
    this.overlay = el("div", { class: "live-boxes" });
    this.status = el("p", { class: "live-status", role: "status" });
    this.start = el("button", { type: "button", class: "primary", onclick: () => this.begin() }, icon("camera"), "Start the camera");
    this.end = el("button", { type: "button", class: "stop", hidden: true, onclick: () => this.stop() }, icon("stop"), "Stop");
    this.flip = el("button", { type: "button", hidden: true, onclick: () => this.#turn() }, icon("flip"), "Other camera");
    this.message = el("div", { class: "live-message" });
    this.cards = el("div", { class: "cards live-cards" });
    this.stage = el("div", { class: "stage live-stage idle" }, this.video, this.overlay, this.message);
    const controls = el("div", { class: "live-controls" }, this.start, this.end, this.flip, this.status);
    const title = el("h1", { id: "live-title", class: "view-title" }, "Live view");
    $("live").append(el("div", { class: "result live-result" }, el("div", { class: "stage-column" }, title, this.stage, controls), this.cards));
    this.#say("Your camera, face by face", "Frames go to this service alone, are answered from memory and forgotten. Each face keeps its number, and its answer settles as more frames are seen.");
  }

  /** Called whenever the view is opened. */
  opened() {
    if (!camera.lent()) {
      this.start.hidden = true;
      this.#say("The camera needs HTTPS here", `${camera.NEEDS_HTTPS} Open the page at localhost, or start the service with`, "facet serve --tls");
    }
  }

  async begin() {
    const run = (this.#run = new AbortController());
    this.start.hidden = true;
    this.#say("Opening the camera …");
    try {
      this.#stream = await camera.open(this.#facing);
    } catch (error) {
      this.#over(run, "There is no picture", camera.refusal(error));
      return;
    }
    if (run.signal.aborted) return camera.stop(this.#stream);
    this.video.srcObject = this.#stream;
    this.stage.classList.toggle("mirrored", camera.mirrored(this.#stream));
    this.#stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("The camera was disconnected."), { signal: run.signal });
    await this.video.play().catch(() => {});
    this.#frameSize();
    this.end.hidden = false;
    const cameras = await navigator.mediaDevices.enumerateDevices();
    this.flip.hidden = cameras.filter(({ kind }) => kind === "videoinput").length < 2;
    await this.#follow(run);
  }

  /** Let go of the camera and of the stream. */
  stop(reason = null) {
    if (this.#run && !this.#run.signal.aborted) this.#over(this.#run, reason ? "Stopped" : "The camera is off", reason ?? "Nothing of what it saw was kept.");
  }

  async #follow(run) {
    this.#say("Connecting …");
    const canvas = el("canvas");
    let stream;
    try {
      stream = this.#facet.stream({ attributes: this.#photos.wanted, signal: run.signal, timeoutMs: 15_000 });
      const { max_fps: fastest = 30 } = await stream.ready;
      this.message.replaceChildren();
      this.stage.classList.remove("idle");
      while (!run.signal.aborted) {
        const began = performance.now();
        const waitMs = await this.#one(stream, canvas, run);
        const spent = performance.now() - began;
        await pause(Math.max(waitMs, 1000 / fastest - spent), run.signal);
      }
    } catch (error) {
      if (!run.signal.aborted) await this.#failed(run, error);
    } finally {
      stream?.close();
    }
  }

  /** Send a frame and draw its answer; milliseconds that the service asks to wait for the next one. */
  async #one(stream, canvas, run) {
    const jpeg = await camera.frame(this.video, SIDE, QUALITY, canvas);
    if (!jpeg || run.signal.aborted) return 50;
    const sent = performance.now();
    try {
      const answer = await stream.send(jpeg);
      if (answer && !run.signal.aborted) this.#draw(answer, canvas, performance.now() - sent);
      return answer?.next_in_ms ?? 0;
    } catch (error) {
      if (stream.over || run.signal.aborted) throw error;
      this.#note(failure(error).title, ""); // this frame alone
      return 500;
    }
  }

  #draw({ image, faces }, canvas, ms) {
    const mirror = this.stage.classList.contains("mirrored");
    const present = new Set(faces.map(({ id }) => id));
    for (const [id, track] of this.#tracks) {
      if (present.has(id)) continue;
      track.box.remove();
      track.card.remove();
      this.#tracks.delete(id);
    }
    for (const face of faces) {
      const track = this.#tracks.get(face.id) ?? this.#appear(face);
      const x = mirror ? image.width - face.box.x - face.box.width : face.box.x;
      position(track.box, { ...face.box, x }, image.width, image.height, colour(face.id - 1));
      track.box.classList.toggle("under", face.box.y / image.height < 0.12);
      track.tag.textContent = summary(face, this.#photos.shown);
      this.#describe(track, face, canvas, canvas.width / image.width);
    }
    const seen = faces.length ? count(faces.length, "face") : "No face in view";
    this.#note(seen, `${Math.round(ms)} ms`);
  }

  #appear(face) {
    const tag = el("span");
    const box = el("div", { class: "box", "data-track": String(face.id) }, el("span", { class: "tag" }, el("b", {}, String(face.id)), " ", tag));
    const holder = el("div", { class: "live-body" });
    const card = place(el("article", { class: "card live-card", "aria-label": `Face ${face.id}` }, holder), { "--face": colour(face.id - 1) });
    const track = { tag, box, card, holder, still: null, stillAt: -Infinity };
    this.overlay.append(box);
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
    const { shown } = this.#photos;
    const known = face.age || face.gender || face.race;
    track.holder.replaceChildren(
      el(
        "header",
        {},
        track.still,
        el("div", {}, el("h3", {}, el("span", { class: "number", "aria-hidden": "true" }, String(face.id)), `Face ${face.id}`), el("p", { class: "fine" }, known ? `from ${count(face.answers ?? face.frames, "frame")}` : "looking …")),
      ),
      ...[
        shown.age && face.age && age(face.age),
        shown.gender && face.gender && label("Gender", face.gender),
        shown.race && face.race && label("Race", face.race),
        face.warnings?.length && el("ul", { class: "warnings" }, face.warnings.map((name) => el("li", {}, icon("alert"), warning(name)))),
      ].filter(Boolean),
    );
  }

  /** The number of faces is news for a screen reader; the pace is not. */
  #note(seen, pace) {
    if (this.status.firstChild?.textContent !== seen) this.status.replaceChildren(el("span", {}, seen), el("span", { class: "pace", "aria-hidden": "true" }));
    this.status.lastChild.textContent = pace;
  }

  async #turn() {
    this.#facing = this.#facing === "user" ? "environment" : "user";
    this.stop();
    await this.begin();
  }

  async #failed(run, error) {
    if (error.code === "network_error" && (await reachable(this.#facet))) {
      return this.#over(run, "The live stream did not open", "The service answers, but no stream could be opened or it broke off. A proxy in between may not pass WebSockets on, or this service has none.");
    }
    const { title, advice } = failure(error);
    this.#over(run, title, advice);
    if (error.code === "unauthenticated") this.stage.dispatchEvent(new CustomEvent("key", { bubbles: true }));
  }

  #over(run, title, text) {
    run.abort();
    camera.stop(this.#stream);
    this.#stream = null;
    this.video.srcObject = null;
    for (const { box, card } of this.#tracks.values()) (box.remove(), card.remove());
    this.#tracks.clear();
    this.status.replaceChildren();
    this.stage.classList.add("idle");
    this.start.hidden = false;
    this.end.hidden = this.flip.hidden = true;
    this.#say(title, text);
  }

  #say(title, text = null, command = null) {
    this.message.replaceChildren(el("h2", {}, title), ...(text ? [el("p", {}, text)] : []), ...(command ? [el("code", {}, command)] : []));
  }

  #frameSize() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width && height) place(this.stage, { "--ratio": String(width / height) });
  }
}

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
