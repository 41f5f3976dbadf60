// The snippet that opens the stream again, with a stream that does what the test says and a clock that it moves.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, mock, test } from "node:test";

const script = readFileSync(new URL("../../src/http/events/follow.js", import.meta.url), "utf8");
const { follow } = await import(`data:text/javascript,${encodeURIComponent(script)}`);

class Stream extends EventTarget {
  static CLOSED = 2;
  static opened = [];

  constructor(url) {
    super();
    this.url = new URL(url);
    this.readyState = 0;
    Stream.opened.push(this);
  }

  says(name, lastEventId) {
    this.dispatchEvent(Object.assign(new Event(name), { data: "{}", lastEventId }));
  }

  /** Breaks off; `forGood` after any answer but a stream. */
  fails(forGood) {
    this.readyState = forGood ? Stream.CLOSED : 0;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = Stream.CLOSED;
  }
}

let lost, stop;
const last = () => Stream.opened.at(-1);
const pass = (ms) => mock.timers.tick(ms);

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(Math, "random", () => 1);
  globalThis.EventSource = Stream;
  Stream.opened = [];
  lost = mock.fn();
  stop = follow("http://pool.example/events?types=Allocated", { lost, Allocated() {} });
});

afterEach(() => {
  stop();
  mock.timers.reset();
  mock.restoreAll();
});

test("after an answer that is no stream it is opened again behind the last frame", () => {
  last().says("stream.bookmark", "41");
  last().says("Allocated", "42");
  last().fails(true);
  assert.equal(lost.mock.callCount(), 1);
  pass(999);
  assert.equal(Stream.opened.length, 1);
  pass(1);
  assert.equal(Stream.opened.length, 2);
  assert.deepEqual([...last().url.searchParams], [["types", "Allocated"], ["after", "42"]]);
});

test("a connection that only broke is left to the browser", () => {
  last().fails(false);
  pass(39_999);
  assert.equal(Stream.opened.length, 1);
});

test("a connection without a word for forty seconds is taken for dead", () => {
  pass(30_000);
  last().says("stream.bookmark", "7");
  pass(39_999);
  assert.equal(lost.mock.callCount(), 0);
  pass(1);
  assert.equal(lost.mock.callCount(), 1);
  assert.equal(last().readyState, Stream.CLOSED);
  pass(1_000);
  assert.equal(last().url.searchParams.get("after"), "7");
});

test("pauses grow to half a minute, and begin anew with a frame", () => {
  for (const pause of [1, 2, 4, 8, 16, 30, 30]) {
    const before = Stream.opened.length;
    last().fails(true);
    pass(pause * 1_000 - 1);
    assert.equal(Stream.opened.length, before, `${pause} s`);
    pass(1);
    assert.equal(Stream.opened.length, before + 1, `${pause} s`);
  }
  last().says("stream.opened", "9");
  last().fails(true);
  pass(1_000);
  assert.equal(Stream.opened.length, 9);
});

test("once told to stop it opens nothing", () => {
  last().fails(true);
  stop();
  pass(100_000);
  assert.equal(Stream.opened.length, 1);
});
