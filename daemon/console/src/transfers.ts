// Uploads from this tab: a short queue, two at a time, each resumed where the node has it.

import { computed, signal } from "@preact/signals";
import { failure, type Failure } from "./api";

export interface Transfer {
  id: number;
  file: File;
  bucket: string;
  key: string;
  state: "waiting" | "sending" | "paused" | "done" | "failed" | "removing";
  sent: number;
  /** Bytes a second, over the last seconds. */
  rate: number;
  failure?: Failure;
}

/** What stops a sending one; `forget` also removes what the node has of it. */
export interface Sending {
  stop: (forget: boolean) => Promise<void>;
}

/** More at once only share the same line. */
const AT_ONCE = 2;
/** Files taken in one go; beyond this the command line is the better tool. */
export const FILES_MAX = 5000;

export const transfers = signal<Transfer[]>([]);
export const active = computed(
  () => transfers.value.filter(({ state }) => state === "waiting" || state === "sending").length,
);

const sending = new Map<number, Sending>();
let next = 1;

export function enqueue(bucket: string, prefix: string, files: { path: string; file: File }[]): void {
  const added = files.slice(0, FILES_MAX).map(({ path, file }): Transfer => {
    const key = prefix + path;
    return { id: next++, file, bucket, key, state: "waiting", sent: 0, rate: 0 };
  });
  transfers.value = [...transfers.value, ...added];
  pump();
}

export function change(id: number, to: Partial<Transfer>): void {
  transfers.value = transfers.value.map((one) => (one.id === id ? { ...one, ...to } : one));
}

function pump(): void {
  const free = AT_ONCE - transfers.value.filter(({ state }) => state === "sending").length;
  for (const one of transfers.value.filter(({ state }) => state === "waiting").slice(0, Math.max(0, free))) {
    change(one.id, { state: "sending", failure: undefined });
    void begin(one);
  }
}

async function begin(one: Transfer): Promise<void> {
  const failed = (error: unknown) => {
    sending.delete(one.id);
    change(one.id, { state: "failed", rate: 0, failure: failure(error) });
    pump();
  };
  try {
    const { send } = await import("./sender");
    const still = () => transfers.value.find(({ id }) => id === one.id)?.state === "sending";
    if (!still()) return;
    const handle = await send(one, {
      progress: (sent, rate) => {
        if (still()) change(one.id, { sent, rate });
      },
      done: () => {
        sending.delete(one.id);
        change(one.id, { state: "done", sent: one.file.size, rate: 0 });
        pump();
      },
      failed,
    });
    if (still()) sending.set(one.id, handle);
    // It was taken away while it was being begun.
    else {
      const wanted = transfers.value.some(({ id, state }) => id === one.id && state !== "removing");
      await handle.stop(!wanted).catch(() => undefined);
    }
  } catch (error) {
    failed(error);
  }
}

export async function pause(id: number): Promise<void> {
  change(id, { state: "paused", rate: 0 });
  await sending.get(id)?.stop(false);
  pump();
}

export function resume(id: number): void {
  change(id, { state: "waiting", failure: undefined });
  pump();
}

/** Takes one off the list; an unfinished one is also removed from the node. */
export async function remove(id: number): Promise<void> {
  const handle = sending.get(id);
  const unfinished = transfers.value.find((one) => one.id === id)?.state !== "done";
  sending.delete(id);
  change(id, { state: "removing", rate: 0 });
  pump();
  // What cannot be removed now is shown among the node's own, and expires there.
  if (unfinished) await handle?.stop(true).catch(() => undefined);
  transfers.value = transfers.value.filter((one) => one.id !== id);
}

export function clearDone(): void {
  transfers.value = transfers.value.filter(({ state }) => state !== "done");
}

/** Stops all of them; what was sent stays with the node. */
export function forgetTransfers(): void {
  for (const handle of sending.values()) void handle.stop(false);
  sending.clear();
  transfers.value = [];
}

addEventListener("beforeunload", (event) => {
  if (active.value > 0) event.preventDefault();
});
