// Where the film is: a slider with its chapters, and over it a small picture of the place that is pointed at.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Storyboard } from "./storyboard";
import type { Chapter } from "./wire";
import { length } from "./words";

/** What an arrow key moves by, in seconds. */
export const STEP_S = 5;
/** What Page Up and Page Down move by where there are no chapters. */
const LEAP_S = 60;
/** Half the slider's thumb: its middle does not reach the ends of the slider. As in the style sheet. */
const THUMB_PX = 8;

export interface Place {
  at_s: number;
  length_s: number;
  loaded_s: number;
}

/** The chapter of a time. */
export const chapterAt = (chapters: Chapter[], at_s: number): Chapter | undefined =>
  chapters.findLast((chapter) => chapter.start_ms <= at_s * 1000);

/** Where a part of the whole is on the slider, for a style. */
const left = (part: number) => `calc(${THUMB_PX}px + (100% - ${2 * THUMB_PX}px) * ${part})`;

export function Timeline(props: {
  place: Place;
  chapters: Chapter[];
  board?: Storyboard;
  seek: (seconds: number) => void;
}) {
  const { place, chapters, board, seek } = props;
  const { at_s, length_s, loaded_s } = place;
  /** Where the thumb is held, until it is let go. */
  const held = useSignal<number | null>(null);
  /** What the pointer is over. */
  const pointed = useSignal<number | null>(null);
  const shown = held.value ?? at_s;
  const chapter = chapterAt(chapters, shown);

  const point = (event: PointerEvent) => {
    const { left, width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const part = (event.clientX - left - THUMB_PX) / (width - 2 * THUMB_PX);
    pointed.value = Math.min(1, Math.max(0, part)) * length_s;
  };
  const key = (event: KeyboardEvent) => {
    const to = keyed(event.key, at_s, length_s, chapters);
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    seek(to);
  };
  const over = held.value ?? pointed.value;
  return (
    <div
      class="timeline"
      onPointerMove={point}
      onPointerLeave={() => (pointed.value = null)}
    >
      {over !== null && length_s > 0 && <Preview at_s={over} part={over / length_s} chapters={chapters} board={board} />}
      <input
        type="range"
        min={0}
        max={length_s || 1}
        step="any"
        value={shown}
        disabled={length_s === 0}
        aria-label="Place in the film"
        aria-valuetext={`${length(shown * 1000)} of ${length(length_s * 1000)}${chapter ? `, ${chapter.title}` : ""}`}
        onInput={(event) => (held.value = Number(event.currentTarget.value))}
        onChange={(event) => {
          seek(Number(event.currentTarget.value));
          held.value = null;
        }}
        onKeyDown={key}
      />
      <div class="rail" aria-hidden="true">
        <span class="loaded" style={{ width: length_s ? left(loaded_s / length_s) : 0 }} />
        <span class="played" style={{ width: length_s ? left(shown / length_s) : 0 }} />
        {length_s > 0 &&
          chapters
            .filter((chapter) => chapter.start_ms > 0)
            .map((chapter) => (
              <span class="chapter-mark" key={chapter.start_ms} style={{ left: left(chapter.start_ms / 1000 / length_s) }} />
            ))}
      </div>
    </div>
  );
}

/** Where a key leads to, in seconds. */
function keyed(key: string, at_s: number, length_s: number, chapters: Chapter[]): number | undefined {
  const starts = chapters.map((chapter) => chapter.start_ms / 1000);
  switch (key) {
    case "ArrowLeft":
    case "ArrowDown":
      return Math.max(0, at_s - STEP_S);
    case "ArrowRight":
    case "ArrowUp":
      return Math.min(length_s, at_s + STEP_S);
    case "PageUp":
      return starts.find((start) => start > at_s) ?? Math.min(length_s, at_s + LEAP_S);
    case "PageDown":
      // From shortly behind its beginning a chapter is gone back over, not begun again.
      return starts.findLast((start) => start < at_s - 2) ?? Math.max(0, at_s - LEAP_S);
    case "Home":
      return 0;
    case "End":
      return length_s;
    default:
      return undefined;
  }
}

function Preview(props: { at_s: number; part: number; chapters: Chapter[]; board?: Storyboard }) {
  const { at_s, part, chapters, board } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useSignal(false);
  useEffect(() => {
    let gone = false;
    board?.at(at_s).then(
      (found) => {
        if (gone || !canvas.current) return;
        drawn.value = found !== undefined;
        if (!found) return;
        const { image, x, y, width, height } = found;
        Object.assign(canvas.current, { width, height });
        canvas.current.getContext("2d")?.drawImage(image, x, y, width, height, 0, 0, width, height);
      },
      // A sheet that did not come leaves the time alone.
      () => undefined,
    );
    return () => {
      gone = true;
    };
  }, [at_s, board]);
  const chapter = chapterAt(chapters, at_s);
  return (
    <div class="preview" aria-hidden="true" style={{ left: `clamp(5.5rem, ${left(part)}, 100% - 5.5rem)` }}>
      <canvas ref={canvas} hidden={!drawn.value} />
      {chapter && <span class="name">{chapter.title}</span>}
      <span class="time">{length(at_s * 1000)}</span>
    </div>
  );
}
