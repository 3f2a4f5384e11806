// The node at a glance, and who it takes us for.

import type { ComponentChildren } from "preact";
import { failure, type Failure, get, refreshStatus, status } from "../api";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Command, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { useLoaded, useTicking } from "../use";
import { JOB_STATES, type Page, type Stream } from "../wire";
import { bytes, count, length, span } from "../words";

/** How often the node is asked how it is. */
const LOOK_MS = 5000;

/** Who watches, what reaches them and why. */
function Watching() {
  const streams = useLoaded((signal) => get<Page<Stream>>("streams", signal), []);
  useTicking(streams.reload, LOOK_MS);
  const items = streams.value.value?.items ?? [];
  if (streams.failed.value) return <Trouble of={streams.failed.value} />;
  if (items.length === 0) return <p class="dim">Nobody watches at this moment.</p>;
  return (
    <ul>
      {items.map((one) => (
        <li key={`${one.actor} ${one.address} ${one.player} ${one.bucket}/${one.key}`}>
          <a href={to.film(one.bucket, one.key)}>{one.key}</a>
          {one.position_ms !== undefined && ` at ${length(one.position_ms)}`}
          <br />
          <span class="dim" title={one.player}>
            {one.actor}, {one.rendition}, {one.mode}: {one.reason}
          </span>
        </li>
      ))}
    </ul>
  );
}

export function NodePlace() {
  const failed = useSignal<Failure | null>(null);
  const look = () =>
    void refreshStatus().then(
      () => (failed.value = null),
      (error: unknown) => (failed.value = failure(error)),
    );
  useEffect(look, []);
  useTicking(look, LOOK_MS);
  const node = status.value;
  if (!node) return failed.value ? <Trouble of={failed.value} again={look} /> : <Waiting />;
  const { total_bytes, free_bytes, reserve_bytes, used_bytes, objects } = node.storage;
  const taken = total_bytes - free_bytes;
  const tried = !["", "unknown"].includes(node.hardware.choice);
  const tight = free_bytes <= reserve_bytes;
  return (
    <>
      <div class="title">
        <h1>{node.node}</h1>
        <span class="dim">up for {span(node.uptime_ms)}</span>
      </div>
      {failed.value && <Trouble of={failed.value} />}
      <div class="panels">
        <Panel title="Disk">
          <meter
            min={0}
            max={total_bytes}
            high={Math.max(0, total_bytes - 2 * reserve_bytes)}
            optimum={0}
            value={taken}
            aria-label="Disk in use"
          />
          <p>
            <strong>{bytes(Math.max(0, free_bytes - reserve_bytes))}</strong> free for uploads of {bytes(total_bytes)}
          </p>
          <p class="dim">
            {count(objects, "object")} take {bytes(used_bytes)}; {bytes(reserve_bytes)} are kept in reserve.
          </p>
          {node.scrub.running && (
            <p class="dim">
              Every stored byte is being compared with its checksum: {bytes(node.scrub.done_bytes)} of {bytes(node.scrub.total_bytes)}.
            </p>
          )}
          {node.scrub.quarantined > 0 && (
            <p class="bad">
              {count(node.scrub.quarantined, "damaged file")} set aside: <code>nebulad fsck</code> on the node names what is lost.
            </p>
          )}
          {tight && <p class="bad">The reserve is reached: uploads are refused until something is deleted.</p>}
        </Panel>
        <Panel title="Watching now">
          <Watching />
        </Panel>
        <Panel title="Jobs">
          <dl class="figures">
            {JOB_STATES.map((state) => (
              <div key={state}>
                <dt>{state}</dt>
                <dd>{node.jobs[state].toLocaleString()}</dd>
              </div>
            ))}
          </dl>
        </Panel>
        <Panel title="Transcoding">
          <p>
            <Mark state="quiet">{tried ? node.hardware.choice : "not tried yet"}</Mark>{" "}
            {node.hardware.device && <code>{node.hardware.device}</code>}
          </p>
          <p class="dim">{node.hardware.reason || "What the hardware can do is tried when the first film needs it."}</p>
        </Panel>
        <Panel title="You">
          <p>
            <code>{node.me.actor}</code> <Mark state="quiet">{node.me.role}</Mark>
          </p>
          <p class="dim">{node.me.rule}</p>
        </Panel>
        <Panel title="Nebula">
          <dl class="facts-list">
            <Row name="Version">{node.version}</Row>
            <Row name="Build">
              <code>{node.build_id}</code>
            </Row>
            <Row name="Catalog">{node.database}</Row>
            <Row name="Queue">{node.queue}</Row>
            <Row name="Listens on">{node.listen.join(", ")}</Row>
          </dl>
        </Panel>
        <Panel title="From a terminal">
          <Command text={`nebula login ${location.origin}`} />
          <Command text={`aws --endpoint-url ${location.origin} s3 ls`} />
        </Panel>
      </div>
    </>
  );
}

const Panel = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <section class="panel">
    <h2>{title}</h2>
    {children}
  </section>
);

const Row = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);
