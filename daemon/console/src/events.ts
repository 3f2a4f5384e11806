// The node's event stream. `EventSource` cannot send a header, so it is read from a fetch.

import { signal } from "@preact/signals";
import { ask, Failure } from "./api";
import type { NodeEvent } from "./wire";

/** How the stream is: `off` when we may not hear it. */
export const stream = signal<"live" | "waiting" | "off">("waiting");

type Listener = (event: NodeEvent) => void;
const listeners = new Set<Listener>();
/** Waits between two tries. */
const WAIT_MS = [500, 1000, 2000, 5000];
/** Longest unfinished line that is kept; far above an event's size. */
const LINE_LENGTH_MAX = 1 << 20;

/** Calls back for each event until the returned function is called. */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

let running: AbortController | undefined;
let last = "";

/** Follows the log from where it stopped, for as long as the page lives. */
export async function follow(): Promise<void> {
  running?.abort();
  const run = new AbortController();
  running = run;
  for (let tries = 0; !run.signal.aborted; tries += 1) {
    try {
      const headers: Record<string, string> = last ? { "Last-Event-ID": last } : {};
      const response = await ask("events", { headers, signal: run.signal });
      const wasLost = tries > 0;
      stream.value = "live";
      tries = 0;
      // What happened before the log was followed, or in a gap too long for it, is not told: look again.
      if (wasLost) tell({ seq: 0, type: "reconnected" });
      await read(response.body!);
    } catch (error) {
      if (run.signal.aborted) return;
      if (error instanceof Failure && (error.problem.status === 401 || error.problem.status === 403)) {
        stream.value = "off";
        return;
      }
    }
    stream.value = "waiting";
    await new Promise((done) => setTimeout(done, WAIT_MS[Math.min(tries, WAIT_MS.length - 1)]));
  }
}

export function unfollow(): void {
  running?.abort();
  stream.value = "waiting";
  last = "";
}

async function read(body: ReadableStream<Uint8Array>): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  let data: string[] = [];
  let id = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop() ?? "";
    if (rest.length > LINE_LENGTH_MAX) throw new Error("an event is too long");
    for (const line of lines) {
      if (line === "") {
        if (id) last = id;
        if (data.length > 0) dispatch(data.join("\n"));
        data = [];
        id = "";
      } else if (line.startsWith("data:")) {
        data.push(line.slice(5).trimStart());
      } else if (line.startsWith("id:")) {
        id = line.slice(3).trim();
      }
    }
  }
}

function dispatch(text: string): void {
  try {
    tell(JSON.parse(text) as NodeEvent);
  } catch {
    // An event that this page does not understand is one it can do without.
  }
}

function tell(event: NodeEvent): void {
  for (const listener of listeners) listener(event);
}
