const VERSION = 'v27';
const STATIC = `static-${VERSION}`;
const PAGES = `pages-${VERSION}`;
const OFFLINE = '/offline.html';
const PRECACHED = [OFFLINE, '/', '/assets/app.css', '/assets/app.js', '/assets/logo.svg'];

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches.open(STATIC).then((cache) => cache.addAll(PRECACHED)).then(() => self.skipWaiting()),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    const keys = await caches.keys();
    await Promise.all(keys.filter((key) => !key.endsWith(VERSION)).map((key) => caches.delete(key)));
    if (self.registration.navigationPreload) await self.registration.navigationPreload.enable();
    await self.clients.claim();
  })());
});

async function networkFirst(event) {
  const cache = await caches.open(PAGES);
  try {
    const response = (await event.preloadResponse) ?? (await fetch(event.request));
    if (response.ok) cache.put(event.request, response.clone());
    return response;
  } catch {
    return (await cache.match(event.request)) ?? caches.match(OFFLINE);
  }
}

self.addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  if (event.request.mode === 'navigate') event.respondWith(networkFirst(event));
  else event.respondWith(caches.match(event.request).then((hit) => hit ?? fetch(event.request)));
});
