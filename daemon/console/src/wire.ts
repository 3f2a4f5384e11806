// The types of the JSON API (crate nebula-api), as far as the console reads them.

export interface Page<T> {
  items: T[];
  next?: string;
}

export interface Problem {
  title: string;
  status: number;
  code: string;
  detail?: string;
  hint?: string;
  request_id?: string;
}

export interface Urls {
  file: string;
  hls?: string;
  poster?: string;
}

export interface Bucket {
  name: string;
  created_at_ms: number;
  versioning: "off" | "enabled" | "suspended";
  objects: number;
  size_bytes: number;
}

export interface StoredObject {
  bucket: string;
  key: string;
  size_bytes: number;
  delete_marker?: boolean;
  content_type?: string;
  modified_at_ms: number;
}

export interface ObjectPage extends Page<StoredObject> {
  prefixes: string[];
}

export interface Rendition {
  name: string;
  state: "pending" | "running" | "ready" | "failed" | "evicted";
  progress: number;
}

export interface Track {
  index: number;
  kind: "video" | "audio" | "subtitle";
  codec: string;
  title?: string;
  language?: string;
  width?: number;
  height?: number;
  frame_rate?: number;
  range?: "sdr" | "hlg" | "pq";
  channels?: number;
}

/** A track of sound as players offer it; AAC is made of one that is not `original`. */
export interface Sound {
  track: number;
  name: string;
  original: boolean;
  state: Rendition["state"];
}

export interface Subtitles {
  /** Their name beside the playlist, without an ending. */
  stream: string;
  name: string;
  language?: string;
  format: "webvtt" | "pgs" | "vobsub";
  /** Where the film begins on the clock of pictures. */
  origin_ms?: number;
}

export interface Chapter {
  title: string;
  start_ms: number;
  end_ms: number;
}

export interface Asset {
  bucket: string;
  key: string;
  state: "indexing" | "ready" | "failed";
  reason?: string;
  title: string;
  year?: number;
  episode?: { series: string; season: number; number: number };
  position_ms?: number;
  size_bytes: number;
  duration_ms?: number;
  container?: string;
  tracks: Track[];
  renditions: Rendition[];
  sounds?: Sound[];
  subtitles?: Subtitles[];
  chapters?: Chapter[];
  storyboard?: { url: string };
  urls: Urls;
  playback?: { mode: string; reason: string };
  created_at_ms: number;
}

export interface LibraryItem {
  title: string;
  asset: Asset;
  episodes?: number;
  seasons?: number;
}

export interface Position {
  bucket: string;
  key: string;
  title: string;
  position_ms: number;
  duration_ms: number;
  watched: boolean;
  urls: Urls;
}

export interface Stream {
  actor: string;
  address?: string;
  player?: string;
  bucket: string;
  key: string;
  mode: string;
  reason: string;
  rendition: string;
  position_ms?: number;
  duration_ms?: number;
}

/** What a node says of itself to whoever asks. */
export interface Discovery {
  /** The largest body of an upload; any when absent. */
  upload_chunk_bytes?: number;
}

export interface Upload {
  id: string;
  protocol: string;
  bucket: string;
  key: string;
  size_bytes?: number;
  offset_bytes: number;
  created_at_ms: number;
  expires_at_ms?: number;
}

export const JOB_STATES = ["running", "queued", "done", "failed", "dead", "cancelled"] as const;
export type JobState = (typeof JOB_STATES)[number];

export interface Job {
  id: string;
  kind: string;
  state: JobState;
  progress: number;
  stage?: string;
  attempt: number;
  max_attempts: number;
  reason?: string;
  object?: { bucket: string; key: string };
  worker?: string;
  created_at_ms: number;
  updated_at_ms: number;
  started_at_ms?: number;
  finished_at_ms?: number;
}

export interface Link {
  id: string;
  expires_at_ms: number;
  urls?: Urls;
}

export interface Status {
  version: string;
  build_id: string;
  node: string;
  uptime_ms: number;
  listen: string[];
  storage: { total_bytes: number; free_bytes: number; reserve_bytes: number; used_bytes: number; objects: number };
  scrub: { running: boolean; total_bytes: number; done_bytes: number; damaged: number; healed: number; quarantined: number; finished_at_ms?: number };
  database: string;
  queue: string;
  hardware: { choice: string; reason: string; device?: string };
  jobs: Record<JobState, number>;
  me: { actor: string; role: string; rule: string };
}

/** One event of the log; `type` says which members there are. */
export interface NodeEvent {
  seq: number;
  type: string;
  bucket?: string;
  key?: string;
  job?: Job;
}
