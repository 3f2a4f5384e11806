// Uppy in headless Chromium, from a page of another origin: pauses, goes on, and goes on after the page was left.
//
//   node uppy.mjs CHROMIUM FILE
//
// Serves its own page on a free port, and prints the page's origin, which the node must trust. Then it reads two lines: the
// address of the uploads and the value of Authorization. At last it prints one line of JSON: where each PATCH began, and
// every error that the page had.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { launch } from "./chromium.mjs";

const [executablePath, file] = process.argv.slice(2);
/** For each thing that is waited for. */
const PATIENCE_MS = 30_000;

const bundled = await build({
  stdin: {
    contents: 'import Uppy from "@uppy/core"; import Tus from "@uppy/tus"; Object.assign(window, { Uppy, Tus });',
    resolveDir: import.meta.dirname,
  },
  bundle: true,
  write: false,
  format: "iife",
  logLevel: "error",
});
const library = bundled.outputFiles[0].text;
const server = createServer((request, response) => {
  const script = request.url === "/uppy.js";
  response.setHeader("content-type", script ? "text/javascript" : "text/html");
  response.end(script ? library : '<!doctype html><meta charset="utf-8"><input type="file"><script src="/uppy.js"></script>');
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const origin = `http://127.0.0.1:${server.address().port}`;
console.log(origin);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const endpoint = (await lines.next()).value;
const authorization = (await lines.next()).value;
const { context, close } = await launch(executablePath);
let failed = false;
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  let patches = [];
  page.on("request", (request) => {
    if (request.method() === "PATCH") patches.push(Number(request.headers()["upload-offset"]));
  });

  // Begins to send the chosen file; stops by itself when half of it is there, if that is wanted.
  const begin = async (name, stopsAtHalf) => {
    await page.setInputFiles("input", file);
    await page.evaluate(
      ([endpoint, authorization, name, stopsAtHalf]) => {
        const uppy = new Uppy({ autoProceed: true });
        uppy.use(Tus, { endpoint, headers: { authorization }, chunkSize: 1 << 20, retryDelays: [0, 100, 400, 1600] });
        const seen = { half: false, done: null };
        uppy.on("upload-progress", (_, progress) => {
          if (!stopsAtHalf || seen.half || progress.bytesUploaded < progress.bytesTotal / 2) return;
          seen.half = true;
          uppy.pauseAll();
        });
        uppy.on("complete", (result) => (seen.done = { well: result.successful.length, badly: result.failed.length }));
        uppy.on("error", (error) => (seen.error = String(error)));
        Object.assign(window, { uppy, seen });
        const data = document.querySelector("input").files[0];
        uppy.addFile({ name, type: "application/octet-stream", data, meta: { bucket: "films" } });
      },
      [endpoint, authorization, name, stopsAtHalf],
    );
  };
  const told = async () => {
    await page.waitForFunction(() => seen.done || seen.error);
    const how = await page.evaluate(() => seen);
    const of = { patches, ...how };
    patches = [];
    return of;
  };

  await page.goto(`${origin}/`);
  await begin("paused.bin", true);
  await page.waitForFunction(() => seen.half);
  await page.evaluate(() => uppy.resumeAll());
  const paused = await told();

  await begin("left.bin", true);
  await page.waitForFunction(() => seen.half);
  patches = [];
  await page.reload();
  await begin("left.bin", false);
  const left = await told();
  console.log(JSON.stringify({ paused, left, errors }));
} catch (error) {
  failed = true;
  console.error(error.message);
} finally {
  await close();
  server.close();
}
process.exit(failed ? 1 : 0);
