// Data that follows the node: loaded when a place opens, and again when an event says that it changed.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { failure, type Failure } from "./api";
import { listen } from "./events";
import type { NodeEvent } from "./wire";

/** Events come in bursts; one look a moment later is enough. */
const SETTLE_MS = 250;

export interface Loaded<T> {
  value: Signal<T | undefined>;
  failed: Signal<Failure | null>;
  reload: () => void;
}

/**
 * Loads at once, when `keys` change, and when `touches` says so of an event.
 * The old value stays on the page until the new one is there.
 */
export function useLoaded<T>(
  load: (signal: AbortSignal) => Promise<T>,
  keys: unknown[],
  touches: (event: NodeEvent) => boolean = () => false,
): Loaded<T> {
  const value = useSignal<T | undefined>(undefined);
  const failed = useSignal<Failure | null>(null);
  const latest = useRef({ load, touches });
  latest.current = { load, touches };
  const running = useRef<AbortController>(undefined);

  const reload = () => {
    running.current?.abort();
    const run = new AbortController();
    running.current = run;
    latest.current.load(run.signal).then(
      (fresh) => {
        if (run.signal.aborted) return;
        value.value = fresh;
        failed.value = null;
      },
      (error: unknown) => {
        if (!run.signal.aborted) failed.value = failure(error);
      },
    );
  };

  useEffect(() => {
    reload();
    return () => running.current?.abort();
  }, keys);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = listen((event) => {
      if (timer === undefined && (event.type === "reconnected" || latest.current.touches(event))) {
        timer = setTimeout(() => {
          timer = undefined;
          reload();
        }, SETTLE_MS);
      }
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, []);

  return { value, failed, reload };
}

/** Calls back every so often while the page is looked at. */
export function useTicking(callback: () => void, every_ms: number): void {
  const latest = useRef(callback);
  latest.current = callback;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, every_ms);
    return () => clearInterval(timer);
  }, [every_ms]);
}
