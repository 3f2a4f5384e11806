// Uploads: those of this tab, and all that the node has begun and not ended.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask, getMany } from "../api";
import { Bar, Command, Confirm, Empty, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { clearDone, transfers } from "../transfers";
import { TransferLine } from "../transfer-line";
import { useLoaded, useTicking } from "../use";
import type { Upload } from "../wire";
import { ago, bytes, span } from "../words";

const UPLOADS_MAX = 1000;
/** How often the offsets are asked for. */
const LOOK_MS = 2000;

export function UploadsPlace() {
  const asked = useSignal<Upload | null>(null);
  const uploads = useLoaded((signal) => getMany<Upload>("uploads", {}, UPLOADS_MAX, signal), []);
  useTicking(uploads.reload, LOOK_MS);
  const there = uploads.value.value?.items;
  const mine = transfers.value;
  // One that this tab is sending is shown once.
  const sent = new Set(mine.map(({ bucket, key }) => `${bucket}/${key}`));
  useEffect(uploads.reload, [mine.length]);
  const others = there?.filter(({ bucket, key }) => !sent.has(`${bucket}/${key}`));
  const abort = asked.value;
  return (
    <>
      <div class="title">
        <h1>Uploads</h1>
        {mine.some(({ state }) => state === "done") && (
          <button type="button" onClick={clearDone}>
            Clear finished
          </button>
        )}
      </div>
      {uploads.failed.value && <Trouble of={uploads.failed.value} again={uploads.reload} />}
      {mine.length > 0 && (
        <section>
          <h2>From this tab</h2>
          <ul class="list">
            {mine.map((one) => (
              <TransferLine key={one.id} one={one} />
            ))}
          </ul>
        </section>
      )}
      {!there && !uploads.failed.value && <Waiting />}
      {others && others.length > 0 && (
        <section>
          <h2>Begun and not finished</h2>
          <ul class="list">
            {others.map((upload) => (
              <Line key={upload.id} upload={upload} stop={() => (asked.value = upload)} />
            ))}
          </ul>
        </section>
      )}
      {others?.length === 0 && mine.length === 0 && (
        <Empty title="Nothing is on its way">
          <p>An upload that breaks off waits here, and goes on where it stopped when you push the same file again:</p>
          <Command text="nebula push film.mkv films:" />
          <p>
            Or drop files into a <a href={to.place("buckets")}>bucket</a>.
          </p>
        </Empty>
      )}
      {abort && (
        <Confirm
          title="Give up this upload?"
          verb="Give it up"
          act={async () => {
            await ask(`uploads/${abort.id}`, { method: "DELETE" });
            uploads.reload();
          }}
          close={() => (asked.value = null)}
        >
          The {bytes(abort.offset_bytes)} of <code>{abort.key}</code> that have arrived will be removed.
        </Confirm>
      )}
    </>
  );
}

function Line({ upload, stop }: { upload: Upload; stop: () => void }) {
  const { offset_bytes, size_bytes, expires_at_ms } = upload;
  const far = size_bytes === undefined ? bytes(offset_bytes) : `${bytes(offset_bytes)} of ${bytes(size_bytes)}`;
  return (
    <li class="line transfer">
      <span class="name">
        <a href={to.bucket(upload.bucket)}>{upload.bucket}</a>: {upload.key}
      </span>
      <span class="facts">
        <Mark state="quiet">{upload.protocol}</Mark> {far}
        <span class="wide">
          {" "}
          · begun {ago(upload.created_at_ms)}
          {expires_at_ms !== undefined && `, kept for ${span(expires_at_ms - Date.now())}`}
        </span>
      </span>
      <span class="verbs">
        <button type="button" class="danger" onClick={stop} aria-label={`Give up ${upload.key}`}>
          Give up
        </button>
      </span>
      <Bar part={size_bytes ? offset_bytes / size_bytes : undefined} label={far} />
    </li>
  );
}
