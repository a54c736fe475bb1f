/** Keeps the page itself for when there is no connection. It never touches photos, answers or anything else. */

const CACHE = "facet-page";
const TIMEOUT_MS = 4000;
const FILES = [
  "./",
  "page/ages.js",
  "page/app.js",
  "page/camera.js",
  "page/card.js",
  "page/chart.js",
  "page/choice.js",
  "page/columns.js",
  "page/compare.js",
  "page/contract.js",
  "page/crops.js",
  "page/dom.js",
  "page/facet.js",
  "page/files.js",
  "page/history.js",
  "page/language.js",
  "page/languages/ar.json",
  "page/languages/de.json",
  "page/languages/en.json",
  "page/languages/es.json",
  "page/languages/fr.json",
  "page/languages/hi.json",
  "page/languages/hu.json",
  "page/languages/pt.json",
  "page/languages/zh.json",
  "page/live.js",
  "page/model.js",
  "page/options.js",
  "page/overview.js",
  "page/photos.js",
  "page/picture.js",
  "page/recording.js",
  "page/result.js",
  "page/snippets.js",
  "page/terms.js",
  "page/upload.js",
  "page/words.js",
  "page/style.css",
  "page/symbols.svg",
  "page/icon.svg",
  "page/icons/192.png",
  "page/examples/astronaut.jpg",
  "page/examples/khanna.jpg",
  "page/examples/lieu.jpg",
  "page/examples/portraits.jpg",
  "page/examples/underwood.jpg",
  "page/examples/waters.jpg",
  "page/manifest.webmanifest",
  "page/fonts/figtree.woff2",
];
const scope = new URL(self.registration.scope);
const KEPT = new Set(FILES.map((file) => new URL(file, scope).href));

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
