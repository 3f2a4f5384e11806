// Plays a film in headless Chromium while the appliance goes away and comes back.
//
//   node outage.mjs PLAYER URL CHROMIUM
//
// PLAYER is hls.js or shaka. Says `playing` when the film plays, and `dry` when the picture stands still because nothing
// is left to be played; whoever started it takes the appliance away at the first and brings it back after the second.
// Prints one line of JSON when the film has played to its end: the fatal errors that the player got over.
import { stage } from "./stage.mjs";

const [name, url, executablePath] = process.argv.slice(2);
/** For each thing that is waited for; an outage may last a minute. */
const PATIENCE_MS = 150_000;
/** Played before the appliance may go. */
const BEGIN_S = 1;

const { context, address, close } = await stage(executablePath);

let failed = false;
try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
  await page.goto(address);
  const until = (what, ask, argument) =>
    page.waitForFunction(ask, argument, { polling: 50 }).catch(async () => {
      const at = await page.evaluate(() => ({ ...seen, at: seen.video.currentTime, ready: seen.video.readyState, video: 0 }));
      throw new Error(`${name}: ${what} never came: ${JSON.stringify(at)}`);
    });
  await page.evaluate(watch, { name, url });
  await until("the start", (begin) => seen.video.currentTime > begin, BEGIN_S);
  console.log("playing");
  // Stands still in mid-play: there is no picture for what comes next.
  await until("the end of the buffer", () => seen.video.readyState <= 2 && !seen.video.seeking && !seen.video.ended);
  const stood = await page.evaluate(() => seen.video.currentTime);
  console.log("dry");
  await until("the way on", (stood) => seen.video.currentTime > stood + 0.5, stood);
  console.log("healed");
  await until("the end", () => seen.video.ended);
  const { errors, lost, duration_s } = await page.evaluate(() => ({ ...seen, duration_s: seen.video.duration, video: 0 }));
  console.log(JSON.stringify({ errors: [...complaints, ...errors], lost, stood, duration_s }));
} catch (error) {
  console.error(error.message);
  failed = true;
} finally {
  await close();
}
process.exit(failed ? 1 : 0);

/** Runs in the page. */
async function watch({ name, url }) {
  const video = document.querySelector("video");
  /** `lost`: how often the network was lost for good, and asked for again. */
  const seen = { errors: [], lost: 0, video };
  window.seen = seen;
  if (name === "hls.js") {
    const hls = new Hls({ maxBufferLength: 4, maxMaxBufferLength: 4 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (!data.fatal) return;
      if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) return seen.errors.push(`${data.type}: ${data.details}`);
      // As the console's player does: hls.js gives up after half a minute, unless it is told to go on.
      seen.lost += 1;
      setTimeout(() => hls.startLoad(), 1000);
    });
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", ({ detail }) => {
      if (detail.category !== shaka.util.Error.Category.NETWORK) seen.errors.push(`${detail.code} ${detail.message}`);
    });
    const failureCallback = () => {
      seen.lost += 1;
      player.retryStreaming(1);
    };
    player.configure({ streaming: { bufferingGoal: 4, failureCallback } });
    await player.attach(video);
    await player.load(url);
  }
  await video.play();
}
