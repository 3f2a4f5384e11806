// Headless Chromium on a page with a video element, hls.js and Shaka.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { launch } from "./chromium.mjs";

const libraries = {
  "/hls.js": "node_modules/hls.js/dist/hls.min.js",
  "/shaka.js": "node_modules/shaka-player/dist/shaka-player.compiled.js",
};
/** The browser's context, the page's address, and how to leave nothing behind. */
export async function stage(executablePath) {
  const server = createServer(async (request, response) => {
    const file = libraries[request.url];
    if (file) {
      response.setHeader("content-type", "text/javascript");
      response.end(await readFile(new URL(file, import.meta.url)));
    } else if (request.url === "/") {
      response.setHeader("content-type", "text/html");
      response.end(`<!doctype html><meta charset="utf-8"><title>player</title>
  <video muted playsinline width="640"></video><script src="/hls.js"></script><script src="/shaka.js"></script>`);
    } else {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { context, close: leave } = await launch(executablePath);
  const close = async () => {
    await leave();
    server.close();
  };
  return { context, address: `http://127.0.0.1:${server.address().port}/`, close };
}
