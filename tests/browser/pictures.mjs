// A person at the console in headless Chromium chooses subtitles that are pictures, texts, and none.
//
//   node pictures.mjs ORIGIN BUCKET/KEY CHROMIUM        (key pair in NEBULA_ACCESS_KEY and NEBULA_SECRET_KEY)
//
// The film has texts in English, and pictures in German: for a second each, at 0, 12.5 and 27 seconds. Prints one line of
// JSON: what was offered and drawn, and every error that the page had.
import { basename } from "node:path";
import { person } from "./person.mjs";

const [origin, executablePath, film] = process.argv.slice(2);
const { NEBULA_ACCESS_KEY: id, NEBULA_SECRET_KEY: secret } = process.env;
/** In the midst of each picture, and where none is. */
const PLACES = [
  { at: 13, shown: true },
  { at: 10, shown: false },
  { at: 0.5, shown: true },
  { at: 2.5, shown: false },
  { at: 27.5, shown: true },
  { at: 28.5, shown: false },
];
const SHOWN_S = PLACES[0].at;
/** From this segment on the link has ended, and so much of the film comes by it at most. */
const ENDED = 5;
const ENDED_S = 20;

// Who we are is asked first, a storyboard may not be there yet, and a link ends.
await person(executablePath, { width: 1100, height: 900 }, /401|403|503/, async (page) => {
  const chunks = [];
  let links = 0;
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname.startsWith("/-/assets/")) chunks.push(basename(pathname).split("-")[0]);
    if (pathname === "/-/api/v1/links" && request.method() === "POST") links += 1;
  });
  // The first link ends when the pictures were chosen, and before all of the film is there.
  let end;
  const ended = new Promise((done) => (end = done));
  await page.route(/\/v0-\d+\./, async (route) => {
    const [, number] = /\/v0-(\d+)\./.exec(route.request().url());
    if (links > 1 || Number(number) < ENDED) return route.continue();
    await ended;
    await route.fulfill({ status: 403 });
  });

  await page.addInitScript(() => {
    /** Left, top, width and height of what is drawn over the film; `null` for nothing. */
    window.drawn = () => {
      const canvas = document.querySelector(".screen canvas");
      if (!canvas?.width) return null;
      const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = [];
      for (let at = 3; at < data.length; at += 4) if (data[at] > 0) seen.push((at - 3) / 4);
      if (seen.length === 0) return null;
      const [xs, ys] = [seen.map((at) => at % width), seen.map((at) => Math.floor(at / width))];
      const [left, top] = [Math.min(...xs), Math.min(...ys)];
      return [left, top, Math.max(...xs) - left + 1, Math.max(...ys) - top + 1];
    };
    window.words = () => {
      const shown = [...document.querySelector("video").textTracks].filter((track) => track.mode === "showing");
      return shown.flatMap((track) => [...(track.activeCues ?? [])]).map((cue) => cue.text)[0] ?? null;
    };
  });
  await page.goto(`${origin}/-/#/film/${film}`);
  await page.getByLabel("Access key").fill(id);
  await page.getByLabel("Secret").fill(secret);
  await page.keyboard.press("Enter");
  const list = page.getByLabel("Subtitles", { exact: true });
  const until = (ask, argument) => page.waitForFunction(ask, argument, { polling: 20 });
  const drawn = () => page.evaluate(() => window.drawn());
  /** The film stands still there. */
  const go = async (at) => {
    await page.evaluate((at) => {
      const video = document.querySelector("video");
      video.pause();
      video.currentTime = at;
    }, at);
    await until((at) => {
      const { currentTime, seeking, readyState } = document.querySelector("video");
      return !seeking && readyState >= 2 && Math.abs(currentTime - at) < 0.1;
    }, at);
  };
  /** What is drawn where something or nothing has to be. */
  const seen = async ({ at, shown }) => {
    await go(at);
    await until((shown) => (window.drawn() !== null) === shown, shown);
    return drawn();
  };
  const begun = () => until(() => document.querySelector("video")?.currentTime > 0.5);
  const chosen = () => list.evaluate((list) => list.selectedOptions[0]?.text);

  await begun();
  await until(() => document.querySelector("select[aria-label=Subtitles]")?.options.length === 3);
  const offered = await list.locator("option").allInnerTexts();
  await go(SHOWN_S);
  const before = await drawn();
  const early = chunks.filter((chunk) => chunk === "pictures");
  await list.selectOption({ label: "Deutsch" });
  await until(() => window.drawn());

  // The rest comes by another link, as it would not by the first.
  end();
  await until((at) => {
    const { buffered } = document.querySelector("video");
    return buffered.length > 0 && buffered.end(buffered.length - 1) > at;
  }, ENDED_S);
  const linked = { chosen: await chosen(), seen: [await seen(PLACES[0]), await seen(PLACES[1])] };
  const sought = [];
  for (const place of PLACES) sought.push(await seen(place));

  // In the midst of the first picture, which is there as soon as it is chosen.
  await seen(PLACES[2]);
  const switched = [];
  const wanted = [["Off", null, false], ["Deutsch", null, true], ["English", "Hello", false], ["Deutsch", null, true]];
  for (const [label, words, shown] of wanted) {
    await list.selectOption({ label });
    await until(([words, shown]) => window.words() === words && (window.drawn() !== null) === shown, [words, shown]);
    switched.push([await drawn(), await page.evaluate(() => window.words())]);
  }

  const lies = () => {
    const [video, canvas] = ["video", ".screen canvas"].map((one) => document.querySelector(one));
    const [below, above] = [video, canvas].map((one) => one.getBoundingClientRect());
    // On the whole screen it moves up, out of the way of the controls.
    const covers = ["x", "width", "height"].every((side) => Math.abs(below[side] - above[side]) < 1);
    const pointed = document.elementFromPoint(below.x + below.width / 2, below.y + below.height / 2).tagName;
    return { covers, pointed };
  };
  const window_ = await page.evaluate(lies);
  await page.getByRole("button", { name: "Full screen" }).click();
  await until(() => document.fullscreenElement?.querySelector("canvas"));
  const screen = await page.evaluate(lies);
  await page.getByRole("button", { name: "Leave full screen" }).click();
  await until(() => !document.fullscreenElement);

  await page.reload();
  await begun();
  await list.waitFor();
  await until(() => document.querySelector("select[aria-label=Subtitles]").selectedOptions[0]?.text === "Deutsch");
  const kept = { seen: [await seen(PLACES[0]), await seen(PLACES[1])], chosen: await chosen() };

  await page.getByRole("link", { name: "library" }).first().click();
  await page.locator("video").waitFor({ state: "detached" });
  const left = await page.locator("canvas").count();
  return { offered, early, before, linked, sought, switched, window: window_, screen, kept, left };
});
