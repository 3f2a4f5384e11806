// Where we are, in the address behind the `#`: each place can be bookmarked and gone back from.

import { signal } from "@preact/signals";
import { encodeKey } from "./api";

export const PLACES = ["library", "buckets", "uploads", "jobs", "node"] as const;
export type Place = (typeof PLACES)[number];

export type Route =
  | { at: "library" | "uploads" | "jobs" | "node" | "buckets" }
  | { at: "film"; bucket: string; key: string }
  | { at: "series"; name: string }
  | { at: "bucket"; bucket: string; prefix: string };

export const to = {
  place: (place: Place) => `#/${place}`,
  film: (bucket: string, key: string) => `#/film/${bucket}/${encodeKey(key)}`,
  series: (name: string) => `#/series/${encodeURIComponent(name)}`,
  bucket: (bucket: string, prefix = "") => `#/buckets/${bucket}/${encodeKey(prefix)}`,
};

/** The folder that a key lies in: all up to its last slash. */
export const folder = (key: string): string => key.slice(0, key.lastIndexOf("/") + 1);

function parse(hash: string): Route {
  const [at = "", bucket = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const decoded = decode(rest.join("/"));
  if (at === "film" && bucket && decoded) return { at: "film", bucket, key: decoded };
  if (at === "series" && bucket) return { at: "series", name: decode(bucket) };
  if (at === "buckets" && bucket) return { at: "bucket", bucket, prefix: decoded };
  const place = PLACES.find((place) => place === at);
  return { at: place ?? "library" };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal<Route>(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
  scrollTo(0, 0);
});

/** Which entry of the navigation a route belongs to. */
export function placeOf(route: Route): Place {
  if (route.at === "film" || route.at === "series") return "library";
  if (route.at === "bucket") return "buckets";
  return route.at;
}
