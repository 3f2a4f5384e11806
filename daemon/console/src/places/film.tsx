// One film: the player, and what is known of it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { encodeKey, failure, type Failure, get, send } from "../api";
import { Bar, Command, Mark, Trouble } from "../parts";
import type { Player, Rung } from "../player";
import { folder, to } from "../route";
import { Share } from "../share";
import { useLoaded } from "../use";
import type { Asset, Track } from "../wire";
import { bytes, length, percent } from "../words";

/** How often the node hears where the viewer is. */
const REMEMBER_MS = 10_000;

export function FilmPlace({ bucket, name }: { bucket: string; name: string }) {
  const film = useLoaded(
    (signal) => get<Asset>(`assets/${bucket}/${encodeKey(name)}`, signal),
    [bucket, name],
    (event) => (event.bucket === bucket && event.key === name) || event.type === "job.changed",
  );
  const sharing = useSignal(false);
  const asset = film.value.value;
  return (
    <article class="watching">
      <Screen bucket={bucket} name={name} film={asset} />
      <div class="title">
        <h1>{asset?.title ?? name}</h1>
        <div class="actions">
          <button type="button" onClick={() => (sharing.value = true)}>
            Share
          </button>
          <a class="button" href={to.bucket(bucket, folder(name))}>
            Show in bucket
          </a>
        </div>
      </div>
      {film.failed.value && <Trouble of={film.failed.value} again={film.reload} />}
      {asset && <Facts film={asset} />}
      {sharing.value && <Share bucket={bucket} name={name} film close={() => (sharing.value = false)} />}
    </article>
  );
}

function Screen({ bucket, name, film }: { bucket: string; name: string; film?: Asset }) {
  const state = film?.state;
  const begun = useRef(0);
  begun.current = resumed(film);
  const video = useRef<HTMLVideoElement>(null);
  const player = useRef<Player>(undefined);
  const notice = useSignal<string | null>(null);
  const failed = useSignal<Failure | null>(null);
  const rungs = useSignal<Rung[]>([]);
  const shown = useSignal(-1);
  const chosen = useSignal(-1);
  const ready = state === "ready";
  useEffect(() => {
    if (!ready) return undefined;
    let gone = false;
    failed.value = null;
    import("../player").then(
      ({ play }) => {
        if (gone || !video.current) return;
        player.current = play(video.current, bucket, name, begun.current, {
          notice: (text) => (notice.value = text),
          failed: (failure) => (failed.value = failure),
          rungs: (list) => (rungs.value = list),
          shown: (index) => (shown.value = index),
        });
      },
      (error: unknown) => (failed.value = failure(error)),
    );
    return () => {
      gone = true;
      player.current?.close();
      player.current = undefined;
    };
  }, [ready, bucket, name]);
  useEffect(() => {
    const element = video.current;
    return ready && element ? remember(element, `positions/${bucket}/${encodeKey(name)}`) : undefined;
  }, [ready, bucket, name]);
  const choose = (index: number) => {
    chosen.value = index;
    player.current?.choose(index);
  };
  const playing = rungs.value.find((rung) => rung.index === shown.value);
  return (
    <div class="screen">
      <video ref={video} controls autoPlay playsInline aria-label={name} />
      {state === "indexing" && <p class="notice">The node is looking at this film. It plays in a moment.</p>}
      {notice.value && (
        <p class="notice" role="status">
          {notice.value}
        </p>
      )}
      {failed.value && <Trouble of={failed.value} />}
      {rungs.value.length > 1 && (
        <label class="rungs">
          Quality
          <select value={chosen.value} onChange={(event) => choose(Number(event.currentTarget.value))}>
            <option value={-1}>{chosen.value === -1 && playing ? `Automatic (${playing.name})` : "Automatic"}</option>
            {rungs.value.map((rung) => (
              <option key={rung.index} value={rung.index}>
                {rung.name}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}

/** Where to go on, in seconds; from the start what is nearly over. */
function resumed(film?: Asset): number {
  const { position_ms: at = 0, duration_ms: whole = 0 } = film ?? {};
  return at < whole * 0.95 ? at / 1000 : 0;
}

/** Tells the node now and then where the viewer is, and once more at the end. */
function remember(video: HTMLVideoElement, path: string): () => void {
  let told = -1;
  const tell = () => {
    const at = Math.round(video.currentTime * 1000);
    if (at === 0 || at === told) return;
    told = at;
    // Whoever may watch by a link alone is not remembered; the film plays on.
    send("PUT", path, { position_ms: at }).catch(() => undefined);
  };
  const timer = setInterval(() => video.paused || tell(), REMEMBER_MS);
  video.addEventListener("pause", tell);
  addEventListener("pagehide", tell);
  return () => {
    clearInterval(timer);
    video.removeEventListener("pause", tell);
    removeEventListener("pagehide", tell);
    tell();
  };
}

function Facts({ film }: { film: Asset }) {
  return (
    <>
      {film.state === "failed" && (
        <Trouble
          of={failure(new Error(`This film cannot be played: ${film.reason ?? "the node does not know why"}.`))}
        />
      )}
      <dl class="facts-list">
        {film.episode && (
          <Fact name="Series">
            <a href={to.series(film.episode.series)}>{film.episode.series}</a>, season {film.episode.season}, episode{" "}
            {film.episode.number}
          </Fact>
        )}
        {film.year && <Fact name="Year">{film.year}</Fact>}
        {film.duration_ms !== undefined && <Fact name="Length">{length(film.duration_ms)}</Fact>}
        <Fact name="File">
          {bytes(film.size_bytes)}
          {film.container && `, ${film.container}`}
        </Fact>
        {film.tracks.map((track, index) => (
          <Fact key={index} name={TRACKS[track.kind] ?? "Track"}>
            {told(track)}
          </Fact>
        ))}
        {film.playback && (
          <Fact name="Plays">
            {film.playback.mode}: {film.playback.reason}
          </Fact>
        )}
        {film.renditions.length > 0 && (
          <Fact name="Smaller sizes">
            <ul class="rung-list">
              {film.renditions.map((rung) => (
                <li key={rung.name}>
                  {rung.name} <Mark state={rung.state}>{rung.state === "running" ? percent(rung.progress) : rung.state}</Mark>
                  {rung.state === "running" && <Bar part={rung.progress} label={`Making ${rung.name}`} />}
                </li>
              ))}
            </ul>
          </Fact>
        )}
      </dl>
      <Command text={`nebula play '${film.bucket}:${film.key.replaceAll("'", "'\\''")}'`} />
    </>
  );
}

const TRACKS: Record<string, string> = { video: "Picture", audio: "Sound", subtitle: "Subtitles" };

const Fact = ({ name, children }: { name: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

function told(track: Track): string {
  const size = track.width && track.height ? `${track.width}×${track.height}` : undefined;
  const rate = track.frame_rate ? `${Math.round(track.frame_rate * 100) / 100} frames/s` : undefined;
  const channels = track.channels ? (["", "mono", "stereo"][track.channels] ?? `${track.channels} channels`) : undefined;
  const range = track.range && track.range !== "sdr" ? `HDR (${track.range.toUpperCase()})` : undefined;
  return [track.codec, size, rate, range, channels, track.language].filter(Boolean).join(", ");
}
