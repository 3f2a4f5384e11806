// A person at the console in headless Chromium chooses sound and subtitles of a film, looks for a place in it, and goes there.
//
//   node choices.mjs ORIGIN BUCKET/KEY GREYS CHROMIUM        (key pair in NEBULA_ACCESS_KEY and NEBULA_SECRET_KEY)
//
// The sounds of the film are tones of 440, 2,000 and 6,000 hertz; GREYS is how bright its picture is, for every two
// seconds. Prints one line of JSON: what was offered, heard, read
// and seen, and every error that the page had.
import { person } from "./person.mjs";

const [origin, executablePath, film, greys] = process.argv.slice(2);
const { NEBULA_ACCESS_KEY: id, NEBULA_SECRET_KEY: secret } = process.env;
const TONES = [440, 2000, 6000];
/** Where the film is pointed at, as a part of its length. */
const POINTED = [0.17, 0.5, 0.9];
/** What encoders and scaling lose of a picture's brightness. */
const NEAR = 5;

// Who we are is asked first, and a storyboard is not there when it is asked for the first time.
await person(executablePath, { width: 1100, height: 900 }, /401|503/, async (page) => {
  const credentials = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.pathname.startsWith("/-/link/") && request.headers().authorization) credentials.push(url.pathname);
  });

  const address = `${origin}/-/#/film/${film}`;
  await page.goto(address);
  await page.getByLabel("Access key").fill(id);
  await page.getByLabel("Secret").fill(secret);
  await page.keyboard.press("Enter");
  const sound = page.getByLabel("Sound", { exact: true });
  const texts = page.getByLabel("Subtitles", { exact: true });
  const place = page.getByRole("slider", { name: "Place in the film" });
  const begun = () => page.waitForFunction(() => document.querySelector("video")?.currentTime > 0.5);
  const until = (ask, argument) => page.waitForFunction(ask, argument, { polling: 20 });
  /** Puts the film back, so that its end never comes. */
  const rewind = async () => {
    await place.focus();
    await page.keyboard.press("Home");
    await until(() => document.querySelector("video").currentTime < 2);
  };
  await begun();
  await page.evaluate(listen, TONES);
  const named = (list) => list.locator("option").allInnerTexts();

  const heard = [];
  for (const [at, name] of ["English", "Deutsch", "Director"].entries()) {
    await rewind();
    await sound.selectOption({ label: name });
    await until((at) => window.tone() === at, at);
    heard.push(TONES[at]);
  }
  await sound.selectOption({ label: "Deutsch" });
  await until(() => window.tone() === 1);

  await page.evaluate(() => {
    window.words = () => {
      const shown = [...document.querySelector("video").textTracks].filter((track) => track.mode === "showing");
      return shown.flatMap((track) => [...(track.activeCues ?? [])]).map((cue) => cue.text)[0] ?? null;
    };
  });
  const read = [];
  for (const [label, words] of [["Off", null], ["Deutsch", "Guten Tag"], ["Off", null]]) {
    await rewind();
    await texts.selectOption({ label });
    await until((words) => document.querySelector("video").currentTime > 1.2 && window.words() === words, words);
    read.push(await page.evaluate(() => window.words()));
  }

  // The film stands still, so that what is seen is what was pointed at.
  await page.getByRole("button", { name: "Pause" }).click();
  const preview = page.locator(".preview");
  const pointed = [];
  for (const part of POINTED) {
    const { x, y, width, height } = await place.boundingBox();
    await page.mouse.move(x + width * part, y + height / 2);
    await preview.locator("canvas").waitFor();
    const time = await preview.locator(".time").innerText();
    const [minutes, seconds] = time.split(":").map(Number);
    // The picture comes a moment after the pointer.
    const wanted = JSON.parse(greys)[Math.floor((minutes * 60 + seconds) / 2)];
    await until(
      ([wanted, near]) => {
        const canvas = document.querySelector(".preview canvas:not([hidden])");
        if (!canvas?.width) return false;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0;
        for (let at = 0; at < data.length; at += 4) sum += data[at];
        return Math.abs(sum / (data.length / 4) - wanted) <= near;
      },
      [wanted, NEAR],
    );
    pointed.push([time, await preview.locator(".name").innerText()]);
  }
  await page.mouse.move(5, 5);
  await preview.waitFor({ state: "detached" });
  const marks = await page.locator(".chapter-mark").count();

  const keyed = {};
  const now = () => page.evaluate(() => document.querySelector("video").currentTime);
  for (const key of ["Home", "ArrowRight", "PageUp"]) {
    await place.focus();
    await page.keyboard.press(key);
    keyed[key] = await now();
    // The controls know of it before the next key.
    await until((at) => Math.abs(document.querySelector(".timeline input").value - at) < 0.2, keyed[key]);
  }
  const says = await place.getAttribute("aria-valuetext");
  await page.keyboard.press("Home");
  await page.getByRole("button", { name: "The way home" }).click();
  keyed.chapter = await now();

  // What was chosen last is there in the next sitting: none at first, then some after all.
  const offered = { sounds: await named(sound), texts: await named(texts) };
  const chosen = (list) => list.evaluate((list) => list.selectedOptions[0]?.text);
  const next = async () => {
    await page.reload();
    await begun();
    await texts.waitFor();
  };
  const showing = () => [...document.querySelector("video").textTracks].filter((track) => track.mode === "showing").length;
  await texts.selectOption({ label: "Off" });
  await next();
  const without = { text: await chosen(texts), showing: await page.evaluate(showing) };
  await rewind();
  await texts.selectOption({ label: "English" });
  await until(() => {
    const shown = [...document.querySelector("video").textTracks].filter((track) => track.mode === "showing");
    return shown.some((track) => [...(track.activeCues ?? [])].some((cue) => cue.text === "Hello"));
  });
  await next();
  await until(showing);
  const kept = { without, sound: await chosen(sound), text: await chosen(texts) };
  return { ...offered, heard, read, pointed, marks, keyed, says, kept, credentials };
});

/** Runs in the page: `tone()` is the number of the tone that is heard, where it is well above the others. */
async function listen(tones) {
  const video = document.querySelector("video");
  video.muted = false;
  const audio = new AudioContext();
  const ear = new AnalyserNode(audio, { fftSize: 2048, smoothingTimeConstant: 0 });
  audio.createMediaElementSource(video).connect(ear).connect(audio.destination);
  await audio.resume();
  const levels = new Float32Array(ear.frequencyBinCount);
  window.tone = () => {
    ear.getFloatFrequencyData(levels);
    const found = tones.map((hz) => Math.max(...levels.slice(Math.round((hz * 2048) / audio.sampleRate) - 2).slice(0, 5)));
    const most = Math.max(...found);
    return most > -80 && found.every((level) => level === most || level < most - 20) ? found.indexOf(most) : -1;
  };
}
