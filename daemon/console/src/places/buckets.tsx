// The buckets, and making one.

import { useSignal } from "@preact/signals";
import { failure, type Failure, getMany, send } from "../api";
import { Command, Dialogue, Empty, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { useLoaded } from "../use";
import type { Bucket } from "../wire";
import { ago, bytes, count } from "../words";

/** Far above what a person keeps. */
const BUCKETS_MAX = 5000;

export function BucketsPlace() {
  const making = useSignal(false);
  const buckets = useLoaded(
    (signal) => getMany<Bucket>("buckets", {}, BUCKETS_MAX, signal),
    [],
    (event) => /^(bucket|object)\./.test(event.type),
  );
  const shown = buckets.value.value?.items;
  return (
    <>
      <div class="title">
        <h1>Buckets</h1>
        <button type="button" class="main" onClick={() => (making.value = true)}>
          New bucket
        </button>
      </div>
      {buckets.failed.value && <Trouble of={buckets.failed.value} again={buckets.reload} />}
      {!shown && !buckets.failed.value && <Waiting />}
      {shown?.length === 0 && (
        <Empty title="No buckets yet">
          <p>A bucket holds objects: films, backups, anything. Make one here, or from a terminal:</p>
          <Command text="nebula mb films" />
        </Empty>
      )}
      {shown && shown.length > 0 && (
        <ul class="list">
          {shown.map((bucket) => (
            <li key={bucket.name}>
              <a class="line" href={to.bucket(bucket.name)}>
                <span class="name">{bucket.name}</span>
                <span class="facts">
                  {count(bucket.objects, "object")} · {bytes(bucket.size_bytes)}
                  <span class="wide"> · made {ago(bucket.created_at_ms)}</span>
                </span>
                {bucket.versioning === "enabled" && <Mark state="quiet">versions</Mark>}
              </a>
            </li>
          ))}
        </ul>
      )}
      {making.value && <Make close={() => (making.value = false)} />}
    </>
  );
}

function Make({ close }: { close: () => void }) {
  const failed = useSignal<Failure | null>(null);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const name = String(form.get("name")).trim();
    try {
      await send("POST", "buckets", { name, versioning: form.has("versions") ? "enabled" : undefined });
      close();
      location.hash = to.bucket(name);
    } catch (error) {
      failed.value = failure(error);
    }
  };
  return (
    <Dialogue title="New bucket" close={close}>
      <form onSubmit={submit}>
        <label>
          Name
          <input
            name="name"
            required
            autoFocus
            minLength={3}
            maxLength={63}
            autocapitalize="off"
            autocomplete="off"
            spellcheck={false}
            aria-describedby="name-rule"
          />
        </label>
        <p id="name-rule" class="dim small">
          3 to 63 small letters, digits, dots and dashes.
        </p>
        <label class="tick">
          <input type="checkbox" name="versions" />
          Keep versions of what is overwritten or deleted
        </label>
        {failed.value && <Trouble of={failed.value} />}
        <div class="actions">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class="main">
            Make it
          </button>
        </div>
      </form>
    </Dialogue>
  );
}
