// Plays an HLS address in headless Chromium with hls.js from its beginning to its end, when it is told to.
//
//   node arriving.mjs URL CHROMIUM
//
// Says "ready" when the page stands, begins at the first line of its input, and prints one line of JSON: when the first
// picture was shown, by the page's own clock, how often playing stood still after it, where it ended, and every error.
import { createInterface } from "node:readline/promises";
import { stage } from "./stage.mjs";

const [url, executablePath] = process.argv.slice(2);
/** For the whole film. */
const PATIENCE_MS = 90_000;

const { context, address, close } = await stage(executablePath);
let failed = false;
try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
  await page.goto(address);
  console.log("ready");
  const input = createInterface({ input: process.stdin });
  await new Promise((told) => input.once("line", told));
  input.close();
  const told = await page.evaluate(play, { url, patience_ms: PATIENCE_MS });
  console.log(JSON.stringify({ ...told, errors: [...complaints, ...told.errors] }));
} catch (error) {
  console.error(error.message);
  failed = true;
} finally {
  await close();
}
process.exit(failed ? 1 : 0);

/** Runs in the page. */
async function play({ url, patience_ms }) {
  const errors = [];
  const video = document.querySelector("video");
  const begun = performance.now();
  let stalls = 0;
  const stalled_at_s = [];
  const first = new Promise((shown) => video.requestVideoFrameCallback((now) => shown(now)));
  const ended = new Promise((resolve, reject) => {
    video.addEventListener("ended", resolve, { once: true });
    const state = () => `${video.currentTime} of ${video.duration}, ready ${video.readyState}: ${errors.join("; ")}`;
    setTimeout(() => reject(new Error(`it did not end: ${state()}`)), patience_ms);
  });
  const hls = new Hls();
  hls.on(Hls.Events.ERROR, (_, data) => {
    errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""} ${data.response?.code ?? ""}`);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  void video.play();
  const shown = await first;
  video.addEventListener("waiting", () => {
    // At the very end there is nothing to wait for.
    if (video.ended || video.currentTime > video.duration - 0.1) return;
    stalls += 1;
    stalled_at_s.push(video.currentTime);
  });
  await ended;
  return {
    first_frame_ms: shown - begun,
    first_frame_epoch_ms: performance.timeOrigin + shown,
    stalls,
    stalled_at_s,
    ended_at_s: video.currentTime,
    errors,
  };
}
