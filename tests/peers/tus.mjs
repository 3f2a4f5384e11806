// What tus-js-client does in Node, one story a call.
//
//   node tus.mjs STORY ENDPOINT AUTHORIZATION FILE KEY STORAGE
//
// Prints one line of JSON: where each PATCH began, and how the story went.
import { createReadStream, statSync } from "node:fs";
import { PassThrough } from "node:stream";
import { FileUrlStorage, Upload } from "tus-js-client";

const [story, endpoint, authorization, file, key, storage] = process.argv.slice(2);
const CHUNK_BYTES = 1 << 20;
const size = statSync(file).size;
const told = { patches: [], creations: 0, retries: 0, previous: 0 };

const common = {
  endpoint,
  headers: { authorization },
  metadata: { bucket: "films", filename: key, filetype: "application/octet-stream" },
  chunkSize: CHUNK_BYTES,
  retryDelays: [0, 50, 100, 200, 400, 800, 1600, 3200],
  onBeforeRequest(request) {
    if (request.getMethod() === "PATCH") told.patches.push(Number(request.getHeader("Upload-Offset")));
    if (request.getMethod() === "POST") told.creations += 1;
  },
  onShouldRetry() {
    told.retries += 1;
    return true;
  },
};

function run(source, options, begin) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(source, { ...common, ...options(() => upload), onError: reject, onSuccess: () => resolve(upload) });
    begin(upload);
  });
}

const plain = (upload) => upload.start();

const stories = {
  // Breaks off in the middle by itself, and goes on with the same object.
  abort: () => {
    let aborted = false;
    const options = (upload) => ({
      onChunkComplete(_, accepted) {
        if (aborted || accepted < size / 2) return;
        aborted = true;
        upload()
          .abort()
          .then(() => {
            told.aborted_at = accepted;
            upload().start();
          });
      },
    });
    return run(createReadStream(file), options, plain);
  },
  // Four partial uploads and a final one.
  parallel: () => run(createReadStream(file), () => ({ parallelUploads: 4 }), plain),
  // A stream without a length: it is told with the last piece.
  deferred: () => run(createReadStream(file).pipe(new PassThrough()), () => ({ uploadLengthDeferred: true }), plain),
  // Whatever the network does.
  retry: () => run(createReadStream(file), () => ({}), plain),
  // The first process dies in the middle.
  leave: () => {
    const options = () => ({
      urlStorage: new FileUrlStorage(storage),
      onChunkComplete(_, accepted) {
        if (accepted < size / 2) return;
        console.log(JSON.stringify(told));
        process.kill(process.pid, "SIGKILL");
      },
    });
    return run(createReadStream(file), options, plain);
  },
  // The second finds what the first remembered.
  reload: () => {
    const options = () => ({ urlStorage: new FileUrlStorage(storage), removeFingerprintOnSuccess: true });
    return run(createReadStream(file), options, async (upload) => {
      const previous = await upload.findPreviousUploads();
      told.previous = previous.length;
      if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0]);
      upload.start();
    });
  },
  // Given up for good.
  terminate: async () => {
    let ended;
    const options = (upload) => ({
      onChunkComplete(_, accepted) {
        if (accepted < size / 2 || ended) return;
        ended = upload().abort(true);
        ended.then(() => {
          console.log(JSON.stringify(told));
          process.exit(0);
        });
      },
    });
    await run(createReadStream(file), options, plain);
    throw new Error("it was to be given up, and ended well");
  },
};

try {
  await stories[story]();
  console.log(JSON.stringify(told));
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
