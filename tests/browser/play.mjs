// Plays an HLS address in headless Chromium with hls.js, seeks, and switches to every rung.
//
//   node play.mjs URL CHROMIUM
//
// Prints one line of JSON: what happened, and every error that the player saw.
import { stage } from "./stage.mjs";

const [address, executablePath] = process.argv.slice(2);
/** For each thing that is waited for. */
const PATIENCE_MS = 30_000;

const { context, address: stands_at, close } = await stage(executablePath);
let failed = false;
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
  await page.goto(stands_at);

  await page.evaluate((url) => {
    const seen = { errors: [], levels: [], switched: [], buffered: [] };
    if (!Hls.isSupported()) throw new Error("hls.js is not supported here");
    const video = document.querySelector("video");
    const hls = new Hls({ maxBufferLength: 6, backBufferLength: 2 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      // What the player itself breaks off at a switch is no error.
      if (!data.fatal && data.details === "aborted") return;
      seen.errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""} ${data.response?.code ?? ""}`);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, data) => {
      seen.levels = data.levels.map((level) => ({ height: level.height, codecs: [level.videoCodec, level.audioCodec] }));
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, (_, data) => seen.switched.push(data.level));
    hls.on(Hls.Events.FRAG_BUFFERED, (_, data) => seen.buffered.push(data.frag.level));
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play();
    Object.assign(window, { hls, video, seen });
  }, address);

  const until = (what, ask, argument) =>
    page.waitForFunction(ask, argument).catch(async (error) => {
      const at = await page.evaluate(() => ({ time: video.currentTime, ready: video.readyState, height: video.videoHeight, level: hls.currentLevel, error: video.error?.message, seen }));
      throw new Error(`${what} never came: ${JSON.stringify(at)} (${error.message.split("\n")[0]})`);
    });

  await until("the start", () => video.currentTime > 1);
  const duration = await page.evaluate(() => video.duration);

  const seeks = [];
  for (const part of [0.6, 0.1, 0.8]) {
    const to = duration * part;
    const begun = Date.now();
    await page.evaluate((time) => (video.currentTime = time), to);
    await until(`the seek to ${to}`, (time) => !video.seeking && video.currentTime > time + 0.3 && video.currentTime < time + 5, to);
    seeks.push({ to, ms: Date.now() - begun });
  }

  const heights = [];
  const levels = await page.evaluate(() => seen.levels);
  for (let level = 0; level < levels.length; level += 1) {
    // From a standing picture, so that what is on the screen afterwards is the new rung's.
    await page.evaluate((time) => {
      video.pause();
      video.currentTime = time;
    }, duration * 0.2);
    await until("the standing picture", () => !video.seeking && video.readyState >= 2);
    await page.evaluate((index) => (hls.currentLevel = index), level);
    await until(`rung ${level}`, (index) => hls.currentLevel === index && video.readyState >= 2, level);
    // A small seek makes a standing player show a frame of what it now holds, however busy the machine is.
    await page.evaluate(() => (video.currentTime += 0.2));
    await until(`a picture of rung ${level}`, (height) => !video.seeking && video.videoHeight === height, levels[level].height);
    await page.evaluate(() => {
      video.play();
    });
    const from = await page.evaluate(() => video.currentTime);
    await until(`rung ${level} playing`, (time) => video.currentTime > time + 0.5, from);
    heights.push(await page.evaluate(() => video.videoHeight));
  }

  // To the very end: the last segment and its duration are right.
  await page.evaluate((time) => { hls.nextLevel = -1; video.currentTime = time; video.play(); }, duration - 1.5);
  await until("the end", () => video.ended);
  const end = await page.evaluate(() => ({ ended_at: video.currentTime, dropped: video.getVideoPlaybackQuality().droppedVideoFrames, seen }));
  console.log(JSON.stringify({ duration, seeks, heights, ...end, errors: [...complaints, ...end.seen.errors] }));
} catch (error) {
  failed = true;
  console.error(error.message);
} finally {
  await close();
}
process.exit(failed ? 1 : 0);
