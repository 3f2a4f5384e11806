// Sends one file by tus. A chunk of its own: tus-js-client comes when the first file does.

import { DetailedError, Upload } from "tus-js-client";
import { Failure, get, headers, problemIn } from "./api";
import type { Sending, Transfer } from "./transfers";
import type { Discovery } from "./wire";

/** Waits before each new try; progress starts the list again. */
const RETRY_MS = [0, 500, 1000, 2000, 4000, 8000, 15_000, 30_000, 60_000];
/** Over how long a rate is measured. */
const RATE_MS = 4000;

interface Tell {
  progress: (sent: number, rate: number) => void;
  done: () => void;
  failed: (error: unknown) => void;
}

export async function send(one: Transfer, tell: Tell): Promise<Sending> {
  const { file, bucket, key } = one;
  const rate = meter();
  // Behind a proxy that gathers bodies, the node asks for short ones; one that is away is tried again by the upload itself.
  const node = await get<Discovery>("/.well-known/nebula").catch(() => undefined);
  const upload = new Upload(file, {
    endpoint: "/-/tus/",
    chunkSize: node?.upload_chunk_bytes ?? Number.POSITIVE_INFINITY,
    headers: headers(),
    metadata: { bucket, filename: key, filetype: file.type },
    retryDelays: RETRY_MS,
    removeFingerprintOnSuccess: true,
    // The same file to the same place is the same upload, also after a reload.
    fingerprint: () => Promise.resolve(`nebula:${bucket}/${key}:${file.size}:${file.lastModified}`),
    onProgress: (sent) => tell.progress(sent, rate(sent)),
    onSuccess: () => tell.done(),
    onError: (error) => tell.failed(told(error)),
  });
  const [begun] = await upload.findPreviousUploads();
  if (begun) upload.resumeFromPreviousUpload(begun);
  upload.start();
  return { stop: (forget) => upload.abort(forget) };
}

/** The node's own words, where it said any. */
function told(error: Error | DetailedError): Error {
  if (!(error instanceof DetailedError)) return error;
  const response = error.originalResponse;
  if (response) return new Failure(problemIn(response.getBody(), response.getStatus()));
  const title = "The node could not be reached.";
  const hint = "What was sent is kept: resume when it is back.";
  return new Failure({ title, hint, status: 0, code: "unreachable" }, true);
}

function meter(): (sent: number) => number {
  const seen: { at: number; sent: number }[] = [];
  return (sent) => {
    const now = performance.now();
    seen.push({ at: now, sent });
    while (seen.length > 2 && now - seen[0]!.at > RATE_MS) seen.shift();
    const first = seen[0]!;
    return now > first.at ? Math.max(0, ((sent - first.sent) * 1000) / (now - first.at)) : 0;
  };
}
