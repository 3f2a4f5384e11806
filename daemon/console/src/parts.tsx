// What the places share: states of waiting, of failure and of emptiness; bars, copying, dialogues.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { failure, type Failure } from "./api";
import { percent } from "./words";

/** A problem in words, with its hint and the name under which the node's log knows it. */
export function Trouble({ of, again }: { of: Failure; again?: () => void }) {
  const { title, detail, hint, request_id } = of.problem;
  return (
    <div class="trouble" role="alert">
      <strong>{title}</strong>
      {detail && <p>{detail}</p>}
      {hint && <p class="dim">{hint}</p>}
      {request_id && (
        <p class="dim small">
          Request <code>{request_id}</code>
        </p>
      )}
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Nothing is here: why, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <section class="empty">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export const Waiting = () => (
  <p class="waiting dim" role="status">
    Loading…
  </p>
);

/** A command to type in a terminal, with a button that copies it. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <code>{text}</code>
      <Copy text={text} />
    </div>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const done = useSignal(false);
  const copy = async () => {
    await writeClipboard(text);
    done.value = true;
    setTimeout(() => (done.value = false), 1500);
  };
  return (
    <button type="button" onClick={copy} aria-live="polite">
      {done.value ? "Copied" : label}
    </button>
  );
}

/** The clipboard is there on secure origins only; a node on the home network is often plain HTTP. */
export async function writeClipboard(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** How far something is; without a `part` nobody knows. */
export function Bar({ part, label }: { part?: number; label: string }) {
  return (
    <progress class="bar" max={1} value={part} aria-label={label} title={part === undefined ? label : percent(part)} />
  );
}

export const Mark = ({ state, children }: { state: string; children?: ComponentChildren }) => (
  <span class={`mark ${state}`}>{children ?? state}</span>
);

/** A modal dialogue: the browser keeps the focus inside, and Escape closes it. */
export function Dialogue(props: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} onClose={props.close} aria-label={props.title}>
      <h2>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** Asks before something that cannot be taken back. */
export function Confirm(props: {
  title: string;
  children: ComponentChildren;
  verb: string;
  act: () => Promise<void>;
  close: () => void;
}) {
  const failed = useSignal<Failure | null>(null);
  const busy = useSignal(false);
  const act = async () => {
    busy.value = true;
    try {
      await props.act();
      props.close();
    } catch (error) {
      failed.value = failure(error);
    }
    busy.value = false;
  };
  return (
    <Dialogue title={props.title} close={props.close}>
      <p>{props.children}</p>
      {failed.value && <Trouble of={failed.value} />}
      <div class="actions">
        <button type="button" onClick={props.close}>
          Keep
        </button>
        <button type="button" class="danger" disabled={busy.value} onClick={act}>
          {props.verb}
        </button>
      </div>
    </Dialogue>
  );
}
