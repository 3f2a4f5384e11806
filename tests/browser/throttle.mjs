// Plays a film in headless Chromium over a network of 8, then 1.5, then 8 Mbit/s, with a buffer of eight seconds.
//
//   node throttle.mjs HLS_URL DASH_URL CHROMIUM
//
// Prints one line of JSON: for hls.js over HLS and Shaka over DASH their errors, how long the start took, how often the
// picture stood still, and how long after the network was quick again the better rung was chosen.
import { stage } from "./stage.mjs";

const [hls_url, dash_url, executablePath] = process.argv.slice(2);
/** For each thing that is waited for. */
const PATIENCE_MS = 40_000;
const QUICK_BPS = 8_000_000;
const SLOW_BPS = 1_500_000;
/** So much is played from the lower rung before the network is quick again. */
const SLOW_PLAYED_S = 6;
const PLAYERS = [
  { name: "hls.js", url: hls_url },
  { name: "shaka-dash", url: dash_url },
];

const { context, address, close } = await stage(executablePath);

let failed = false;
try {
  const told = {};
  for (const player of PLAYERS) {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
    await page.goto(address);
    const network = await context.newCDPSession(page);
    await network.send("Network.enable");
    const speed = (bps) =>
      network.send("Network.emulateNetworkConditions", {
        offline: false,
        latency: 20,
        downloadThroughput: bps / 8,
        uploadThroughput: bps / 8,
      });
    const until = (what, ask, argument) =>
      page.waitForFunction(ask, argument, { polling: 50 }).catch(async () => {
        throw new Error(`${player.name}: ${what} never came: ${JSON.stringify(await page.evaluate(() => seen))}`);
      });
    await speed(QUICK_BPS);
    await page.evaluate(watch, player);
    await until("the start", () => seen.start_ms > 0);
    await until("the upper rung", () => seen.height === seen.top);
    await until("a full buffer", () => seen.ahead() > 5);
    await speed(SLOW_BPS);
    await until("the lower rung", () => seen.height < seen.top);
    const from = await page.evaluate(() => seen.video.currentTime);
    await until("some time of it", ([from, length]) => seen.video.currentTime > from + length, [from, SLOW_PLAYED_S]);
    await speed(QUICK_BPS);
    const begun = Date.now();
    await until("the upper rung again", () => seen.height === seen.top);
    const up_ms = Date.now() - begun;
    const { errors, start_ms, stalls } = await page.evaluate(() => seen);
    told[player.name] = { errors: [...complaints, ...errors], start_ms, stalls, up_ms };
    await page.close();
  }
  console.log(JSON.stringify(told));
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
  const ahead = () => {
    for (let at = 0; at < video.buffered.length; at += 1) {
      if (video.buffered.start(at) <= video.currentTime + 0.1 && video.buffered.end(at) > video.currentTime) {
        return video.buffered.end(at) - video.currentTime;
      }
    }
    return 0;
  };
  const seen = { errors: [], start_ms: 0, stalls: 0, height: 0, top: 0, video, ahead };
  window.seen = seen;
  const begun = performance.now();
  video.addEventListener("playing", () => (seen.start_ms ||= performance.now() - begun));
  video.addEventListener("waiting", () => (seen.stalls += seen.start_ms > 0 ? 1 : 0));
  if (name === "hls.js") {
    // Its memory of the network is long by itself, and counts time spent loading: of small segments that is little.
    const hls = new Hls({ maxBufferLength: 8, maxMaxBufferLength: 8, abrEwmaFastVoD: 1, abrEwmaSlowVoD: 2 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      // What the player itself breaks off at a switch is no error.
      if (!data.fatal && (data.details === "aborted" || data.details === "fragLoadEmergencyAborted")) return;
      seen.errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""}`);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, data) => (seen.top = Math.max(...data.levels.map((level) => level.height))));
    hls.on(Hls.Events.LEVEL_SWITCHING, (_, data) => (seen.height = data.height));
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", (event) => seen.errors.push(`${event.detail.severity}: ${event.detail.code} ${event.detail.message}`));
    const look = () => {
      const tracks = player.getVariantTracks();
      seen.top = Math.max(...tracks.map((track) => track.height));
      seen.height = tracks.find((track) => track.active)?.height ?? 0;
    };
    for (const event of ["adaptation", "variantchanged", "trackschanged"]) player.addEventListener(event, look);
    // It takes the browser's word for the network before it has measured; that word knows nothing of a throttle.
    player.configure({ streaming: { bufferingGoal: 8, updateIntervalSeconds: 0.1 }, abr: { useNetworkInformation: false } });
    await player.attach(video);
    await player.load(url);
    look();
  }
  video.play();
}
