// The controls under a film: playing, its place, what is heard and read, how loud and how large.

import { batch, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";
import type { Choice } from "./player";
import type { Storyboard } from "./storyboard";
import { chapterAt, type Place, STEP_S, Timeline } from "./timeline";
import type { Chapter } from "./wire";
import { length } from "./words";

/** Without a movement for so long, the controls leave a film that fills the screen. */
const IDLE_MS = 3000;
const SEEN = [
  "timeupdate", "durationchange", "progress", "play", "pause", "volumechange", "seeking", "seeked", "ended", "emptied",
];

/** Something to choose, when there is something to choose from. */
export interface Chooser {
  label: string;
  options: Choice[];
  value: number;
  choose: (index: number) => void;
}

interface Props {
  video: RefObject<HTMLVideoElement | null>;
  /** What fills the screen. */
  screen: RefObject<HTMLDivElement | null>;
  chapters: Chapter[];
  board?: Storyboard;
  choosers: Chooser[];
}

export function Controls({ video, screen, chapters, board, choosers }: Props) {
  const place = useSignal<Place>({ at_s: 0, length_s: 0, loaded_s: 0 });
  const paused = useSignal(true);
  const volume = useSignal(1);
  const full = useSignal(false);
  useEffect(() => {
    const element = video.current;
    if (!element) return undefined;
    const look = () =>
      batch(() => {
        place.value = placeOf(element);
        paused.value = element.paused;
        volume.value = element.muted ? 0 : element.volume;
      });
    const resized = () => (full.value = document.fullscreenElement === screen.current);
    SEEN.forEach((event) => element.addEventListener(event, look));
    document.addEventListener("fullscreenchange", resized);
    look();
    return () => {
      SEEN.forEach((event) => element.removeEventListener(event, look));
      document.removeEventListener("fullscreenchange", resized);
    };
  }, []);
  useKeys(screen, video);
  useIdle(screen, video);
  const act = (deed: (element: HTMLVideoElement) => void) => () => {
    if (video.current) deed(video.current);
  };
  const { at_s, length_s } = place.value;
  const chapter = chapterAt(chapters, at_s);
  return (
    <div class="controls">
      <Timeline place={place.value} chapters={chapters} board={board} seek={(to) => act((one) => (one.currentTime = to))()} />
      <div class="buttons" role="group" aria-label="Playing">
        <Icon label={paused.value ? "Play" : "Pause"} shape={paused.value ? "play" : "pause"} act={act(toggle)} />
        <Icon label={volume.value === 0 ? "Sound on" : "Mute"} shape={volume.value === 0 ? "mute" : "loud"} act={act(mute)} />
        <input
          class="volume"
          type="range"
          min={0}
          max={1}
          step={0.05}
          value={volume.value}
          aria-label="Volume"
          onInput={(event) => {
            const wanted = Number(event.currentTarget.value);
            act((element) => Object.assign(element, { volume: wanted, muted: wanted === 0 }))();
          }}
        />
        <span class="time">
          {length(at_s * 1000)} <span class="dim">/ {length(length_s * 1000)}</span>
        </span>
        {chapter && <span class="chapter dim">{chapter.title}</span>}
        <span class="gap" />
        {document.pictureInPictureEnabled && <Icon label="Small window" shape="small" act={act(float)} />}
        <Icon
          label={full.value ? "Leave full screen" : "Full screen"}
          shape={full.value ? "shrink" : "grow"}
          act={act((element) => fill(element, screen.current))}
        />
      </div>
      {choosers.length > 0 && (
        <div class="choices">
          {choosers.map(({ label, options, value, choose }) => (
            <label key={label}>
              {label}
              <select aria-label={label} value={value} onChange={(event) => choose(Number(event.currentTarget.value))}>
                {options.map((option) => (
                  <option key={option.index} value={option.index}>
                    {option.name}
                  </option>
                ))}
              </select>
            </label>
          ))}
        </div>
      )}
    </div>
  );
}

function placeOf(video: HTMLVideoElement): Place {
  const { currentTime, duration, buffered } = video;
  let loaded_s = currentTime;
  for (let run = 0; run < buffered.length; run += 1) {
    if (buffered.start(run) <= currentTime + 0.5) loaded_s = Math.max(loaded_s, buffered.end(run));
  }
  return { at_s: currentTime, length_s: Number.isFinite(duration) ? duration : 0, loaded_s };
}

export function toggle(video: HTMLVideoElement): void {
  // A browser may refuse to play before the first click; then it stays as it is.
  if (video.paused) video.play().catch(() => undefined);
  else video.pause();
}

function mute(video: HTMLVideoElement): void {
  const silent = video.muted || video.volume === 0;
  video.muted = !silent;
  if (silent && video.volume === 0) video.volume = 1;
}

function float(video: HTMLVideoElement): void {
  const done = document.pictureInPictureElement ? document.exitPictureInPicture() : video.requestPictureInPicture();
  done.catch(() => undefined);
}

export function fill(video: HTMLVideoElement, screen: HTMLElement | null): void {
  if (document.fullscreenElement) return void document.exitFullscreen();
  if (screen?.requestFullscreen) return void screen.requestFullscreen().catch(() => undefined);
  // A phone of Apple's lets the picture alone fill its screen.
  (video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
}

/** Keys of players everywhere, while the film or its controls have the focus. */
function useKeys(screen: RefObject<HTMLDivElement | null>, video: RefObject<HTMLVideoElement | null>): void {
  useEffect(() => {
    const element = screen.current;
    const press = (event: KeyboardEvent) => {
      const film = video.current;
      const target = event.target as HTMLElement;
      if (!film || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      // A list is chosen from by typing; buttons and sliders have keys of their own.
      if (target instanceof HTMLSelectElement) return;
      const plain = target === film || target === element;
      const by = (seconds: number) => (film.currentTime = Math.max(0, film.currentTime + seconds));
      if (event.key === "k" || (event.key === " " && plain)) toggle(film);
      else if (event.key === "f") fill(film, element);
      else if (event.key === "m") mute(film);
      else if (event.key === "ArrowLeft" && plain) by(-STEP_S);
      else if (event.key === "ArrowRight" && plain) by(STEP_S);
      else return;
      event.preventDefault();
    };
    element?.addEventListener("keydown", press);
    return () => element?.removeEventListener("keydown", press);
  }, []);
}

/** Marks the screen as idle when nobody touched anything for a while, so that the controls can leave. */
function useIdle(screen: RefObject<HTMLDivElement | null>, video: RefObject<HTMLVideoElement | null>): void {
  useEffect(() => {
    const element = screen.current;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stir = () => {
      element?.classList.remove("idle");
      clearTimeout(timer);
      timer = setTimeout(() => video.current?.paused || element?.classList.add("idle"), IDLE_MS);
    };
    const events = ["pointermove", "pointerdown", "keydown"];
    events.forEach((event) => element?.addEventListener(event, stir));
    return () => {
      clearTimeout(timer);
      events.forEach((event) => element?.removeEventListener(event, stir));
    };
  }, []);
}

const SHAPES = {
  play: "M7 4v16l13-8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  loud: "M3 9v6h4l5 5V4L7 9zM15 8.5a5 5 0 0 1 0 7v-7zM15 4v2.2a7 7 0 0 1 0 11.6V20a9 9 0 0 0 0-16z",
  mute: "M3 9v6h4l5 5V4L7 9zM21 9.4 19.6 8 17 10.6 14.4 8 13 9.4l2.6 2.6-2.6 2.6 1.4 1.4 2.6-2.6 2.6 2.6 1.4-1.4-2.6-2.6z",
  small: "M3 5h18v14H3zm2 2v10h14V7zm7 5h6v4h-6z",
  grow: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
  shrink: "M8 4h2v6H4V8h4zM14 4h2v4h4v2h-6zM4 14h6v6H8v-4H4zM14 14h6v2h-4v4h-2z",
};

function Icon({ label, shape, act }: { label: string; shape: keyof typeof SHAPES; act: () => void }) {
  return (
    <button type="button" class="icon" aria-label={label} title={label} onClick={act}>
      <svg viewBox="0 0 24 24" width="20" height="20" fill="currentColor" fill-rule="evenodd" aria-hidden="true">
        <path d={SHAPES[shape]} />
      </svg>
    </button>
  );
}
