// Plays a film in headless Chromium with hls.js, with Shaka over HLS and with Shaka over DASH, and seeks at random.
//
//   node seek.mjs HLS_URL DASH_URL CHROMIUM SEEKS
//
// Prints one line of JSON: for each player its errors, how long it took to start, and how long each seek took until
// the picture of its place was there.
import { stage } from "./stage.mjs";

const [hls_url, dash_url, executablePath, count] = process.argv.slice(2);
/** For each thing that is waited for. */
const PATIENCE_MS = 30_000;
const PLAYERS = [
  { name: "hls.js", url: hls_url },
  { name: "shaka-hls", url: hls_url },
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
    const result = await page.evaluate(watch, { ...player, count: Number(count), patience_ms: PATIENCE_MS });
    told[player.name] = { ...result, errors: [...complaints, ...result.errors] };
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
async function watch({ name, url, count, patience_ms }) {
  const errors = [];
  const video = document.querySelector("video");
  const happens = (what, event) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name}: ${what} never came: ${errors.join("; ")}`)), patience_ms);
      video.addEventListener(event, () => (clearTimeout(timer), resolve()), { once: true });
    });
  const begun = performance.now();
  const started = happens("the start", "playing");
  if (name === "hls.js") {
    const hls = new Hls({ maxBufferLength: 8, backBufferLength: 30 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      // What the player itself breaks off at a seek is no error.
      if (!data.fatal && data.details === "aborted") return;
      errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""}`);
    });
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", (event) => errors.push(`${event.detail.severity}: ${event.detail.code} ${event.detail.message}`));
    // By itself it fetches what lies two seconds before a seek too, as a playlist may be wrong: ours is not. And where a
    // seek comes while a picture is being appended, sound waits for its next look, which is a second away by itself.
    const exact = { inaccurateManifestTolerance: 0, updateIntervalSeconds: 0.1 };
    player.configure({ streaming: { bufferingGoal: 8, ...exact } });
    await player.attach(video);
    await player.load(url);
  }
  video.play();
  await started;
  const start_ms = performance.now() - begun;
  // The same places in every run: a generator of 31 bits.
  let state = 20_240_611;
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  // Where a seek lands is told by a picture that stands: one that plays has moved on by the time a busy page looks.
  video.pause();
  const seeks_ms = [];
  let off_s = 0;
  for (let seek = 0; seek < count; seek += 1) {
    const to = random() * (video.duration - 1);
    const from = performance.now();
    const there = happens(`seek ${seek} to ${to}`, "seeked");
    video.currentTime = to;
    await there;
    seeks_ms.push(performance.now() - from);
    off_s = Math.max(off_s, Math.abs(video.currentTime - to));
  }
  // It goes on playing where it is.
  void video.play();
  const at = video.currentTime;
  const end = performance.now() + patience_ms;
  while (video.currentTime < Math.min(at + 0.5, video.duration - 0.1)) {
    if (performance.now() > end) throw new Error(`${name} stands still at ${video.currentTime}: ${errors.join("; ")}`);
    await new Promise((done) => setTimeout(done, 20));
  }
  return { errors, start_ms, seeks_ms, off_s, duration_s: video.duration };
}
