// Draws subtitles that are pictures (PGS) over a film. A chunk of its own: few viewers choose such.

import { PgsRenderer } from "libpgs";
import type { PgsRendererMode } from "libpgs/dist/pgsRendererMode";
import { Failure, problemIn } from "./api";

/** Draws what is in the file until `gone`; `origin_s` is where the film begins on the file's clock. */
export async function draw(video: HTMLVideoElement, file: Response, origin_s: number, gone: AbortSignal): Promise<void> {
  if (!file.ok) throw new Failure(problemIn(await file.text(), file.status));
  const bytes = await file.arrayBuffer();
  gone.throwIfAborted();
  // A worker would be a second copy of the library, to spare a few milliseconds for each picture.
  const mode = "mainThread" as PgsRendererMode;
  const renderer = new PgsRenderer({ video, mode, timeOffset: origin_s });
  let frame = 0;
  // By itself it looks at the clock a few times a second, and a picture would come that much late.
  const look = () => {
    renderer.renderAtTimestamp(video.currentTime + origin_s);
    frame = video.requestVideoFrameCallback?.(look);
  };
  // Before there is anything to draw: a fresh renderer takes the first picture for one that it has drawn.
  look();
  gone.addEventListener("abort", () => {
    video.cancelVideoFrameCallback?.(frame);
    renderer.dispose();
  });
  await renderer.loadFromBuffer(bytes);
}
