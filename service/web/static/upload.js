/** `fetch` for photos: reports how much of one has been sent, and gives up where nothing moves, however long it takes in all. */

import { FacetError } from "./facet.js";

const STALLED_MS = 60_000;
const listeners = new WeakMap();

/** Have `onProgress(share)` called, 0 to 1, while a blob is sent. */
export const watch = (blob, onProgress) => listeners.set(blob, onProgress);

/** As `fetch`, for what the page's client asks. */
export function send(url, init) {
  const onProgress = init.body instanceof Blob ? listeners.get(init.body) : null;
  if (!onProgress) return fetch(url, init);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let timer;
    const restartTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(() => (reject(new FacetError({ code: "timeout" })), request.abort()), STALLED_MS);
    };
    request.open(init.method, url);
    for (const [name, value] of Object.entries(init.headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => (restartTimer(), onProgress(loaded / total)));
    request.addEventListener("load", () => {
      const after = request.getResponseHeader("Retry-After");
      resolve(new Response(request.responseText || null, { status: request.status, statusText: request.statusText, headers: after ? { "Retry-After": after } : {} }));
    });
    request.addEventListener("error", () => reject(new TypeError("The connection failed.")));
    request.addEventListener("abort", () => reject(new DOMException("Aborted", "AbortError")));
    request.addEventListener("loadend", () => clearTimeout(timer));
    init.signal.addEventListener("abort", () => request.abort(), { once: true });
    restartTimer();
    request.send(init.body);
  });
}
