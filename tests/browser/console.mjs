// A person at the console in headless Chromium: signs in, makes a bucket, uploads a film by the picker, watches it.
//
//   node console.mjs ORIGIN CHROMIUM FILM        (key pair in NEBULA_ACCESS_KEY and NEBULA_SECRET_KEY)
//
// Prints one line of JSON: what was seen, and every error that the page had.
import { basename } from "node:path";
import { person } from "./person.mjs";

const [origin, executablePath, film] = process.argv.slice(2);
const { NEBULA_ACCESS_KEY: id, NEBULA_SECRET_KEY: secret } = process.env;
const name = basename(film);

// Being asked who we are is how signing in begins.
await person(executablePath, { width: 390, height: 844 }, /401/, async (page) => {
  const foreign = [];
  const credentials = [];
  const chunks = [];
  const patches = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "blob:") foreign.push(url.href);
    if (url.pathname.startsWith("/-/link/") && request.headers().authorization) credentials.push(url.pathname);
    if (request.method() === "PATCH") patches.push(Number(request.headers()["upload-offset"]));
    if (url.pathname.startsWith("/-/assets/")) chunks.push(basename(url.pathname).split("-")[0]);
  });

  await page.goto(`${origin}/-/`);
  await page.getByLabel("Access key").fill(id);
  await page.getByLabel("Secret").fill("not the secret");
  await page.keyboard.press("Enter");
  const refused = await page.getByRole("alert").innerText();
  await page.getByLabel("Secret").fill(secret);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "No films yet" }).waitFor();
  const early = chunks.filter((chunk) => chunk === "player" || chunk === "sender");

  await page.getByRole("link", { name: "buckets" }).first().click();
  await page.getByRole("button", { name: "New bucket" }).click();
  await page.getByLabel("Name").fill("films");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await page.getByLabel("Files to upload").setInputFiles(film);
  await page.getByRole("link", { name, exact: true }).waitFor();

  await page.getByRole("link", { name: "library" }).click();
  const card = page.locator("a.film");
  await card.waitFor();
  await page.locator("a.film .length").waitFor();
  await card.click();
  const video = page.locator("video");
  await page.waitForFunction(() => document.querySelector("video")?.readyState >= 2);
  await video.evaluate((video) => {
    video.muted = true;
    return video.play();
  });
  await page.waitForFunction(() => document.querySelector("video").currentTime > 2);
  const played = await video.evaluate((video) => ({ duration_s: video.duration, height: video.videoHeight }));

  await page.getByRole("link", { name: "jobs" }).click();
  const jobs = page.locator("main .list li");
  await jobs.first().waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Secret").waitFor();
  const left = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
  const kept = left.includes(secret) || left.includes("Basic");
  return { refused, played, patches, early, chunks: [...new Set(chunks)], wide, kept, foreign, credentials };
});
