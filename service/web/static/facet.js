/**
 * A client of Facet: the age, gender and race of every face in a photo, with honest uncertainty.
 *
 * One ES module without dependencies, for browsers and for Node 20 and later. Types stand in facet.d.ts.
 */

/** Problems that another attempt may get past: the service is full, starts, or asks for a slower pace. */
const RETRIED = new Set([429, 503]);
/** Names of options. Another one, such as `max_faces`, would change nothing, and race be answered to who asked for age alone. */
const CALL = ["signal", "timeoutMs", "retries"];
const STREAM = ["attributes", "maxFaces", "minConfidence", "landmarks", "atLeast", "model", ...CALL];
const PREDICTION = [...STREAM, "distribution", "preview"];
const SERVICE = ["baseUrl", "key", "timeoutMs", "retries", "maxWaitMs", "fetch", "WebSocket"];
/** Longest wait for a batch where none is given: a service answers one within 55 s. */
const BATCH_MS = 60_000;
/** How long photos are sent again while all of them are refused, and wait for a service that is not reached. */
const REFUSED_MS = 600_000;
const UNREACHED_MS = 60_000;

/** A failure: a problem of the service by its stable `code`, or the client's own `network_error`, `timeout`, `bad_answer`. */
export class FacetError extends Error {
  /**
   * @param {{code: string, title?: string, detail?: string, status?: number, request_id?: string}} problem
   * @param {{retryAfter?: number | null, cause?: unknown}} [more] `retryAfter` in seconds.
   */
  constructor(problem, { retryAfter = null, cause } = {}) {
    super(problem.detail || problem.title || problem.code, { cause });
    this.name = "FacetError";
    this.code = problem.code;
    this.title = problem.title ?? "";
    this.detail = problem.detail ?? "";
    this.status = problem.status ?? 0;
    this.requestId = problem.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** Everything that was answered of a face, by the name of the attribute: age, gender, race, and what the model says beside them. */
export function attributesOf(face) {
  const answers = (value) => typeof value?.years === "number" || typeof value?.value === "number" || (typeof value?.label === "string" && typeof value.probabilities === "object");
  return Object.fromEntries(Object.entries(face).filter(([, value]) => answers(value)));
}

/** One service. Every method takes `signal` (an AbortSignal) and `timeoutMs` of its own. */
export class Facet {
  #base;
  #fetch;
  #WebSocket;

  /**
   * @param {import("./facet.d.ts").FacetOptions} [options]
   */
  constructor({ baseUrl, key = null, timeoutMs = 30_000, retries = 3, maxWaitMs = 20_000, ...own } = {}) {
    check(own, SERVICE);
    const base = new URL(baseUrl ?? globalThis.document?.baseURI ?? "http://localhost:8000/");
    base.search = base.hash = "";
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#base = base;
    this.#fetch = own.fetch ?? ((...request) => globalThis.fetch(...request));
    this.#WebSocket = own.WebSocket ?? globalThis.WebSocket;
    this.key = key;
    this.timeoutMs = timeoutMs;
    this.retries = retries;
    this.maxWaitMs = maxWaitMs;
  }

  /** Absolute address of a path of the service, with the query that a prediction's options make. */
  url(path, options = {}) {
    const url = new URL(path, this.#base);
    check(options, PREDICTION);
    if (options.attributes) url.searchParams.set("attributes", options.attributes.join(","));
    if (options.maxFaces != null) url.searchParams.set("max_faces", String(options.maxFaces));
    if (options.minConfidence != null) url.searchParams.set("min_confidence", String(options.minConfidence));
    if (options.landmarks) url.searchParams.set("landmarks", "true");
    if (options.distribution) url.searchParams.set("distribution", "true");
    if (options.model != null) url.searchParams.set("model", options.model);
    if (options.preview) url.searchParams.set("preview", "true");
    if (options.atLeast?.length) url.searchParams.set("at_least", options.atLeast.join(","));
    return url;
  }

  /** Every face of one photo: a Blob or File, an ArrayBuffer, a typed array, or in Node the path of its file. */
  async predict(photo, options = {}) {
    const body = await content(photo);
    // The service recognises formats by their bytes; a declared type could only be wrong.
    const init = { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } };
    return this.#json(this.url("predict", options), init, options);
  }

  /** A result or a problem for each of several photos, or in Node paths, in order. */
  async predictBatch(photos, options = {}) {
    if (typeof photos === "string") throw new TypeError("predictBatch takes several photos; put a single one into an array.");
    const body = new FormData();
    for (const [index, photo] of [...photos].entries()) {
      const data = await content(photo);
      body.append("file", data instanceof Blob ? data : new Blob([data]), photo.name || `photo-${index}`);
    }
    const timeoutMs = options.timeoutMs ?? Math.max(this.timeoutMs, BATCH_MS);
    return this.#json(this.url("predict/batch", options), { method: "POST", body }, { ...options, timeoutMs });
  }

  /**
   * Any number of photos, `concurrency` at a time: yields `{index, photo, answer}` or `{index, photo, error}` for each, in their
   * order. One that fails costs no other. In Node a photo may be the path of its file. `onProgress` gets the number that is done.
   * While all are refused for now, they are sent again for ten minutes. One under which the service went away is sent once more.
   */
  async *predictMany(photos, { concurrency = 4, onProgress, signal, ...options } = {}) {
    if (typeof photos === "string") throw new TypeError("predictMany takes several photos; put a single one into an array.");
    if (!(concurrency >= 1)) throw new RangeError("concurrency is 1 or more.");
    check(options, PREDICTION);
    const outage = { began: null }; // since when no photo has been answered
    const window = [];
    const stop = () => window.forEach(({ controller }) => controller.abort(signal?.reason)); // whoever stops early sends no more
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop, { once: true });
    let working = 0;
    const waiting = [];
    const one = async (begun, photo) => {
      if (working >= concurrency) await new Promise((resolve) => waiting.push(resolve));
      else working++;
      try {
        const body = await content(photo);
        begun.controller.signal.throwIfAborted();
        begun.result = { index: begun.index, photo, answer: await this.#predictAgain(body, { ...options, signal: begun.controller.signal }, outage) };
      } catch (error) {
        begun.result = { index: begun.index, photo, error };
      } finally {
        const next = waiting.shift();
        if (next) next();
        else working--;
      }
    };
    const first = async () => {
      const [begun] = window;
      await begun.over;
      window.shift();
      signal?.throwIfAborted();
      onProgress?.(begun.index + 1);
      return begun.result;
    };
    try {
      let index = 0;
      for await (const photo of photos) {
        signal?.throwIfAborted();
        if (window.length >= 2 * concurrency || window[0]?.result) yield await first();
        const begun = { index: index++, controller: new AbortController() };
        begun.over = one(begun, photo);
        window.push(begun);
      }
      while (window.length) yield await first();
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  }

  /** What is served, on what it was trained, and how good it is for whom. */
  async model(options = {}) {
    check(options, ["model", ...CALL]);
    return this.#json(this.url("model", { model: options.model }), {}, options);
  }

  /** Serve another version of the model, the newest where none is named; wants an operator's key. */
  async reload({ version, model, ...options } = {}) {
    check(options, ["version", "model", ...CALL]);
    const url = this.url("model/reload", { model });
    if (version != null) url.searchParams.set("version", version);
    return this.#json(url, { method: "POST" }, options);
  }

  /** State of the service, also where it is not well: then `status` is "unavailable", and nothing is thrown. */
  async health(options = {}) {
    check(options, CALL);
    try {
      return await this.#json(this.url("health"), {}, { retries: 0, ...options });
    } catch (error) {
      if (error instanceof FacetError && error.cause?.status === "unavailable") return error.cause;
      throw error;
    }
  }

  /** A live stream of frames; `await stream.ready`, then `send` one JPEG after the other. */
  stream(options = {}) {
    if (!this.#WebSocket) throw new FacetError({ code: "network_error", detail: "There is no WebSocket here: give one, as new Facet({ WebSocket })." });
    check(options, STREAM);
    const url = new URL("stream", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    const timeoutMs = options.timeoutMs ?? this.timeoutMs;
    return new FacetStream(new this.#WebSocket(url.href), { ...options, key: this.key?.trim(), timeoutMs });
  }

  /** `predict` for one photo of many: waits for a service that refuses all of them for now, or went away. */
  async #predictAgain(photo, options, outage) {
    for (let sent = false; ; ) {
      try {
        const answer = await this.predict(photo, options);
        outage.began = null;
        return answer;
      } catch (error) {
        outage.began ??= Date.now();
        const spent = Date.now() - outage.began;
        if (!(options.retries ?? this.retries)) throw error;
        const waitMs = 1000 * (error.retryAfter || 1);
        if (RETRIED.has(error.status) && spent + waitMs < REFUSED_MS) {
          await delay(waitMs, options.signal);
        } else if (error.code === "network_error" && !sent && spent < UNREACHED_MS) {
          sent = true;
          await this.#reached(options.signal, error, outage);
        } else {
          if (error.status && !RETRIED.has(error.status)) outage.began = null;
          throw error;
        }
      }
    }
  }

  /** Resolves as soon as the service is there; throws `error` where it is not within a minute. */
  async #reached(signal, error, outage) {
    while (Date.now() - (outage.began ?? Date.now()) < UNREACHED_MS) {
      await delay(1000, signal);
      const answer = await this.health({ signal, retries: 0 }).catch((failure) => failure);
      signal?.throwIfAborted();
      if (!["network_error", "timeout"].includes(answer.code)) return;
    }
    throw error;
  }

  async #json(url, init, { signal, timeoutMs = this.timeoutMs, retries = this.retries } = {}) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(url, init, signal, timeoutMs);
      } catch (error) {
        const waitMs = pause(attempt, error.retryAfter);
        if (!RETRIED.has(error.status) || attempt >= retries || waitMs > this.maxWaitMs) throw error;
        await delay(waitMs, signal);
      }
    }
  }

  async #once(url, init, signal, timeoutMs) {
    const [limited, release] = within(timeoutMs, signal);
    const headers = { Accept: "application/json", ...(this.key ? { "X-API-Key": utf8(this.key) } : {}), ...init.headers };
    try {
      const response = await this.#fetch(url, { ...init, headers, signal: limited, credentials: "same-origin" });
      const answer = await parsed(response);
      if (!response.ok) throw refusal(response, answer);
      return answer;
    } catch (error) {
      if (error instanceof FacetError) throw error;
      signal?.throwIfAborted();
      if (limited.aborted) throw new FacetError({ code: "timeout", detail: `No answer within ${timeoutMs / 1000} s.` });
      throw new FacetError({ code: "network_error", detail: "The service cannot be reached." }, { cause: error });
    } finally {
      release();
    }
  }
}

/** Frames over one WebSocket, one under way at a time: a frame is sent when the one before it is answered. */
export class FacetStream {
  #socket;
  #timeoutMs;
  #number = 0;
  #waiting = null;
  #failure = null;
  #limit;
  #greet;
  #refuse;
  #end;

  /** @param {WebSocket} socket Not yet open. */
  constructor(socket, { key, model, attributes, maxFaces, minConfidence, landmarks, atLeast, timeoutMs, signal }) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.binaryType = "arraybuffer";
    /** The service's greeting: model, `max_fps`, `max_frame_bytes` and its time limits. */
    this.ready = new Promise((resolve, reject) => ([this.#greet, this.#refuse] = [resolve, reject]));
    this.ready.catch(() => {}); // who only sends learns of it there
    /** Resolves when the stream is over: to null where we closed it, otherwise to the `FacetError` that ended it. */
    this.closed = new Promise((resolve) => (this.#end = resolve));
    const start = { type: "start", ...(key && { key }), ...(attributes && { attributes }) };
    if (maxFaces != null) start.max_faces = maxFaces;
    if (model != null) start.model = model;
    if (minConfidence != null) start.min_confidence = minConfidence;
    if (landmarks != null) start.landmarks = landmarks;
    if (atLeast?.length) start.at_least = atLeast;
    socket.addEventListener("open", () => socket.send(JSON.stringify(start)));
    socket.addEventListener("message", ({ data }) => this.#hear(data));
    socket.addEventListener("close", ({ code, reason }) => this.#over(code, reason));
    socket.addEventListener("error", () => {}); // unheard, one of the package ws ends the process
    this.#limit = setTimeout(() => this.#fail({ code: "timeout", detail: "The stream did not start in time." }), timeoutMs);
    const stop = () => this.close();
    signal?.addEventListener("abort", stop, { once: true });
    this.closed.then(() => signal?.removeEventListener("abort", stop));
    if (signal?.aborted) this.close();
  }

  /**
   * The answer to one JPEG (a Blob, ArrayBuffer or typed array), or null where the service left the frame out.
   * Throws a `FacetError` for a frame that it could not read, after which the stream goes on, and when the stream is over.
   */
  async send(jpeg) {
    await this.ready;
    given(jpeg);
    if (this.#waiting) throw new Error("A frame is under way: await its answer before the next one.");
    if (this.#socket.readyState !== 1) throw this.#failure ?? closedByUs();
    const number = ++this.#number;
    const answer = new Promise((resolve, reject) => (this.#waiting = { number, resolve, reject }));
    answer.catch(() => {}); // the stream may end while the photo is still being read, before anybody awaits this
    let bytes = jpeg;
    try {
      if (jpeg instanceof Blob) bytes = await jpeg.arrayBuffer();
    } catch (error) {
      if (this.#waiting?.number === number) this.#waiting = null;
      throw error;
    }
    const view = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
    const message = new Uint8Array(8 + view.length);
    new DataView(message.buffer).setBigUint64(0, BigInt(number));
    message.set(view, 8);
    if (this.#waiting?.number === number) {
      this.#socket.send(message);
      this.#limit = setTimeout(() => this.#fail({ code: "timeout", detail: "A frame was not answered in time." }), this.#timeoutMs);
    }
    return answer;
  }

  /** Whether nothing can be sent any more. */
  get over() {
    return this.#failure !== null;
  }

  /** Hang up. */
  close() {
    this.#failure ??= closedByUs();
    this.#socket.close(1000);
    this.#over(1000, "");
  }

  #hear(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch (cause) {
      this.#fail({ code: "bad_answer", detail: "The stream's answer cannot be read." }, cause);
      return;
    }
    if (message.type === "ready") {
      clearTimeout(this.#limit);
      this.#greet(message);
    } else if (message.type === "problem" && message.frame == null) {
      this.#failure = told(message);
    } else if (message.type === "problem" || message.type === "frame") {
      this.#settle(message);
    }
  }

  #settle(message) {
    if (!this.#waiting || message.frame < this.#waiting.number) return;
    const { number, resolve, reject } = this.#waiting;
    this.#waiting = null;
    clearTimeout(this.#limit);
    if (message.frame > number) resolve(null);
    else if (message.type === "frame") resolve(message);
    else reject(told(message));
  }

  #fail(problem, cause) {
    this.#failure ??= new FacetError(problem, { cause });
    this.#socket.close();
    this.#over(1006, "");
  }

  #over(code, reason) {
    clearTimeout(this.#limit);
    const failure = this.#failure ?? ended(code, reason);
    this.#failure = failure;
    this.#refuse(failure);
    this.#waiting?.reject(failure);
    this.#waiting = null;
    this.#end(failure.code === "closed" ? null : failure);
  }
}

/** What a close code means where no problem was sent before it. */
const CLOSINGS = {
  1001: ["not_ready", "The service is shutting down."],
  1008: ["unauthenticated", "The stream was refused."],
  1009: ["body_too_large", "A frame was too large."],
  1011: ["internal_error", "The stream failed."],
  1013: ["too_many_streams", "Too many streams are open."],
  4000: ["stream_over", "The stream has run for as long as it may."],
  4001: ["stream_idle", "No frame came for too long."],
};

/** The error of a stream's problem. */
function told(problem) {
  return new FacetError(problem, { retryAfter: problem.retry_after_s ?? null });
}

function ended(code, reason) {
  const [name, detail] = CLOSINGS[code] ?? ["network_error", "The stream broke off."];
  return new FacetError({ code: name, detail: reason || detail });
}

function closedByUs() {
  return new FacetError({ code: "closed", detail: "The stream was closed." });
}

/** The JSON of a response; undefined where it is none, such as a proxy's own page. */
async function parsed(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (response.ok) throw new FacetError({ code: "bad_answer", status: response.status, detail: "The answer is not JSON." }, { cause });
    return undefined;
  }
}

function refusal(response, answer) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const more = { retryAfter: Number.isFinite(seconds) ? seconds : null, cause: answer };
  const { status, statusText } = response;
  if (typeof answer?.code === "string") return new FacetError(answer, more);
  return new FacetError({ code: "http_error", status, title: statusText, detail: answer?.detail ?? `HTTP ${status}` }, more);
}

/** Throws a `TypeError` for an option that is none of these names, or not the list that it has to be. */
function check(options, names) {
  const other = Object.keys(options).find((name) => !names.includes(name));
  if (other !== undefined) throw new TypeError(`There is no option ${other} here; choose from ${names.join(", ")}.`);
  for (const name of ["attributes", "atLeast"]) {
    if (options[name] != null && !Array.isArray(options[name])) throw new TypeError(`${name} is an array.`);
  }
}

/** A key as a header's value: its bytes in UTF-8, a letter each. */
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text.trim()));
}

/** A photo's bytes as they are given. Throws a `TypeError` for anything else, of which `fetch` would send `[object Object]`. */
function given(photo) {
  const kind = Object.prototype.toString.call(photo); // one of another frame is no instance of ours
  const known = photo instanceof Blob || ["[object Blob]", "[object File]", "[object ArrayBuffer]"].includes(kind);
  if (!known && !ArrayBuffer.isView(photo)) {
    throw new TypeError("A photo is a Blob, an ArrayBuffer or a typed array; in Node also a path.");
  }
  return photo;
}

/** What is sent of a photo: of a path, in Node, its file. */
async function content(photo) {
  if (typeof photo !== "string") return given(photo);
  const name = "node:fs/promises"; // no browser and no bundler is to look for it
  const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  return readFile(photo);
}

/** Milliseconds before attempt `attempt` + 1: what the service asks for, at least 0.5, 1, 2, … s, and up to a quarter more. */
function pause(attempt, retryAfter) {
  return Math.max((retryAfter ?? 0) * 1000, Math.min(8000, 500 * 2 ** attempt)) * (1 + Math.random() / 4);
}

function delay(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A signal that aborts with another one, or after some time; and what lets go of both. */
function within(ms, signal) {
  const own = new AbortController();
  const stop = () => own.abort(signal.reason);
  const timer = setTimeout(() => own.abort(), ms);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  const release = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  };
  return [own.signal, release];
}
