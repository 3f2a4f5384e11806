// One bucket: its folders and objects, and the way in for files.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { ask, encodeKey, failure, type Failure, getMany, link } from "../api";
import { type Picked, picked, walked } from "../dropped";
import { Command, Confirm, Copy, Empty, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { Share } from "../share";
import { enqueue, FILES_MAX, transfers } from "../transfers";
import { TransferLine } from "../transfer-line";
import { useLoaded } from "../use";
import type { ObjectPage, StoredObject } from "../wire";
import { ago, bytes, isFilm, when } from "../words";

/** Rows asked for at a time. */
const PAGE_ITEMS = 500;
/** A link for opening an object in a new tab is needed for a moment only; a large one takes a while to come. */
const OPEN_S = 6 * 3600;

type Asked = { verb: "share" | "delete"; key: string } | { verb: "delete-bucket" };

export function BucketPlace({ bucket, prefix }: { bucket: string; prefix: string }) {
  const limit = useSignal(PAGE_ITEMS);
  const asked = useSignal<Asked | null>(null);
  const over = useSignal(false);
  const trouble = useSignal<Failure | null>(null);
  const objects = useLoaded(
    async (signal) => {
      const asked = { prefix, delimiter: "/" };
      const page = await getMany<StoredObject, ObjectPage>(`buckets/${bucket}/objects`, asked, limit.value, signal);
      return { ...page, of: prefix };
    },
    [prefix, limit.value],
    (event) => event.type.startsWith("object.") && event.bucket === bucket,
  );
  const loaded = objects.value.value;
  const page = loaded?.of === prefix ? loaded : undefined;
  const empty = page && page.items.length === 0 && page.prefixes.length === 0;
  const mine = transfers.value.filter((one) => one.bucket === bucket && one.key.startsWith(prefix) && one.state !== "done");

  const take = (files: Picked[]) => {
    const many = failure(new Error(`Only the first ${FILES_MAX} files were taken; for more use nebula push.`));
    trouble.value = files.length > FILES_MAX ? many : null;
    enqueue(bucket, prefix, files);
  };
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    over.value = false;
    if (event.dataTransfer) take(await walked(event.dataTransfer));
  };
  const open = async (key: string) => {
    // Opened in the click itself: a later one would be taken for an advertisement.
    const tab = window.open("", "_blank");
    try {
      const made = await link(bucket, key, OPEN_S);
      if (tab && made.urls) {
        tab.opener = null;
        tab.location.href = made.urls.file;
      }
    } catch (error) {
      const failed = failure(error);
      // Who may read and not share opens it by its name; the browser knows them, or asks.
      if (failed.problem.status === 403 && tab) {
        tab.location.href = `/-/file/${bucket}/${encodeKey(key)}`;
        return;
      }
      tab?.close();
      trouble.value = failed;
    }
  };

  return (
    <div
      class={over.value ? "target over" : "target"}
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) over.value = false;
      }}
      onDrop={drop}
    >
      <div class="title">
        <Path bucket={bucket} prefix={prefix} />
        <div class="actions">
          {!prefix && empty && mine.length === 0 && (
            <button type="button" onClick={() => (asked.value = { verb: "delete-bucket" })}>
              Delete bucket
            </button>
          )}
          <Picker take={take} />
        </div>
      </div>
      {trouble.value && <Trouble of={trouble.value} />}
      {objects.failed.value && <Trouble of={objects.failed.value} again={objects.reload} />}
      {mine.length > 0 && (
        <ul class="list">
          {mine.map((one) => (
            <TransferLine key={one.id} one={one} />
          ))}
        </ul>
      )}
      {!page && !objects.failed.value && <Waiting />}
      {empty && mine.length === 0 && (
        <Empty title={prefix ? "Nothing in this folder" : "Nothing here yet"}>
          <p>Drop files or folders here, choose them with Upload, or push them from a terminal:</p>
          <Command text={`nebula push FILE ${bucket}:${prefix}`} />
        </Empty>
      )}
      {page && !empty && (
        <ul class="list">
          {page.prefixes.map((one) => (
            <li key={one}>
              <a class="line" href={to.bucket(bucket, one)}>
                <span class="name folder">{one.slice(prefix.length)}</span>
              </a>
            </li>
          ))}
          {page.items.map((object) => (
            <Line
              key={object.key}
              object={object}
              name={object.key.slice(prefix.length) || object.key}
              open={() => void open(object.key)}
              ask={(verb) => (asked.value = { verb, key: object.key })}
            />
          ))}
        </ul>
      )}
      {page?.next && (
        <button type="button" class="more" onClick={() => (limit.value += PAGE_ITEMS)}>
          Show more
        </button>
      )}
      {over.value && <p class="drop-here">Drop to upload into {bucket + (prefix ? `/${prefix}` : "")}</p>}
      <Asking bucket={bucket} asked={asked.value} close={() => (asked.value = null)} reload={objects.reload} />
    </div>
  );
}

function Path({ bucket, prefix }: { bucket: string; prefix: string }) {
  const folders = prefix.split("/").slice(0, -1);
  return (
    <h1 class="path">
      <a href={to.place("buckets")}>Buckets</a>
      <a href={to.bucket(bucket)}>{bucket}</a>
      {folders.map((name, index) => (
        <a key={index} href={to.bucket(bucket, `${folders.slice(0, index + 1).join("/")}/`)}>
          {name || "(nameless)"}
        </a>
      ))}
    </h1>
  );
}

function Picker({ take }: { take: (files: Picked[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        class="unseen"
        type="file"
        multiple
        tabIndex={-1}
        aria-label="Files to upload"
        onChange={(event) => {
          take(picked(event.currentTarget.files));
          event.currentTarget.value = "";
        }}
      />
      <button type="button" class="main" onClick={() => input.current?.click()}>
        Upload
      </button>
    </>
  );
}

function Line(props: { object: StoredObject; name: string; open: () => void; ask: (verb: "share" | "delete") => void }) {
  const { bucket, key, size_bytes, modified_at_ms } = props.object;
  const address = `${location.origin}/-/file/${bucket}/${encodeKey(key)}`;
  return (
    <li class="line">
      {isFilm(key) ? (
        <a class="name" href={to.film(bucket, key)}>
          {props.name}
        </a>
      ) : (
        <button type="button" class="name link" onClick={props.open}>
          {props.name}
        </button>
      )}
      <span class="facts" title={when(modified_at_ms)}>
        {bytes(size_bytes)} <span class="wide">· {ago(modified_at_ms)}</span>
      </span>
      <span class="verbs" role="group" aria-label={props.name}>
        {isFilm(key) && (
          <button type="button" class="wide" onClick={props.open}>
            Open file
          </button>
        )}
        <Copy text={address} label="Copy URL" />
        <button type="button" onClick={() => props.ask("share")}>
          Share
        </button>
        <button type="button" class="danger" onClick={() => props.ask("delete")}>
          Delete
        </button>
      </span>
    </li>
  );
}

function Asking(props: { bucket: string; asked: Asked | null; close: () => void; reload: () => void }) {
  const { bucket, asked, close, reload } = props;
  if (!asked) return null;
  if (asked.verb === "share") {
    return <Share bucket={bucket} name={asked.key} film={isFilm(asked.key)} close={close} />;
  }
  if (asked.verb === "delete") {
    const act = async () => {
      await ask(`buckets/${bucket}/objects/${encodeKey(asked.key)}`, { method: "DELETE" });
      reload();
    };
    return (
      <Confirm title="Delete this object?" verb="Delete" act={act} close={close}>
        <code>{asked.key}</code> will be gone from <code>{bucket}</code>, unless the bucket keeps versions.
      </Confirm>
    );
  }
  const act = async () => {
    await ask(`buckets/${bucket}`, { method: "DELETE" });
    location.hash = to.place("buckets");
  };
  return (
    <Confirm title="Delete this bucket?" verb="Delete bucket" act={act} close={close}>
      <code>{bucket}</code> is empty; its name will be free again.
    </Confirm>
  );
}
