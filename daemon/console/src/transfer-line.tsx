// One upload of this tab.

import { Bar, Mark, Trouble } from "./parts";
import { folder, to } from "./route";
import { pause, remove, resume, type Transfer } from "./transfers";
import { bytes, span } from "./words";

export function TransferLine({ one }: { one: Transfer }) {
  const { id, file, state } = one;
  const left = one.rate > 0 ? span(((file.size - one.sent) / one.rate) * 1000) : "";
  return (
    <li class="line transfer">
      <span class="name">{one.key}</span>
      <span class="facts">
        {state === "sending" && one.rate > 0 ? `${bytes(one.rate)}/s, ${left} left` : <Mark state={state} />}
      </span>
      <span class="verbs" role="group" aria-label={one.key}>
        {state === "done" && <a href={to.bucket(one.bucket, folder(one.key))}>Show</a>}
        {(state === "sending" || state === "waiting") && (
          <button type="button" onClick={() => void pause(id)}>
            Pause
          </button>
        )}
        {(state === "paused" || state === "failed") && (
          <button type="button" onClick={() => resume(id)}>
            Resume
          </button>
        )}
        {state !== "removing" && (
          <button type="button" onClick={() => void remove(id)}>
            {state === "done" ? "Clear" : "Cancel"}
          </button>
        )}
      </span>
      {state !== "done" && (
        <Bar part={file.size ? one.sent / file.size : 0} label={`${bytes(one.sent)} of ${bytes(file.size)}`} />
      )}
      {one.failure && <Trouble of={one.failure} />}
    </li>
  );
}
