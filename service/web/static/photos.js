/** The photos of this visit: in memory alone, asked for two at a time, newest last. */

import { FacetError } from "./facet.js";
import { needsPreview, outgoing } from "./picture.js";
import { watch } from "./upload.js";

const AT_ONCE = 2;

export class Photos extends EventTarget {
  #facet;
  #asking = 0;
  #next = 1;
  /** `seen` is the service's picture of a photo that the browser shows otherwise.
   * @type {{id: number, name: string, blob: Blob, seen: string | null, saved: boolean, status: "waiting" | "asking" | "done" | "failed", answer: any, error: any}[]} */
  all = [];
  /** Attributes that the model declares and the operator allows; null until the service has said which. */
  offered = null;
  /** Names of those that the viewer does not want to see. */
  hidden = new Set();
  /** Ages of which the viewer wants to know how probable it is that a face is at least so old. */
  atLeast = [];
  /** What the viewer asks of the detector: `minConfidence`, `maxFaces` and `landmarks`, where they were changed. */
  detector = {};

  constructor(facet) {
    super();
    this.#facet = facet;
  }

  /** What is asked for: what is switched off is never computed into an answer. Without a list of attributes, it is all. */
  get asked() {
    const visible = this.#visible.map(({ name }) => name);
    const some = visible.length < (this.offered ?? []).length;
    const atLeast = this.#visible.some(distributed) ? this.atLeast : [];
    return { ...(some && { attributes: visible }), ...(atLeast.length && { atLeast }), ...this.detector };
  }

  /** Whether the model has a distribution over ages, so that it can be asked for probabilities of being so old. */
  get dated() {
    return (this.offered ?? []).some(distributed);
  }

  /** Attributes that can be asked for. Events named `offer` tell of them, and of the ages. */
  offer(attributes) {
    this.offered = attributes;
    this.dispatchEvent(new Event("offer"));
  }

  askAtLeast(ages) {
    this.atLeast = ages;
    this.dispatchEvent(new Event("offer"));
    this.againWhere((photo) => this.lacking(photo));
  }

  askDetector(detector) {
    this.detector = detector;
    this.againWhere((photo) => this.lacking(photo));
  }

  get #visible() {
    return (this.offered ?? []).filter(({ name }) => !this.hidden.has(name));
  }

  /** `saved` says whether the photo is a file of the viewer's, so that a command can name it. */
  add(blob, name, saved) {
    const photo = { id: this.#next++, name, blob, seen: null, saved, status: "waiting", answer: null, error: null };
    this.all.push(photo);
    this.#tell(photo);
    queueMicrotask(() => this.#work());
    return photo;
  }

  find(id) {
    return this.all.find((photo) => photo.id === id) ?? null;
  }

  /** Ask for other bytes of the same photo: it was turned. */
  replace(photo, blob, name, saved) {
    Object.assign(photo, { blob, name, saved, seen: null, open: null });
    this.again(photo);
  }

  again(photo) {
    Object.assign(photo, { status: "waiting", error: null });
    this.#tell(photo);
    this.#work();
  }

  /** Ask again for every photo that failed for this reason, or where one is shown that was not asked for. */
  againWhere(condition) {
    for (const photo of this.all) if (photo.status !== "asking" && condition(photo)) this.again(photo);
  }

  /** Whether a photo was not asked for something that the viewer wants to see. */
  lacking(photo) {
    const fewer = this.#visible.some(({ name }) => !(photo.asked?.attributes?.includes(name) ?? true));
    const otherAges = this.#visible.some(distributed) && String(this.atLeast) !== String(photo.asked?.atLeast ?? []);
    const otherwise = ["minConfidence", "maxFaces", "landmarks"].some((name) => this.detector[name] !== photo.asked?.[name]);
    return photo.status === "done" && (otherwise || (photo.answer.faces.length > 0 && (fewer || otherAges)));
  }

  /** Let go of all photos, or of one; what was let go of can be given to `restore`. */
  forget(one = null) {
    const before = this.all;
    this.all = one ? before.filter((photo) => photo !== one) : [];
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    return before;
  }

  /** Take back what was let go of, before what came since. */
  restore(before) {
    this.all = [...before, ...this.all.filter((photo) => !before.includes(photo))];
    for (const photo of this.all) this.#tell(photo);
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    this.#work();
  }

  #work() {
    while (this.#asking < AT_ONCE) {
      const photo = this.all.find((one) => one.status === "waiting");
      if (!photo) return;
      this.#ask(photo);
    }
  }

  async #ask(photo) {
    this.#asking++;
    const stopping = new AbortController();
    Object.assign(photo, { status: "asking", sent: null, share: 0, stopping });
    photo.asked = this.asked;
    this.#tell(photo);
    const { blob } = photo;
    try {
      await readable(blob);
      const preview = await needsPreview(blob);
      const sent = preview ? { blob, reduced: false } : await outgoing(blob);
      stopping.signal.throwIfAborted();
      photo.sent = sent;
      watch(sent.blob, (share) => this.#told(photo, share));
      this.#told(photo, 0);
      const { image, ...answer } = await this.#facet.predict(sent.blob, { ...this.options(photo.asked), preview, signal: stopping.signal });
      if (photo.blob !== blob) return; // it was turned meanwhile
      const { preview: seen = null, ...size } = image; // it is no part of the answer that is shown as JSON
      Object.assign(photo, { answer: { ...answer, image: size }, seen, status: "done" });
      if (this.lacking(photo)) this.again(photo); // more was switched on meanwhile
    } catch (error) {
      if (photo.blob !== blob) return;
      photo.error = error instanceof FacetError ? error : new FacetError({ code: "internal_page_error", detail: String(error) });
      photo.status = "failed";
    } finally {
      this.#asking--;
      this.#tell(photo);
      this.#work();
    }
  }

  /** A prediction's options for what is asked. */
  options(asked) {
    const distribution = !this.offered || this.#visible.some(({ kind }) => kind === "expectation");
    return { ...asked, distribution, timeoutMs: 900_000 };
  }

  /** Stop a photo that is prepared, sent or waits. */
  cancel(photo) {
    const error = new FacetError({ code: "cancelled" });
    if (photo.status === "asking") photo.stopping.abort(error);
    else if (photo.status === "waiting") (Object.assign(photo, { status: "failed", error }), this.#tell(photo));
  }

  #told(photo, share) {
    photo.share = share;
    this.dispatchEvent(new CustomEvent("progress", { detail: photo }));
  }

  #tell(photo) {
    if (!this.all.includes(photo)) return; // forgotten meanwhile
    this.dispatchEvent(new CustomEvent("change", { detail: photo }));
  }
}

/** Whether an attribute has a distribution over years. */
const distributed = ({ name, outputs }) => name === "age" && outputs.length > 1;

/** Raises for what no service could answer: sending it would only look as if the connection were lost. */
async function readable(blob) {
  if (blob.size === 0) throw new FacetError({ code: "empty_file" });
  try {
    await blob.slice(0, 1).arrayBuffer();
  } catch (cause) {
    throw new FacetError({ code: "unreadable_file" }, { cause });
  }
}
