/** The photos of this visit: in memory alone, predicted two at a time, newest last. */

import { AGE } from "./contract.js";
import { FacetError } from "./facet.js";
import { needsPreview, outgoing } from "./picture.js";
import { watch } from "./upload.js";

const CONCURRENCY = 2;
const RESENT = 3; // times that a photo is sent again by itself

export class Photos extends EventTarget {
  #facet;
  #running = 0;
  #next = 1;
  /** `preview` is the service's picture of a photo that the browser shows otherwise.
   * @type {{id: number, name: string, blob: Blob, preview: string | null, saved: boolean, status: "waiting" | "running" | "done" | "failed", answer: any, other: any, error: any}[]} */
  all = [];
  /** Attributes that the model declares; none until the service has answered which. */
  declared = [];
  /** Those of them that the operator allows; null until then. */
  offered = null;
  /** Names of those that the viewer does not want to see. */
  hidden = new Set();
  /** Models that a request may name, the default one first. */
  models = [];
  /** The name of the one that the viewer chose; null for the default one. */
  model = null;
  /** A second model whose answers are shown beside the first one's: its name, and what it may answer; null for none. */
  compared = null;
  /** Ages of which a face's probability of being at least so old is requested. */
  atLeast = [];
  /** Parameters of the detector: `minConfidence`, `maxFaces` and `landmarks`, where they were changed. */
  detector = {};

  constructor(facet) {
    super();
    this.#facet = facet;
  }

  /** Parameters of a prediction: what is switched off is never computed into an answer. Without a list of attributes, it is all. */
  get parameters() {
    return this.#parametersOf(this.offered, this.model);
  }

  #parametersOf(offered, model) {
    const visible = this.#visible(offered);
    const some = visible.length < (offered ?? []).length;
    const atLeast = visible.some(hasDistribution) ? this.atLeast : [];
    return { ...(some && { attributes: visible.map(({ name }) => name) }), ...(atLeast.length && { atLeast }), ...this.detector, ...(model && { model }) };
  }

  /** Whether the model has a distribution over ages, so that probabilities of being so old can be requested. */
  get hasAgeDistribution() {
    return (this.offered ?? []).some(hasDistribution);
  }

  /** What the chosen model declares, the names of what the operator allows, and the models that there are. Events named `offer`
   * announce them, the ages and the comparison. */
  offer(declared, allowed, models = []) {
    this.declared = declared;
    this.offered = allowedOf(declared, allowed);
    this.models = models;
    this.dispatchEvent(new Event("offer"));
    this.againWhere((photo) => this.outdated(photo));
  }

  /** Show a second model's answers beside the first one's; null ends it. */
  compare(card) {
    this.compared = card && { name: card.name, offered: allowedOf(card.attributes, new Set(card.serving.attributes)) };
    for (const photo of this.all) if (photo.other?.parameters.model !== this.compared?.name) (leaveComparison(photo), (photo.other = null));
    this.dispatchEvent(new Event("offer"));
    this.#work();
  }

  /** Ask the second model again, which failed. */
  compareAgain(photo) {
    photo.other = null;
    this.#work();
  }

  setAtLeast(ages) {
    this.atLeast = ages;
    this.dispatchEvent(new Event("offer"));
    this.againWhere((photo) => this.outdated(photo));
  }

  setDetector(detector) {
    this.detector = detector;
    this.againWhere((photo) => this.outdated(photo));
  }

  #visible(offered) {
    return (offered ?? []).filter(({ name }) => !this.hidden.has(name));
  }

  /** `saved` says whether the photo is a file of the viewer's, so that a command can name it. */
  add(blob, name, saved) {
    const photo = { id: this.#next++, name, blob, preview: null, saved, status: "waiting", answer: null, other: null, error: null, resent: 0 };
    this.all.push(photo);
    this.#changed(photo);
    queueMicrotask(() => this.#work());
    return photo;
  }

  find(id) {
    return this.all.find((photo) => photo.id === id) ?? null;
  }

  /** Predict other bytes of the same photo: it was turned. */
  replace(photo, blob, name, saved) {
    leave(photo);
    Object.assign(photo, { blob, name, saved, preview: null, open: null, other: null });
    this.again(photo);
  }

  again(photo) {
    Object.assign(photo, { status: "waiting", error: null });
    this.#changed(photo);
    this.#work();
  }

  /** Predict again what failed because the service was not reached, but for a photo under which it goes away each time. */
  resend() {
    this.againWhere((photo) => photo.error?.code === "network_error" && photo.resent < RESENT && ++photo.resent);
  }

  /** Predict every photo again for which a condition holds. */
  againWhere(condition) {
    for (const photo of this.all) if (photo.status !== "running" && condition(photo)) this.again(photo);
    this.#work(); // comparisons, too
  }

  /** Whether a photo was answered with other parameters than those of now. */
  outdated(photo) {
    return photo.status === "done" && this.#differ(photo, this.offered, this.model);
  }

  #differ({ parameters, answer }, offered, model) {
    const visible = this.#visible(offered);
    const attributesLack = visible.some(({ name }) => !(parameters?.attributes?.includes(name) ?? true));
    const agesDiffer = visible.some(hasDistribution) && String(this.atLeast) !== String(parameters?.atLeast ?? []);
    const detectorDiffers = ["minConfidence", "maxFaces", "landmarks"].some((name) => this.detector[name] !== parameters?.[name]);
    const modelDiffers = (parameters?.model ?? null) !== model;
    return modelDiffers || detectorDiffers || (answer.faces.length > 0 && (attributesLack || agesDiffer));
  }

  /** Whether the second model is still to be asked of a photo. */
  #lacksComparison({ status, other }) {
    if (this.compared === null || status !== "done") return false;
    if (other === null) return true;
    return other.status === "done" && this.#differ(other, this.compared.offered, this.compared.name);
  }

  /** Remove all photos, or one; returns what there was before, for `restore`. */
  remove(one = null) {
    const before = this.all;
    this.all = one ? before.filter((photo) => photo !== one) : [];
    for (const photo of one ? [one] : before) leave(photo);
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    return before;
  }

  /** Take back what was removed, before what came since. */
  restore(before) {
    this.all = [...before, ...this.all.filter((photo) => !before.includes(photo))];
    for (const photo of this.all) this.#changed(photo);
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
    this.#work();
  }

  #work() {
    while (this.#running < CONCURRENCY) {
      const waiting = this.all.find((one) => one.status === "waiting");
      const uncompared = waiting ? null : this.all.find((one) => this.#lacksComparison(one));
      if (waiting) this.#predict(waiting);
      else if (uncompared) this.#compare(uncompared);
      else return;
    }
  }

  /** Have the second model answer a photo as it was sent to the first. */
  async #compare(photo) {
    this.#running++;
    const { name, offered } = this.compared;
    const stopping = new AbortController();
    const other = { status: "running", parameters: this.#parametersOf(offered, name), answer: null, error: null, stopping };
    photo.other = other;
    this.#changed(photo);
    try {
      other.answer = await this.#facet.predict(photo.sent.blob, { ...this.options(other.parameters), signal: stopping.signal });
      other.status = "done";
    } catch (error) {
      Object.assign(other, { error: failureOf(error), status: "failed" });
    } finally {
      this.#running--;
      if (photo.other === other) this.#changed(photo);
      this.#work();
    }
  }

  async #predict(photo) {
    this.#running++;
    const stopping = new AbortController();
    const left = () => photo.stopping !== stopping;
    Object.assign(photo, { status: "running", sent: null, share: 0, stopping });
    photo.parameters = this.parameters;
    this.#changed(photo);
    const { blob } = photo;
    const { key } = this.#facet;
    try {
      await readable(blob);
      const previewed = await needsPreview(blob);
      const sent = previewed ? { blob, reduced: false } : await outgoing(blob);
      stopping.signal.throwIfAborted();
      photo.sent = sent;
      watch(sent.blob, (share) => this.#sent(photo, share));
      this.#sent(photo, 0);
      const { image, ...answer } = await this.#facet.predict(sent.blob, { ...this.options(photo.parameters), preview: previewed, signal: stopping.signal });
      if (left()) return;
      const { preview = null, ...size } = image; // it is no part of the answer that is shown as JSON
      Object.assign(photo, { answer: { ...answer, image: size }, preview, status: "done", resent: 0 });
      if (this.outdated(photo)) this.again(photo); // more was switched on meanwhile
    } catch (error) {
      if (left()) return;
      photo.error = failureOf(error);
      photo.status = "failed";
      if (photo.error.code === "unauthenticated" && key !== this.#facet.key) this.again(photo); // another one was entered meanwhile
    } finally {
      this.#running--;
      if (!left()) this.#changed(photo);
      this.#work();
    }
  }

  /** A prediction's options with these parameters. */
  options(parameters) {
    const distribution = !this.offered || this.#visible(this.offered).some(({ kind }) => kind === "expectation");
    return { ...parameters, distribution, timeoutMs: 900_000 };
  }

  /** Stop a photo that is prepared, sent or waits. */
  cancel(photo) {
    const error = new FacetError({ code: "cancelled" });
    if (photo.status === "running") photo.stopping.abort(error);
    else if (photo.status === "waiting") (Object.assign(photo, { status: "failed", error }), this.#changed(photo));
  }

  #sent(photo, share) {
    photo.share = share;
    this.dispatchEvent(new CustomEvent("progress", { detail: photo }));
  }

  #changed(photo) {
    if (!this.all.includes(photo)) return; // removed meanwhile
    this.dispatchEvent(new CustomEvent("change", { detail: photo }));
  }
}

/** End what is under way for a photo that was removed or turned; should it come back, it waits. */
function leave(photo) {
  leaveComparison(photo);
  if (photo.status !== "running") return;
  photo.stopping.abort();
  Object.assign(photo, { status: "waiting", stopping: null });
}

/** The same for its answer by a second model. */
function leaveComparison(photo) {
  if (photo.other?.status !== "running") return;
  photo.other.stopping.abort();
  photo.other = null;
}

const failureOf = (error) => (error instanceof FacetError ? error : new FacetError({ code: "internal_page_error", detail: String(error) }));

/** Those of the declared attributes that the operator allows. */
const allowedOf = (declared, allowed) => declared.filter(({ name }) => allowed.has(name));

/** Whether an attribute has a distribution over years. */
const hasDistribution = ({ name, outputs }) => name === AGE && outputs.length > 1;

/** Raises for what no service could answer: sending it would only look as if the connection were lost. */
async function readable(blob) {
  try {
    await blob.slice(0, 1).arrayBuffer();
  } catch (cause) {
    throw new FacetError({ code: "unreadable_file" }, { cause });
  }
}
