import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';

const PORT = Number(process.env.PORT ?? 8080);
const STORE = process.env.STORE ?? 'notes.json';
const MAX_BODY = 64 * 1024;

class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function load() {
  try {
    return new Map(Object.entries(JSON.parse(await readFile(STORE, 'utf8'))));
  } catch (error) {
    if (error.code === 'ENOENT') return new Map();
    throw error;
  }
}

const notes = await load();
const save = () => writeFile(STORE, JSON.stringify(Object.fromEntries(notes)));

async function body(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new HttpError(413, `body over ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new HttpError(400, 'body is not JSON');
  }
}

const routes = [
  ['GET', /^\/notes$/, () => [200, [...notes.values()].sort((a, b) => b.updated - a.updated)]],
  ['GET', /^\/notes\/([\w-]+)$/, (_, id) => [200, find(id)]],
  ['POST', /^\/notes$/, async (request) => {
    const { title, text = '' } = await body(request);
    if (!title) throw new HttpError(422, 'a note needs a title');
    const note = { id: randomUUID(), title, text, updated: Date.now() };
    notes.set(note.id, note);
    await save();
    return [201, note];
  }],
  ['PATCH', /^\/notes\/([\w-]+)$/, async (request, id) => {
    const note = Object.assign(find(id), await body(request), { id, updated: Date.now() });
    await save();
    return [200, note];
  }],
  ['DELETE', /^\/notes\/([\w-]+)$/, async (_, id) => {
    notes.delete(find(id).id);
    await save();
    return [204];
  }],
];

function find(id) {
  const note = notes.get(id);
  if (!note) throw new HttpError(404, `no note ${id}`);
  return note;
}

async function dispatch(request) {
  const { pathname } = new URL(request.url, 'http://localhost');
  for (const [method, pattern, handler] of routes) {
    const match = pattern.exec(pathname);
    if (match && method === request.method) return handler(request, ...match.slice(1));
  }
  throw new HttpError(404, `${request.method} ${pathname} is not served here`);
}

createServer(async (request, response) => {
  const started = performance.now();
  let status, payload;
  try {
    [status, payload] = await dispatch(request);
  } catch (error) {
    status = error.status ?? 500;
    payload = { error: error.status ? error.message : 'internal error' };
    if (!error.status) console.error(error);
  }
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(payload === undefined ? undefined : JSON.stringify(payload));
  console.log(`${request.method} ${request.url} ${status} ${(performance.now() - started).toFixed(1)} ms`);
}).listen(PORT, () => console.log(`listening on :${PORT}`));
