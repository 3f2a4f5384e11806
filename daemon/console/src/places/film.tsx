// One film: the player, and what is known of it.

import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { encodeKey, failure, type Failure, get, send } from "../api";
import { type Chooser, Controls, fill, toggle } from "../controls";
import { Bar, Command, Mark, Trouble } from "../parts";
import type { Choice, Player } from "../player";
import { folder, to } from "../route";
import { Share } from "../share";
import { Storyboard } from "../storyboard";
import { useLoaded } from "../use";
import type { Asset, Sound, Track } from "../wire";
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
  const video = useRef<HTMLVideoElement>(null);
  const asset = film.value.value;
  const jump = (at_ms: number) => {
    if (!video.current) return;
    video.current.currentTime = at_ms / 1000;
    video.current.scrollIntoView({ block: "nearest" });
  };
  return (
    <article class="watching">
      <Screen video={video} bucket={bucket} name={name} film={asset} />
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
      {asset && <Facts film={asset} jump={jump} />}
      {sharing.value && <Share bucket={bucket} name={name} film close={() => (sharing.value = false)} />}
    </article>
  );
}

interface ScreenProps {
  video: RefObject<HTMLVideoElement | null>;
  bucket: string;
  name: string;
  film?: Asset;
}

function Screen({ video, bucket, name, film }: ScreenProps) {
  const state = film?.state;
  const known = useRef(film);
  known.current = film;
  const screen = useRef<HTMLDivElement>(null);
  const player = useRef<Player>(undefined);
  const board = useSignal<Storyboard | undefined>(undefined);
  const notice = useSignal<string | null>(null);
  const failed = useSignal<Failure | null>(null);
  const rungs = useChoice();
  const sounds = useChoice();
  const texts = useChoice();
  const wanted = useSignal(-1);
  const ready = state === "ready";
  useEffect(() => {
    if (!ready) return undefined;
    let gone = false;
    failed.value = null;
    import("../player").then(
      ({ play }) => {
        if (gone || !video.current) return;
        const playing = play(video.current, bucket, name, resumed(known.current), known.current?.subtitles ?? [], {
          notice: (text) => (notice.value = text),
          failed: (failure) => (failed.value = failure),
          rungs: rungs.list,
          shown: rungs.is,
          sounds: sounds.list,
          heard: sounds.is,
          texts: texts.list,
          read: texts.is,
        });
        player.current = playing;
        board.value = new Storyboard(playing.beside);
      },
      (error: unknown) => (failed.value = failure(error)),
    );
    return () => {
      gone = true;
      board.value?.close();
      board.value = undefined;
      player.current?.close();
      player.current = undefined;
    };
  }, [ready, bucket, name]);
  useEffect(() => {
    const element = video.current;
    return ready && element ? remember(element, `positions/${bucket}/${encodeKey(name)}`) : undefined;
  }, [ready, bucket, name]);

  const choosers: Chooser[] = [];
  if (sounds.options.length > 1) {
    choosers.push({ label: "Sound", ...sounds, choose: (index) => player.current?.hear(index) });
  }
  if (texts.options.length > 0) {
    const options = [{ index: -1, name: "Off" }, ...texts.options];
    const choose = (index: number) => {
      texts.is(index);
      player.current?.read(index);
    };
    choosers.push({ label: "Subtitles", options, value: texts.value, choose });
  }
  if (rungs.options.length > 1) {
    const playing = rungs.options.find((rung) => rung.index === rungs.value);
    const automatic = wanted.value === -1 && playing ? `Automatic (${playing.name})` : "Automatic";
    const choose = (index: number) => {
      wanted.value = index;
      player.current?.choose(index);
    };
    const options = [{ index: -1, name: automatic }, ...rungs.options];
    choosers.push({ label: "Quality", options, value: wanted.value, choose });
  }
  const act = (deed: (element: HTMLVideoElement) => void) => () => {
    if (video.current) deed(video.current);
  };
  return (
    <div ref={screen} class="screen">
      <div class="picture">
        <video
          ref={video}
          autoPlay
          playsInline
          tabIndex={0}
          aria-label={film?.title ?? name}
          onClick={act(toggle)}
          onDblClick={act((element) => fill(element, screen.current))}
        />
      </div>
      {state === "indexing" && <p class="notice">The node is looking at this film. It plays in a moment.</p>}
      {notice.value && (
        <p class="notice" role="status">
          {notice.value}
        </p>
      )}
      <Controls
        video={video}
        screen={screen}
        chapters={film?.chapters ?? []}
        board={film?.storyboard && board.value}
        choosers={choosers}
      />
      {failed.value && <Trouble of={failed.value} />}
    </div>
  );
}

/** What there is to choose of one kind, and which of it is there. */
function useChoice() {
  const options = useSignal<Choice[]>([]);
  const value = useSignal(-1);
  return {
    options: options.value,
    value: value.value,
    list: (list: Choice[]) => (options.value = list),
    is: (index: number) => (value.value = index),
  };
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

function Facts({ film, jump }: { film: Asset; jump: (at_ms: number) => void }) {
  const { sounds = [], subtitles = [], chapters = [] } = film;
  // What is offered says more than what lies in the file; until that is known, the file's own tracks do.
  const tracks = film.tracks.filter((track) => track.kind !== "subtitle" || subtitles.length === 0);
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
        {tracks.map((track) => (
          <Fact key={track.index} name={TRACKS[track.kind] ?? "Track"}>
            {told(track)} <Remade of={sounds.find((sound) => track.kind === "audio" && sound.track === track.index)} />
          </Fact>
        ))}
        {subtitles.length > 0 && (
          <Fact name="Subtitles">
            {subtitles.map((one) => (one.format === "webvtt" ? one.name : `${one.name} (pictures)`)).join(", ")}
          </Fact>
        )}
        {chapters.length > 0 && (
          <Fact name="Chapters">
            <ol class="chapters">
              {chapters.map((chapter) => (
                <li key={chapter.start_ms}>
                  <button type="button" class="link" onClick={() => jump(chapter.start_ms)}>
                    {chapter.title}
                  </button>{" "}
                  <span class="dim small">{length(chapter.start_ms)}</span>
                </li>
              ))}
            </ol>
          </Fact>
        )}
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

/** What is said of a sound that few players take as it is. */
function Remade({ of: sound }: { of?: Sound }) {
  if (!sound || sound.original) return null;
  const words = { ready: "also as AAC", failed: "no AAC of it", evicted: "AAC on demand" } as Record<string, string>;
  return <Mark state={sound.state}>{words[sound.state] ?? "AAC is being made"}</Mark>;
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
  return [track.title, track.codec, size, rate, range, channels, track.language].filter(Boolean).join(", ");
}
