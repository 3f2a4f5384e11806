// A link that works without a credential, until a time that its maker chooses.

import { useSignal } from "@preact/signals";
import { failure, type Failure, link } from "./api";
import { Copy, Dialogue, Trouble } from "./parts";
import type { Link } from "./wire";
import { when } from "./words";

const TIMES: [string, number][] = [
  ["an hour", 3600],
  ["a day", 24 * 3600],
  ["a week", 7 * 24 * 3600],
  ["30 days", 30 * 24 * 3600],
];

export function Share(props: { bucket: string; name: string; film?: boolean; close: () => void }) {
  const seconds = useSignal(24 * 3600);
  const made = useSignal<Link | null>(null);
  const failed = useSignal<Failure | null>(null);
  const make = async (event: SubmitEvent) => {
    event.preventDefault();
    try {
      made.value = await link(props.bucket, props.name, seconds.value);
      failed.value = null;
    } catch (error) {
      failed.value = failure(error);
    }
  };
  const urls = made.value?.urls;
  return (
    <Dialogue title={`Share ${props.name.split("/").pop()}`} close={props.close}>
      <p class="dim">Whoever has the link can read this one object, without signing in, until it ends.</p>
      {!urls && (
        <form onSubmit={make}>
          <label>
            It works for
            <select value={seconds.value} onChange={(event) => (seconds.value = Number(event.currentTarget.value))}>
              {TIMES.map(([name, value]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <div class="actions">
            <button type="button" onClick={props.close}>
              Cancel
            </button>
            <button type="submit" class="main">
              Make the link
            </button>
          </div>
        </form>
      )}
      {failed.value && <Trouble of={failed.value} />}
      {urls && made.value && (
        <>
          <Address name="The file" path={urls.file} />
          {urls.hls && <Address name="For players (HLS)" path={urls.hls} />}
          <p class="dim">Until {when(made.value.expires_at_ms)}.</p>
          <div class="actions">
            <button type="button" class="main" onClick={props.close}>
              Done
            </button>
          </div>
        </>
      )}
    </Dialogue>
  );
}

function Address({ name, path }: { name: string; path: string }) {
  const address = new URL(path, location.origin).href;
  return (
    <label>
      {name}
      <span class="row">
        <input readOnly value={address} onFocus={(event) => event.currentTarget.select()} />
        <Copy text={address} />
      </span>
    </label>
  );
}
