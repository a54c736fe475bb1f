/** The live view: a camera or a video file to canvas to JPEG to the service's stream, one frame under way at a time, and the answers
 * drawn. */

import { agesField } from "./ages.js";
import * as camera from "./camera.js";
import { attributes, colour, crop } from "./card.js";
import { $, become, el, icon, place } from "./dom.js";
import { download } from "./files.js";
import { known, language, number, row, text, translate } from "./language.js";
import { position } from "./picture.js";
import * as recording from "./recording.js";
import { count, duration, failure, visible, warning, words } from "./words.js";

const SIDE = 640; // pixels; a face that fills a tenth of it is found
const QUALITY = 0.8;
const STILL_MS = 1500; // a card's crop is taken anew so often
const AWAY_MS = 2500; // the service expects a face back for two seconds; so long its card stays
const SNAPSHOT = 4096; // pixels
const RECONNECTS = 12; // over a minute: a service may take half of one to start
const OPEN = 2; // cards that are open at first; of more, each is one line
const PAUSED_MS = 1000; // a video that stands still is shown to the service so often
const STEP_MS = 200; // a video plays on for so long after a frame of it, and then waits for the answer
const LONGEST_RECORDING_MS = 600_000; // it is held in memory
const LEAD_MS = 300; // a box runs ahead of its answer by no more than this

export class Live {
  #facet;
  #photos;
  #stream = null;
  #run = null;
  #facing = "user";
  #recording = null;
  #tracks = new Map();

  constructor(facet, photos) {
    this.#facet = facet;
    this.#photos = photos;
    this.#build();
    document.addEventListener("visibilitychange", () => document.hidden && (this.#run?.film ? this.video.pause() : this.stop("live.hidden")));
    language.addEventListener("change", () => (translate(this.message), this.#clear()));
  }

  #build() {
    this.video = el("video", { playsinline: true, muted: true });
    this.video.muted = true;
    this.overlay = el("div", { class: "live-boxes" });
    this.status = el("p", { class: "live-status", role: "status" });
    this.start = button("live.start", "camera", () => this.begin(), { class: "primary" });
    this.film = el("input", { type: "file", id: "film", accept: "video/*", hidden: true });
    this.film.addEventListener("change", () => (this.film.files.length && this.play(this.film.files[0]), (this.film.value = "")));
    this.choose = button("live.film", "film", () => this.film.click());
    this.record = button("live.record", "record", () => (this.#recording ? this.#saveRecording() : this.#startRecording()), { hidden: true, "aria-pressed": "false" });
    this.end = button("live.stop", "stop", () => this.stop(), { class: "stop", hidden: true });
    this.flip = button("live.flip", "flip", () => this.#flip(), { hidden: true });
    this.snap = button("live.snapshot", "image", () => this.#snapshot(), { hidden: true });
    this.message = el("div", { class: "live-message", role: "status" });
    this.cards = el("div", { class: "cards live-cards" });
    this.stage = el("div", { class: "stage live-stage idle" }, this.video, this.overlay, this.message);
    const controls = el("div", { class: "live-controls" }, this.start, this.choose, this.film, this.end, this.snap, this.record, this.flip, this.status);
    const title = el("h1", { id: "live-title", class: "view-title", "data-text": "live.title" });
    $("live").append(el("div", { class: "result live-result" }, el("div", { class: "stage-column" }, title, this.stage, controls, agesField(this.#photos, "live-ages")), this.cards));
    this.#show("live.intro", "live.intro.text");
    translate($("live"));
  }

  /** Called whenever the view is opened. */
  opened() {
    if (!camera.available() && !this.#running) {
      this.start.hidden = true;
      this.#show("live.https", "live.https.text", "facet serve --tls");
    }
  }

  get #running() {
    return this.#run !== null && !this.#run.signal.aborted;
  }

  #newRun(film) {
    this.stop();
    this.#clear();
    const focused = [this.start, this.choose].includes(document.activeElement);
    this.start.hidden = this.choose.hidden = true;
    return (this.#run = Object.assign(new AbortController(), { opened: false, lost: 0, film, focused }));
  }

  /** Follow the faces of a video file while it plays, to its end. */
  async play(file) {
    const run = this.#newRun(true);
    const address = URL.createObjectURL(file);
    run.signal.addEventListener("abort", () => URL.revokeObjectURL(address), { once: true });
    this.#show("live.connecting");
    this.stage.classList.remove("mirrored");
    this.stage.classList.add("film");
    const broken = () => this.#end(run, "live.film.broken", "live.film.broken.text");
    this.video.addEventListener("error", broken, { signal: run.signal });
    await loaded(this.video, address).catch(broken);
    if (run.signal.aborted) return;
    this.video.controls = true;
    this.video.addEventListener("ended", () => this.#end(run, "live.film.ended"), { signal: run.signal });
    this.#shown();
    await this.#follow(run);
  }

  /** The video has pictures: what can be done with them is offered, and `again` has the focus if nothing else has. */
  #shown(again = this.end) {
    this.#frameSize();
    this.end.hidden = this.snap.hidden = false;
    this.record.hidden = !recording.available();
    if (this.#run.focused && document.activeElement === document.body) (again.hidden ? this.end : again).focus({ preventScroll: true });
  }

  async begin(again) {
    const run = this.#newRun(false);
    this.#show("live.opening");
    const stream = await camera.open(this.#facing).catch((error) => this.#end(run, "live.no_camera", camera.refusal(error)));
    if (run.signal.aborted) return camera.stop(stream);
    this.#stream = this.video.srcObject = stream;
    this.stage.classList.toggle("mirrored", camera.mirrored(stream));
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("live.disconnected"), { signal: run.signal });
    await this.video.play().catch(() => {});
    const several = await camera.several();
    if (run.signal.aborted) return;
    this.flip.hidden = !several;
    this.#shown(again);
    await this.#follow(run);
  }

  /** Let go of the camera and of the stream. */
  stop(reason = null) {
    if (!this.#running) return;
    if (this.#run.film) this.#end(this.#run, "live.stopped");
    else this.#end(this.#run, reason ? "live.stopped" : "live.off", reason ?? "live.off.text");
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
      if (run.film) await this.video.play().catch(() => {}); // its controls are there where the browser wants a click
      while (!run.signal.aborted && current() === begunWith) {
        const began = performance.now();
        const waitMs = await this.#sendFrame(stream, canvas, run);
        const spent = performance.now() - began;
        const still = run.film && this.video.paused;
        await pause(Math.max(waitMs, (still ? PAUSED_MS : 1000 / fastest) - spent), run.signal);
        if (!document.hidden) continue;
        while (document.hidden && !run.signal.aborted) await pause(PAUSED_MS, run.signal);
        if (stream.over) return; // it was idle; the next one goes on with the video
      }
    } finally {
      stream.close();
    }
  }

  /** Send a frame and draw its answer; milliseconds that the service asks to wait for the next one. */
  async #sendFrame(stream, canvas, run) {
    const jpeg = await camera.frame(this.video, SIDE, QUALITY, canvas);
    if (!jpeg || run.signal.aborted) return 50;
    if (run.film) this.#playOn(run);
    const sent = performance.now();
    try {
      const answer = await stream.send(jpeg);
      run.lost = 0;
      if (answer && !run.signal.aborted) this.#draw(answer, canvas, sent);
      return answer?.next_in_ms ?? 0;
    } catch (error) {
      if (stream.over || run.signal.aborted) throw error;
      this.#report(failure(error).title, ""); // this frame alone
      return 1000 * (error.retryAfter ?? 0.5);
    }
  }

  /** A video plays no faster than its frames are answered. Its rate stops it, as a pause is the viewer's. */
  #playOn(run) {
    clearTimeout(run.holding);
    this.video.playbackRate = 1;
    run.holding = setTimeout(() => (this.video.playbackRate = 0), STEP_MS);
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
      track.place = { x: x / image.width, y: top / image.height, width: face.box.width / image.width, height: face.box.height / image.height };
      if (!track.box.isConnected) this.overlay.append(track.box);
      track.box.classList.toggle("under", top / image.height < 0.12);
      track.box.classList.toggle("leftwards", x / image.width > 0.55);
      track.tag.textContent = row(words(face, this.#photos.hidden).slice(0, 2));
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
      track.last = track.place = null;
      if (this.#run.film || now - track.lastSeen < AWAY_MS) continue; // of a video, all who were in it are of interest
      track.card.remove();
      this.#tracks.delete(id);
    }
  }

  #appear(face) {
    const tag = el("span");
    const box = el("div", { class: "box", "data-track": String(face.id) }, el("span", { class: "tag" }, el("b", {}, number(face.id)), " ", tag));
    const parts = {
      still: el("span", { class: "crop none", "aria-hidden": "true" }),
      brief: el("span", { class: "brief" }),
      frames: el("span", { class: "fine" }),
      body: el("div", { class: "live-body" }),
    };
    const heading = el("h3", {}, el("span", { class: "number", "aria-hidden": "true" }, number(face.id)), text("face.title", { n: face.id }));
    const details = el("details", { open: this.#tracks.size < OPEN }, el("summary", {}, parts.still, el("span", { class: "who" }, heading, parts.brief, parts.frames), icon("down")), parts.body);
    const card = place(el("article", { class: "card live-card", "aria-label": text("face.title", { n: face.id }) }, details), { "--face": colour(face.id - 1) });
    const track = { tag, box, card, details, parts, place: null, stillAt: -Infinity, last: null, lastSeen: performance.now() };
    details.addEventListener("toggle", () => details.open && track.fill?.());
    this.cards.append(card);
    this.#tracks.set(face.id, track);
    return track;
  }

  #describe(track, face, canvas, scale) {
    const now = performance.now();
    const { parts } = track;
    if (now - track.stillAt > STILL_MS) {
      const still = crop(canvas, face.box, scale);
      parts.still.replaceWith(still);
      parts.still = still;
      track.stillAt = now;
    }
    const { hidden } = this.#photos;
    const answered = visible(face, new Set()).length > 0;
    parts.brief.textContent = row(words(face, hidden));
    parts.frames.textContent = answered ? text("live.from", { frames: count(face.answers ?? face.frames, "frames") }) : text("live.looking");
    const warnings = face.warnings?.length > 0 && el("ul", { class: "warnings" }, face.warnings.map((name) => el("li", {}, icon("alert"), warning(name))));
    track.fill = () => become(parts.body, el("div", { class: "live-body" }, attributes(face, hidden), warnings));
    if (track.details.open) track.fill();
  }

  /** The number of faces is news for a screen reader; the pace is not. */
  #report(found, pace) {
    if (this.status.firstChild?.textContent !== found) this.status.replaceChildren(el("span", {}, found), el("span", { class: "pace", "aria-hidden": "true" }));
    this.status.lastChild.textContent = pace;
  }

  async #flip() {
    this.#facing = this.#facing === "user" ? "environment" : "user";
    this.stop();
    await this.begin(this.flip);
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
    if (run.signal.aborted) return; // another one may have the camera by now
    if (this.#recording) this.#saveRecording();
    run.abort();
    camera.stop(this.#stream);
    this.#stream = null;
    this.video.srcObject = null;
    clearTimeout(run.holding);
    this.video.playbackRate = 1;
    this.video.controls = false;
    this.video.removeAttribute("src");
    if (run.film) this.video.load(); // lets go of the file
    this.stage.classList.remove("film");
    if (run.film) for (const { box } of this.#tracks.values()) box.remove(); // the cards stay to be read
    else this.#clear();
    this.status.replaceChildren();
    this.stage.classList.add("idle");
    const used = [this.end, this.flip, this.snap, this.record];
    const focused = used.includes(document.activeElement) || (run.focused && document.activeElement === document.body);
    this.start.hidden = !camera.available();
    this.choose.hidden = false;
    for (const button of used) button.hidden = true;
    if (focused) (this.start.hidden ? this.choose : this.start).focus({ preventScroll: true });
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

  /** Record the view with its boxes, until the button is pressed again, the view ends, or ten minutes have passed. */
  #startRecording() {
    const boxes = () => [...this.#tracks].filter(([, { place }]) => place).map(([id, { place, tag }]) => ({ ...place, tag: `${id} ${tag.textContent}`.trim(), colour: colour(id - 1) }));
    this.#recording = recording.record(this.video, { mirrored: this.stage.classList.contains("mirrored"), boxes });
    this.#recording.timer = setTimeout(() => this.#saveRecording(), LONGEST_RECORDING_MS);
    this.#recordButton("live.record.stop", true);
  }

  async #saveRecording() {
    const ending = this.#recording;
    this.#recording = null;
    clearTimeout(ending.timer);
    this.#recordButton("live.record", false);
    const { blob, suffix } = await ending.stop();
    download(`facet-live.${suffix}`, blob);
  }

  #recordButton(key, pressed) {
    this.record.setAttribute("aria-pressed", String(pressed));
    this.record.lastChild.dataset.text = key;
    translate(this.record);
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

const button = (key, symbol, onclick, more) => el("button", { type: "button", onclick, ...more }, icon(symbol), el("span", { "data-text": key }));

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

/** Have a video load a file; raises where the browser cannot play it. */
function loaded(video, address) {
  return new Promise((resolve, reject) => {
    video.addEventListener("loadeddata", () => (video.videoWidth ? resolve() : reject(new Error("No pictures."))), { once: true });
    video.addEventListener("error", reject, { once: true });
    video.src = address;
  });
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
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end); // else hours leave thousands
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, ms));
    signal.addEventListener("abort", end);
  });
}
