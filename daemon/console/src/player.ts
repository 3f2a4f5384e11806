// Plays one film by a signed link, through outages and past the link's end. A chunk of its own: hls.js is large.

import Hls, { ErrorDetails, ErrorTypes, Events } from "hls.js";
import { encodeKey, failure, type Failure, headers, link, unlink } from "./api";
import type { Subtitles } from "./wire";

/** How long a link works; a longer sitting gets a new one. */
const LINK_S = 6 * 3600;
/** Waits between two tries while the node is away. */
const WAIT_MS = [500, 1000, 2000, 4000];
/** Decoder troubles in a row that are worth another try. */
const RECOVERIES_MAX = 2;
/** How long a file that is being made is asked for again. */
const PATIENCE_MS = 10 * 60_000;
/** Until it is asked for again where the node does not say. */
const AGAIN_S = 2;

/** A segment may have to be made first; but a node that is away is told of soon, and waited for by the page. */
const SEGMENTS = {
  default: {
    maxTimeToFirstByteMs: 20_000,
    maxLoadTimeMs: 120_000,
    timeoutRetry: { maxNumRetry: 2, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 2, retryDelayMs: 500, maxRetryDelayMs: 1000 },
  },
};

/** What a viewer chose last, by language, for the films to come. */
const KEPT = "nebula.languages";

/** One of several things that a viewer can choose. */
export interface Choice {
  index: number;
  name: string;
}

interface Languages {
  sound?: string;
  /** `null` for none. */
  text?: string | null;
}

export interface Tell {
  /** Something to read while the film does not play; `null` when it does. */
  notice: (text: string | null) => void;
  failed: (failure: Failure) => void;
  /** What can be chosen, best first. */
  rungs: (rungs: Choice[]) => void;
  /** Which of them is on the screen. */
  shown: (index: number) => void;
  sounds: (sounds: Choice[]) => void;
  /** Which of them is heard. */
  heard: (index: number) => void;
  texts: (texts: Choice[]) => void;
  /** Which of them is over the picture; -1 for none. */
  read: (index: number) => void;
}

export interface Player {
  /** A rung by its index; -1 leaves it to the player. */
  choose: (index: number) => void;
  /** A sound by its index. */
  hear: (index: number) => void;
  /** Texts or pictures by their index; -1 takes them away. */
  read: (index: number) => void;
  /** A file beside the film's playlist; one that is being made comes when it is. */
  beside: (name: string) => Promise<Response>;
  close: () => void;
}

function sign(request: XMLHttpRequest): void {
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
}

const languages = (): Languages => JSON.parse(localStorage.getItem(KEPT) ?? "{}") as Languages;

function keep(chosen: Languages): void {
  localStorage.setItem(KEPT, JSON.stringify({ ...languages(), ...chosen }));
}

const choices = (list: { name: string }[]): Choice[] => list.map(({ name }, index) => ({ index, name }));

export function play(
  video: HTMLVideoElement,
  bucket: string,
  key: string,
  from: number,
  subtitles: Subtitles[],
  tell: Tell,
): Player {
  const path = `${bucket}/${encodeKey(key)}`;
  let hls: Hls | undefined;
  let current: string | undefined;
  let base: { url: URL; headers: Record<string, string> } | undefined;
  /** By name, as chosen in this sitting: a new link must not forget it. */
  const chosen: { sound?: string; text?: string } = {};
  /** Those of a DVD stay in the file: nothing that is kept up draws them. */
  const pictures = subtitles.filter(({ format }) => format === "pgs");
  /** Which of them are over the film, or on their way there. A new link leaves them where they are. */
  let drawn: Subtitles | undefined;
  let layer: AbortController | undefined;
  let closed = false;
  let tries = 0;
  let recoveries = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const later = (act: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(act, WAIT_MS[Math.min(tries, WAIT_MS.length - 1)]);
    tries += 1;
  };

  const beside = async (name: string, signal?: AbortSignal): Promise<Response> => {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      if (!base) throw new Error("the film has no playlist");
      const answer = await fetch(new URL(name, base.url), { headers: base.headers, signal }).catch(() => undefined);
      signal?.throwIfAborted();
      if (answer && answer.status !== 503) return answer;
      if (closed || Date.now() > end) throw new Error(`${name} did not come`);
      const pause_s = Number(answer?.headers.get("Retry-After")) || AGAIN_S;
      await new Promise((done) => setTimeout(done, pause_s * 1000));
    }
  };

  const draw = (track?: Subtitles) => {
    if (track === drawn) return;
    layer?.abort();
    drawn = track;
    if (!track) return;
    const { signal } = (layer = new AbortController());
    const begin = async () => {
      const over = await import("./pictures");
      const file = await beside(`${track.stream}.sup`, signal);
      await over.draw(video, file, (track.origin_ms ?? 0) / 1000, signal);
    };
    begin().catch((error: unknown) => {
      if (signal.aborted) return;
      draw();
      offer();
      tell.failed(failure(error));
    });
  };

  /** Tells what can be read and what is: behind the texts of the playlist come the pictures. */
  const offer = () => {
    if (!hls) return;
    const { subtitleTracks: texts, subtitleTrack, subtitleDisplay } = hls;
    tell.texts(choices([...texts, ...pictures]));
    tell.read(drawn ? texts.length + pictures.indexOf(drawn) : subtitleDisplay ? subtitleTrack : -1);
  };

  /** A fresh link, and the film from `at` seconds on. */
  const open = async (at: number) => {
    try {
      const made = await link(bucket, key, LINK_S);
      if (closed) return void unlink(made.id);
      if (current) void unlink(current);
      current = made.id;
      load(made.urls?.hls, made.urls?.file, at);
    } catch (error) {
      const failed = failure(error);
      // Who may read and not share has no link to make: hls.js sends the credential in a header, as we do.
      if (failed.problem.status === 403) return load(`/-/hls/${path}/master.m3u8`, `/-/file/${path}`, at, true);
      if (!failed.offline && failed.problem.status !== 503) return tell.failed(failed);
      tell.notice("The node does not answer. Playing goes on when it is back.");
      later(() => void open(at));
    }
  };

  const load = (playlist: string | undefined, file: string | undefined, at: number, named = false) => {
    hls?.destroy();
    hls = undefined;
    if (playlist) base = { url: new URL(playlist, location.href), headers: named ? headers() : {} };
    if (playlist && Hls.isSupported()) {
      const { sound, text } = languages();
      hls = new Hls({
        startPosition: at > 0 ? at : -1,
        backBufferLength: 60,
        fragLoadPolicy: SEGMENTS,
        xhrSetup: named ? sign : undefined,
        audioPreference: chosen.sound ? { name: chosen.sound } : sound ? { lang: sound } : undefined,
        subtitlePreference: chosen.text ? { name: chosen.text } : text ? { lang: text } : undefined,
      });
      hls.subtitleDisplay = text !== null;
      watch(hls);
      hls.loadSource(playlist);
      hls.attachMedia(video);
      return;
    }
    // Safari on a phone has its own HLS; and a file that is not packaged may still be one that the browser knows.
    const own = playlist && video.canPlayType("application/vnd.apple.mpegurl") ? playlist : file;
    if (!own) return;
    // Sound and subtitles are then chosen in menus that only its own controls have.
    video.controls = own === playlist;
    video.src = own;
    video.currentTime = at;
  };

  const watch = (player: Hls) => {
    player.on(Events.MANIFEST_PARSED, (_, { subtitleTracks }) => {
      const { text } = languages();
      // What this viewer reads may be there as pictures alone.
      if (text && !drawn && !subtitleTracks.some(({ lang }) => lang === text)) {
        draw(pictures.find(({ language }) => language === text));
      }
      if (drawn) player.subtitleDisplay = false;
      // Of a film without texts there is no more word.
      offer();
      const rungs = player.levels.map((level, index) => ({ index, name: `${level.height}p`, height: level.height }));
      tell.rungs(rungs.sort((a, b) => b.height - a.height));
    });
    player.on(Events.LEVEL_SWITCHED, (_, { level }) => tell.shown(level));
    player.on(Events.AUDIO_TRACKS_UPDATED, () => tell.sounds(choices(player.audioTracks)));
    player.on(Events.AUDIO_TRACK_SWITCHING, () => tell.heard(player.audioTrack));
    player.on(Events.SUBTITLE_TRACKS_UPDATED, offer);
    player.on(Events.SUBTITLE_TRACK_SWITCH, offer);
    player.on(Events.FRAG_BUFFERED, () => {
      tries = 0;
      tell.notice(null);
    });
    player.on(Events.ERROR, (_, trouble) => {
      if (!trouble.fatal || closed) return;
      const code = trouble.response?.code ?? 0;
      if (trouble.type === ErrorTypes.MEDIA_ERROR && recoveries < RECOVERIES_MAX) {
        recoveries += 1;
        player.recoverMediaError();
      } else if (trouble.type === ErrorTypes.NETWORK_ERROR && (code === 403 || code === 404) && tries < WAIT_MS.length) {
        // The link has ended, or was revoked: a new one, from here.
        tries += 1;
        void open(video.currentTime);
      } else if (trouble.type === ErrorTypes.NETWORK_ERROR && code !== 403 && code !== 404) {
        tell.notice("The node does not answer. Playing goes on when it is back.");
        const first = trouble.details === ErrorDetails.MANIFEST_LOAD_ERROR || player.levels.length === 0;
        // hls.js stays where it stopped until it is told to load again.
        later(() => (first ? void open(video.currentTime) : player.startLoad()));
      } else {
        tell.failed(failure(new Error(`This browser cannot play it: ${trouble.error?.message ?? trouble.details}.`)));
      }
    });
  };

  const native = () => {
    if (hls || closed || !video.error) return;
    if (video.error.code === MediaError.MEDIA_ERR_NETWORK) {
      const at = video.currentTime;
      tell.notice("The node does not answer. Playing goes on when it is back.");
      later(() => void open(at));
    } else {
      tell.failed(failure(new Error("This browser cannot play the file as it is.")));
    }
  };
  video.addEventListener("error", native);

  void open(from);
  return {
    choose: (index) => {
      if (hls) hls.nextLevel = index;
    },
    hear: (index) => {
      const sound = hls?.audioTracks[index];
      if (!hls || !sound) return;
      hls.audioTrack = index;
      chosen.sound = sound.name;
      keep({ sound: sound.lang });
    },
    read: (index) => {
      if (!hls) return;
      const text = hls.subtitleTracks[index];
      const picture = pictures[index - hls.subtitleTracks.length];
      draw(picture);
      hls.subtitleDisplay = text !== undefined;
      hls.subtitleTrack = text ? index : -1;
      chosen.text = text?.name;
      keep({ text: text || picture ? (text?.lang ?? picture?.language) : null });
    },
    beside,
    close: () => {
      closed = true;
      clearTimeout(timer);
      layer?.abort();
      video.removeEventListener("error", native);
      hls?.destroy();
      video.removeAttribute("src");
      video.load();
      if (current) void unlink(current);
    },
  };
}
