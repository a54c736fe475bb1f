/** The client against a running service (FACET_URL), and against a server of its own that is busy, slow or broken. */

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { runInNewContext } from "node:vm";

import { Facet, FacetError, attributesOf } from "../facet.js";

const PHOTO = Buffer.from(process.env.FACET_PHOTO ?? "", "base64");

/** Serve with a handler; the URL and what stops it. */
async function serving(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  return [`http://127.0.0.1:${server.address().port}`, stop];
}

/** The path of a file of the photo, which is gone when the test is over. */
async function photoFile(context) {
  const folder = await mkdtemp(join(tmpdir(), "facet-"));
  context.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "photo.png");
  await writeFile(path, PHOTO);
  return path;
}

const code = (name, status) => (error) => error instanceof FacetError && error.code === name && (status === undefined || error.status === status);

describe("the service", { skip: !process.env.FACET_URL && "FACET_URL is not set" }, () => {
  const facet = new Facet({ baseUrl: process.env.FACET_URL });

  test("answers a photo given in every form", async () => {
    const bytes = new Uint8Array(PHOTO);
    for (const photo of [new Blob([bytes]), bytes.buffer, bytes, PHOTO]) {
      const { faces, image, model } = await facet.predict(photo);
      assert.equal(faces.length, 1);
      assert.ok(image.width > faces[0].box.width);
      assert.equal(model.name, "fake");
      assert.ok(faces[0].age.low <= faces[0].age.years && faces[0].age.years <= faces[0].age.high);
    }
  });

  test("sends every option", async () => {
    const { faces } = await facet.predict(PHOTO, { attributes: ["age"], maxFaces: 1, minConfidence: 0.9, landmarks: true, distribution: true, atLeast: [18, 99] });
    assert.equal(faces[0].age.distribution.length, 101);
    assert.deepEqual(Object.keys(faces[0].age.at_least), ["18", "99"]);
    assert.equal(faces[0].landmarks.nose.length, 2);
    assert.equal(faces[0].gender, undefined);
    assert.equal((await facet.predict(PHOTO, { minConfidence: 1 })).faces.length, 0);
  });

  test("answers several photos in order, and a bad one fails alone", async () => {
    const { results } = await facet.predictBatch([PHOTO, new Blob(["text"]), PHOTO]);
    assert.deepEqual(results.map(({ index, status }) => [index, status]), [[0, 200], [1, 415], [2, 200]]);
    assert.equal(results[1].problem.code, "unsupported_format");
  });

  test("answers many photos in order, so many at a time, and each fails alone", async (context) => {
    const path = await photoFile(context);
    const photos = [PHOTO, new Blob(["text"]), path, "none.png", PHOTO];
    const done = [];
    const results = [];
    for await (const result of facet.predictMany(photos, { concurrency: 2, onProgress: (count) => done.push(count), attributes: ["age"] })) results.push(result);
    assert.deepEqual(results.map(({ index, photo }) => [index, photo]), photos.map((photo, index) => [index, photo]));
    assert.deepEqual(results.map(({ answer, error }) => answer?.faces.length ?? error.code), [1, "unsupported_format", 1, "ENOENT", 1]);
    assert.deepEqual(done, [1, 2, 3, 4, 5]);
  });

  test("a text is the path of a photo, and never the photo", async (context) => {
    const path = await photoFile(context);
    assert.equal((await facet.predict(path)).faces.length, 1);
    const { results } = await facet.predictBatch([path, PHOTO]);
    assert.deepEqual(results.map(({ status }) => status), [200, 200]);
    await assert.rejects(facet.predict("none.png"), { code: "ENOENT" });
    await assert.rejects(facet.predictBatch([PHOTO, "none.png"]), { code: "ENOENT" });
  });

  test("says what it serves and how it is", async () => {
    const { name, attributes } = await facet.model();
    assert.equal(name, "fake");
    assert.deepEqual(attributes[1].labels, ["male", "female"]);
    assert.equal((await facet.health()).status, "ok");
    await assert.rejects(facet.reload({ version: 4 }), code("not_found", 404)); // for operators, of whom this service has none
  });

  test("refuses with its own code and the id of the request", async () => {
    await assert.rejects(facet.predict(new Blob(["text"])), (error) => code("unsupported_format", 415)(error) && /^\w{16}$/.test(error.requestId));
    await assert.rejects(facet.predict(new Blob([])), code("empty_file", 400));
    await assert.rejects(facet.predict(PHOTO, { minConfidence: 3 }), code("invalid_parameter", 422));
  });

  test("asks for a key where it has some", { skip: !process.env.FACET_KEYED_URL }, async () => {
    const keyed = new Facet({ baseUrl: process.env.FACET_KEYED_URL });
    await assert.rejects(keyed.model(), code("unauthenticated", 401));
    keyed.key = "right";
    assert.equal((await keyed.predict(PHOTO)).faces.length, 1);
  });
});

test("everything that was answered of a face is found by the attribute's name", () => {
  const age = { years: 34.2 };
  const glasses = { label: "no", confidence: 0.9, uncertain: false, probabilities: { no: 0.9, yes: 0.1 } };
  const face = { box: { x: 1, y: 1, width: 9, height: 9 }, confidence: 1, age, quality: { size_px: 9 }, warnings: [], glasses, embedding: [0.5] };
  assert.deepEqual(Object.entries(attributesOf(face)), [["age", age], ["glasses", glasses]]);
});

describe("retries", () => {
  let requests = [];
  let answers = [];
  let stop;
  let facet;

  before(async () => {
    let url;
    [url, stop] = await serving((request, response) => {
      requests.push({ at: performance.now(), url: request.url, headers: request.headers });
      const [status, headers, body] = answers.length > 1 ? answers.shift() : answers[0];
      if (status === 0) return;
      request.resume().on("end", () => response.writeHead(status, headers).end(body));
    });
    facet = new Facet({ baseUrl: `${url}/behind/a/prefix` });
  });
  after(() => stop());
  const plan = (...given) => ([requests, answers] = [[], given]);
  const busy = (seconds) => [503, { "Retry-After": String(seconds) }, JSON.stringify({ code: "queue_full", status: 503, detail: "Busy." })];
  const fine = [200, {}, '{"faces": []}'];

  test("a busy service is asked again, after what it asks for", async () => {
    plan(busy(1), busy(0), fine);
    assert.deepEqual(await facet.predict(PHOTO), { faces: [] });
    const [first, second, third] = requests.map(({ at }) => at);
    assert.ok(second - first >= 990 && second - first < 2500, `${second - first}`);
    assert.ok(third - second >= 990, "the second pause is a second, also where nothing is asked for");
    assert.equal(requests[0].url, "/behind/a/prefix/predict");
  });

  test("but not for ever, and not after a pause that nobody waits for", async () => {
    plan(busy(0));
    await assert.rejects(facet.predict(PHOTO, { retries: 1 }), (error) => code("queue_full", 503)(error) && error.retryAfter === 0);
    assert.equal(requests.length, 2);
    plan(busy(3600));
    await assert.rejects(facet.predict(PHOTO), (error) => error.retryAfter === 3600);
    assert.equal(requests.length, 1);
  });

  test("of many photos, one that is refused goes on being sent, unless nothing is to be repeated", async () => {
    plan(busy(0), busy(0), busy(0), fine);
    for await (const { answer } of facet.predictMany([PHOTO], { retries: 1 })) assert.deepEqual(answer, { faces: [] });
    assert.equal(requests.length, 4);
    plan(busy(0));
    for await (const { error } of facet.predictMany([PHOTO], { retries: 0 })) assert.ok(code("queue_full", 503)(error));
    assert.equal(requests.length, 1);
  });

  test("of many photos, one under which the service goes away is sent once more when it is back", async () => {
    const asked = [];
    let gone = 1;
    const away = new Facet({
      baseUrl: "http://away.test",
      fetch: async (url) => {
        asked.push(url.pathname);
        if (url.pathname === "/predict" && gone-- > 0) throw new TypeError("fetch failed");
        return new Response('{"faces": []}');
      },
    });
    for await (const { answer } of away.predictMany([PHOTO])) assert.deepEqual(answer, { faces: [] });
    assert.deepEqual(asked, ["/predict", "/health", "/predict"]);
    gone = 2;
    for await (const { error } of away.predictMany([PHOTO])) assert.ok(code("network_error", 0)(error));
  });

  test("who stops early sends no more of many photos", async () => {
    plan(fine);
    for await (const { index } of facet.predictMany(Array(50).fill(PHOTO), { concurrency: 2 })) if (index === 1) break;
    const sent = requests.length;
    assert.ok(sent <= 6, `${sent}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(requests.length, sent);
  });

  test("arguments that cannot be meant are refused", async () => {
    await assert.rejects(facet.predictMany("photo.jpg").next(), TypeError);
    await assert.rejects(facet.predictBatch("photo.jpg"), TypeError);
    for (const concurrency of [0, -1, NaN]) await assert.rejects(facet.predictMany([PHOTO], { concurrency }).next(), RangeError);
  });

  test("an option that is null is left open", async () => {
    plan(fine);
    await facet.predict(PHOTO, { attributes: null, maxFaces: null, minConfidence: null, atLeast: null, model: null });
    await facet.reload({ version: null, model: null });
    assert.deepEqual(requests.map(({ url }) => url), ["/behind/a/prefix/predict", "/behind/a/prefix/model/reload"]);
  });

  test("an option that would change nothing is refused", async () => {
    plan(fine);
    const sent = requests.length;
    for (const options of [{ max_faces: 1 }, { attribute: ["age"] }, { attributes: "age" }, { atLeast: 18 }]) {
      await assert.rejects(facet.predict(PHOTO, options), TypeError);
      await assert.rejects(facet.predictBatch([PHOTO], options), TypeError);
      await assert.rejects(facet.predictMany([PHOTO], options).next(), TypeError);
      assert.throws(() => new Facet({ WebSocket: class {} }).stream(options), TypeError);
    }
    assert.throws(() => new Facet({ WebSocket: class {} }).stream({ distribution: true }), TypeError);
    await assert.rejects(facet.model({ name: "mobilenet" }), TypeError);
    await assert.rejects(facet.reload({ versions: 4 }), TypeError);
    await assert.rejects(facet.health({ timeout: 1 }), TypeError);
    for (const options of [{ url: "http://127.0.0.1:9" }, "http://127.0.0.1:9"]) assert.throws(() => new Facet(options), TypeError);
    assert.equal(requests.length, sent);
  });

  test("what is no photo is refused, and not sent as its name", async () => {
    plan(fine);
    const sent = requests.length;
    for (const photo of [undefined, null, {}, 5, [1, 2], new Response("text"), new URL("file:///photo.jpg"), Readable.from(["text"])]) {
      await assert.rejects(facet.predict(photo), TypeError);
      await assert.rejects(facet.predictBatch([photo]), TypeError);
      for await (const { error } of facet.predictMany([photo])) assert.ok(error instanceof TypeError);
    }
    assert.equal(requests.length, sent);
    for (const photo of [new DataView(PHOTO.buffer), runInNewContext("new ArrayBuffer(4)")]) assert.deepEqual(await facet.predict(photo), { faces: [] });
  });

  test("other failures are not repeated", async () => {
    plan([500, {}, JSON.stringify({ code: "internal_error", status: 500, detail: "No." })]);
    await assert.rejects(facet.predict(PHOTO), code("internal_error", 500));
    plan([502, {}, "<html>Bad gateway</html>"]);
    await assert.rejects(facet.predict(PHOTO), code("http_error", 502));
    plan([200, {}, "<html>Log in</html>"]);
    await assert.rejects(facet.predict(PHOTO), code("bad_answer", 200));
    assert.equal(requests.length, 1);
  });

  test("no answer in time is a timeout, and an abort is the caller's own", async () => {
    plan([0]);
    await assert.rejects(facet.predict(PHOTO, { timeoutMs: 100 }), code("timeout", 0));
    const gone = new AbortController();
    setTimeout(() => gone.abort(new Error("gone")), 50);
    await assert.rejects(facet.predict(PHOTO, { signal: gone.signal }), /gone/);
    await assert.rejects(facet.predict(PHOTO, { signal: AbortSignal.abort() }), { name: "AbortError" });
    plan(busy(5));
    const impatient = AbortSignal.timeout(100);
    const began = performance.now();
    await assert.rejects(facet.predict(PHOTO, { signal: impatient }), { name: "TimeoutError" });
    assert.ok(performance.now() - began < 2000, "an abort ends the pause, too");
  });

  test("nobody there is a network error", async () => {
    await assert.rejects(new Facet({ baseUrl: "http://127.0.0.1:9" }).health(), code("network_error", 0));
  });

  test("a service that is not well still says how it is", async () => {
    plan([503, {}, JSON.stringify({ status: "unavailable", detail: "The service is shutting down." })]);
    assert.equal((await facet.health()).detail, "The service is shutting down.");
    assert.equal(requests.length, 1);
  });

  test("the key goes with every request", async () => {
    plan(fine);
    await new Facet({ baseUrl: facet.url("."), key: "secret" }).predict(PHOTO, { attributes: [] });
    assert.equal(requests[0].headers["x-api-key"], "secret");
    assert.equal(requests[0].headers["content-type"], "application/octet-stream");
    assert.equal(requests[0].url, "/behind/a/prefix/predict?attributes=");
  });

  test("a key may have any letters, which go in UTF-8", async () => {
    plan(fine);
    await new Facet({ baseUrl: facet.url("."), key: "schlüssel–1\n" }).predict(PHOTO);
    assert.equal(Buffer.from(requests[0].headers["x-api-key"], "latin1").toString(), "schlüssel–1");
  });
});

describe("a stream", () => {
  /** A socket whose other end is the test. */
  class Socket extends EventTarget {
    static last;
    readyState = 1;
    sent = [];
    constructor(url) {
      super();
      this.url = url;
      Socket.last = this;
      queueMicrotask(() => this.dispatchEvent(new Event("open")));
    }
    send(data) {
      this.sent.push(data);
    }
    close() {
      this.readyState = 3;
    }
    hear(message) {
      this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
    }
    end(closeCode, reason = "") {
      this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event("close"), { code: closeCode, reason }));
    }
  }
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  const open = async (options) => {
    const stream = new Facet({ baseUrl: "https://example.org/at/", key: "k", WebSocket: Socket }).stream(options);
    const socket = Socket.last;
    await turn();
    return [stream, socket];
  };

  test("begins with its start and is greeted", async () => {
    const [stream, socket] = await open({ attributes: ["age"], maxFaces: 2, landmarks: true, atLeast: [18] });
    assert.equal(socket.url, "wss://example.org/at/stream");
    assert.deepEqual(JSON.parse(socket.sent[0]), { type: "start", key: "k", attributes: ["age"], max_faces: 2, landmarks: true, at_least: [18] });
    socket.hear({ type: "ready", max_fps: 10 });
    assert.equal((await stream.ready).max_fps, 10);
    stream.close();
    assert.equal(await stream.closed, null);
  });

  test("sends a number of eight bytes and the photo, one under way at a time", async () => {
    const [stream, socket] = await open();
    socket.hear({ type: "ready" });
    const answer = stream.send(new Blob([new Uint8Array([7, 8])]));
    await turn();
    assert.deepEqual([...socket.sent[1]], [0, 0, 0, 0, 0, 0, 0, 1, 7, 8]);
    await assert.rejects(stream.send(new Uint8Array([9])), /under way/);
    socket.hear({ type: "frame", frame: 1, faces: [] });
    assert.deepEqual((await answer).faces, []);
    const left = stream.send(new Uint8Array([1, 2, 3]).subarray(1));
    await turn();
    assert.deepEqual([...socket.sent[2]], [0, 0, 0, 0, 0, 0, 0, 2, 2, 3]);
    socket.hear({ type: "frame", frame: 3, faces: [] });
    assert.equal(await left, null, "an answer to a later frame means that this one was left out");
    stream.close();
  });

  test("goes on after a bad frame and ends with the problem that ended it", async () => {
    const [stream, socket] = await open();
    socket.hear({ type: "ready" });
    const bad = stream.send(new Uint8Array([1]));
    await turn();
    socket.hear({ type: "problem", frame: 1, code: "corrupt_image", status: 422, detail: "Damaged." });
    await assert.rejects(bad, code("corrupt_image", 422));
    assert.equal(stream.over, false);
    const refused = stream.send(new Uint8Array([1]));
    await turn();
    socket.hear({ type: "problem", frame: 2, code: "queue_full", status: 503, detail: "Full.", retry_after_s: 2 });
    await assert.rejects(refused, (error) => code("queue_full", 503)(error) && error.retryAfter === 2);
    const last = stream.send(new Uint8Array([1]));
    await turn();
    socket.hear({ type: "problem", code: "too_many_streams", status: 503, detail: "Full.", retry_after_s: 5 });
    socket.end(1013);
    await assert.rejects(last, (error) => code("too_many_streams", 503)(error) && error.retryAfter === 5);
    assert.equal((await stream.closed).code, "too_many_streams");
    assert.equal(stream.over, true);
    await assert.rejects(stream.send(new Uint8Array([1])), code("too_many_streams"));
  });

  test("may be closed while a photo is still being read", async () => {
    const [stream, socket] = await open();
    socket.hear({ type: "ready" });
    let read;
    const photo = new Blob([new Uint8Array([7])]);
    photo.arrayBuffer = () => new Promise((resolve) => (read = resolve));
    const answer = stream.send(photo);
    await turn();
    stream.close();
    await turn(); // an unhandled rejection fails this test
    read(new ArrayBuffer(1));
    await assert.rejects(answer, code("closed"));
    assert.equal(socket.sent.length, 1, "the photo was not sent");
  });

  test("goes on after a photo that could not be read", async () => {
    const [stream, socket] = await open();
    socket.hear({ type: "ready" });
    const photo = new Blob([new Uint8Array([7])]);
    photo.arrayBuffer = () => Promise.reject(new Error("gone"));
    await assert.rejects(stream.send(photo), /gone/);
    const answer = stream.send(new Uint8Array([8]));
    await turn();
    socket.hear({ type: "frame", frame: 2, faces: [] });
    assert.deepEqual((await answer).faces, []);
    stream.close();
  });

  test("an address where nobody is ends a stream and not the process, also by a socket of Node's own events", async () => {
    class Emitting extends EventEmitter {
      constructor() {
        super();
        setTimeout(() => (this.emit("error", new Error("refused")), this.emit("close", { code: 1006, reason: "" })), 1);
      }
      addEventListener(name, listener) {
        this.on(name, listener);
      }
    }
    const stream = new Facet({ baseUrl: "https://example.org/", WebSocket: Emitting }).stream();
    await assert.rejects(stream.ready, code("network_error"));
  });

  test("a close without a word is explained by its code", async () => {
    for (const [closing, name] of [[4000, "stream_over"], [4001, "stream_idle"], [1008, "unauthenticated"], [1001, "not_ready"], [1006, "network_error"]]) {
      const [stream, socket] = await open();
      socket.end(closing);
      await assert.rejects(stream.ready, code(name));
      assert.equal((await stream.closed).code, name);
    }
  });

  test("no greeting and no answer in time are timeouts", async () => {
    const [silent] = await open({ timeoutMs: 30 });
    await assert.rejects(silent.ready, code("timeout"));
    const [stream, socket] = await open({ timeoutMs: 30 });
    socket.hear({ type: "ready" });
    await assert.rejects(stream.send(new Uint8Array([1])), code("timeout"));
  });

  test("an abort hangs up", async () => {
    const gone = new AbortController();
    const [stream, socket] = await open({ signal: gone.signal });
    gone.abort();
    assert.equal(await stream.closed, null);
    assert.equal(socket.readyState, 3);
    await assert.rejects(stream.ready, code("closed"));
  });
});

describe("a stream of the service", { skip: !(process.env.FACET_STREAM_URL && globalThis.WebSocket) && "FACET_STREAM_URL is not set, or this Node has no WebSocket" }, () => {
  test("follows a face from frame to frame", async () => {
    const stream = new Facet({ baseUrl: process.env.FACET_STREAM_URL }).stream();
    assert.equal((await stream.ready).protocol, 1);
    const ids = new Set();
    for (let frame = 0; frame < 4; frame++) {
      const answer = await stream.send(PHOTO);
      for (const { id } of answer.faces) ids.add(id);
      await new Promise((resolve) => setTimeout(resolve, answer.next_in_ms));
    }
    assert.equal(ids.size, 1);
    stream.close();
    assert.equal(await stream.closed, null);
  });
});
