// Plays a film with texts in headless Chromium with hls.js, with Shaka over HLS and with Shaka over DASH, and seeks.
//
//   node texts.mjs HLS_URL DASH_URL WANTED CHROMIUM
//
// WANTED is a list of places and of the text that is to be seen there. Prints one line of JSON: for each player its
// errors, and start and end of each text as the browser was given it.
import { stage } from "./stage.mjs";

const [hls_url, dash_url, wanted, executablePath] = process.argv.slice(2);
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
    await page.goto(address);
    told[player.name] = await page.evaluate(watch, { ...player, wanted: JSON.parse(wanted), patience_ms: PATIENCE_MS });
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
async function watch({ name, url, wanted, patience_ms }) {
  const errors = [];
  const video = document.querySelector("video");
  const until = async (what, ask) => {
    const end = performance.now() + patience_ms;
    for (;;) {
      const found = ask();
      if (found) return found;
      if (performance.now() > end) throw new Error(`${name}: ${what} never came: ${errors.join("; ")}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  if (name === "hls.js") {
    const hls = new Hls({ maxBufferLength: 6, backBufferLength: 2 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      // What the player itself breaks off at a seek is no error.
      if (!data.fatal && data.details === "aborted") return;
      errors.push(`${data.fatal ? "fatal " : ""}${data.type}: ${data.details} ${data.error?.message ?? ""}`);
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    await until("the list of texts", () => hls.subtitleTracks.length > 0);
    hls.subtitleDisplay = true;
    hls.subtitleTrack = 0;
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", (event) => errors.push(`${event.detail.severity}: ${event.detail.code} ${event.detail.message}`));
    player.configure({ streaming: { bufferingGoal: 6, bufferBehind: 4 } });
    await player.attach(video);
    await player.load(url);
    const [track] = await until("the list of texts", () => player.getTextTracks().length > 0 && player.getTextTracks());
    player.selectTextTrack(track);
  }
  await until("a picture", () => video.readyState >= 2);
  const seen = [];
  for (const { at, text } of wanted) {
    video.currentTime = at;
    await until(`the seek to ${at}`, () => !video.seeking && video.readyState >= 2);
    const shown = () =>
      [...video.textTracks]
        .filter((track) => track.mode !== "disabled")
        .flatMap((track) => [...(track.activeCues ?? [])])
        // Shaka gives the browser text that is not escaped.
        .find((cue) => [cue.getCueAsHTML().textContent, cue.text.replace(/<\/?[ibu]>/g, "")].includes(text));
    const cue = await until(`"${text}" at ${at}`, shown);
    seen.push({ at, start: cue.startTime, end: cue.endTime });
  }
  return { errors, seen };
}
