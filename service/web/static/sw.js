/** Keeps the page itself for when there is no connection. It never touches photos, answers or anything else. */

const CACHE = "facet-page";
const TIMEOUT_MS = 4000;
const FILES = [
  "ages.js",
  "app.js",
  "camera.js",
  "card.js",
  "chart.js",
  "choice.js",
  "columns.js",
  "compare.js",
  "contract.js",
  "crops.js",
  "dom.js",
  "facet.js",
  "files.js",
  "history.js",
  "language.js",
  "languages/ar.json",
  "languages/de.json",
  "languages/en.json",
  "languages/es.json",
  "languages/fr.json",
  "languages/hi.json",
  "languages/hu.json",
  "languages/pt.json",
  "languages/zh.json",
  "live.js",
  "model.js",
  "options.js",
  "overview.js",
  "photos.js",
  "picture.js",
  "recording.js",
  "result.js",
  "snippets.js",
  "terms.js",
  "upload.js",
  "words.js",
  "style.css",
  "symbols.svg",
  "icon.svg",
  "icons/192.png",
  "examples/astronaut.jpg",
  "examples/khanna.jpg",
  "examples/lieu.jpg",
  "examples/portraits.jpg",
  "examples/underwood.jpg",
  "examples/waters.jpg",
  "manifest.webmanifest",
  "fonts/figtree.woff2",
];
const scope = new URL(self.registration.scope);
const KEPT = new Set(["./", ...FILES.map((file) => `page/${file}`)].map((file) => new URL(file, scope).href));

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([...KEPT])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  if (event.request.method === "GET" && KEPT.has(address.href)) event.respondWith(newest(event, address.href));
});

/** The network's version, so that a new release shows at once; the kept one where the network does not answer soon. */
async function newest(event, address) {
  const cache = await caches.open(CACHE);
  const fresh = fetch(event.request).then((response) => {
    if (response.ok) event.waitUntil(cache.put(address, response.clone()).catch(() => {})); // the storage may be full
    return response;
  });
  event.waitUntil(fresh.catch(() => {}));
  const kept = await cache.match(address);
  if (!kept) return fresh;
  const late = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS, kept));
  return Promise.race([fresh.catch(() => kept), late]);
}
