// Plays a film of several sound tracks in headless Chromium with hls.js and chooses one after the other.
//
//   node sounds.mjs HLS_URL CHROMIUM
//
// Each track is a tone of its own: 440, 2,000 and 6,000 hertz. Prints one line of JSON: errors, stalls, and for each
// choice after how many milliseconds its tone, and no other, was heard.
import { stage } from "./stage.mjs";

const [url, executablePath] = process.argv.slice(2);
/** For each thing that is waited for. */
const PATIENCE_MS = 30_000;

const { context, address, close } = await stage(executablePath);
let failed = false;
try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(address);
  console.log(JSON.stringify(await page.evaluate(listen, { url, patience_ms: PATIENCE_MS })));
} catch (error) {
  console.error(error.message);
  failed = true;
} finally {
  await close();
}
process.exit(failed ? 1 : 0);

/** Runs in the page. */
async function listen({ url, patience_ms }) {
  const TONES = [440, 2000, 6000];
  const errors = [];
  const video = document.querySelector("video");
  video.muted = false;
  const until = async (what, ask) => {
    const end = performance.now() + patience_ms;
    while (!ask()) {
      if (performance.now() > end) throw new Error(`${what} never came: ${errors.join("; ")} at ${video.currentTime}, tone ${tone()}`);
      await new Promise((done) => setTimeout(done, 5));
    }
  };
  const audio = new AudioContext();
  const ear = new AnalyserNode(audio, { fftSize: 2048, smoothingTimeConstant: 0 });
  audio.createMediaElementSource(video).connect(ear).connect(audio.destination);
  const levels = new Float32Array(ear.frequencyBinCount);
  /** The loudest of the tones, where one is well above the others. */
  const tone = () => {
    ear.getFloatFrequencyData(levels);
    const found = TONES.map((hz) => Math.max(...levels.slice(Math.round((hz * 2048) / audio.sampleRate) - 2).slice(0, 5)));
    const most = Math.max(...found);
    return most > -80 && found.every((level) => level === most || level < most - 20) ? found.indexOf(most) : -1;
  };
  const hls = new Hls({ maxBufferLength: 12, backBufferLength: 4 });
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal && data.details === "aborted") return;
    errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""}`);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  await audio.resume();
  void video.play();
  await until("the default track", () => video.currentTime > 1 && tone() === 1);
  let stalls = 0;
  video.addEventListener("waiting", () => (stalls += 1));
  video.addEventListener("seeking", () => errors.push("it started anew"));
  const heard = [];
  for (const track of [0, 2, 1, 0]) {
    // So that there is more than a moment in the buffer that must go.
    const from = video.currentTime;
    await until("the film to go on", () => video.currentTime > from + 1);
    const begun = performance.now();
    hls.audioTrack = track;
    await until(`track ${track}`, () => tone() === track);
    heard.push({ track, ms: Math.round(performance.now() - begun) });
  }
  return { errors, stalls, heard };
}
