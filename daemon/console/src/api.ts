// The one way to the node: JSON over fetch, as whoever signed in, problems as errors with words.

import { signal } from "@preact/signals";
import type { Link, Page, Problem, Status } from "./wire";

const API = "/-/api/v1";
const KEPT = "nebula.key";

/** The `Authorization` header; empty for a peer that the node knows by its address. */
let credential = sessionStorage.getItem(KEPT) ?? "";

/** What the node says of itself and of us; `null` while nobody is signed in. */
export const status = signal<Status | null>(null);
/** Whether the node asked who we are; `undefined` until it was asked the first time. */
export const signedIn = signal<boolean | undefined>(undefined);

/** What failed, why, and what to do next. */
export class Failure extends Error {
  constructor(
    readonly problem: Problem,
    readonly offline = false,
  ) {
    super(problem.title);
  }
}

/** Whatever was thrown, as a failure that can be shown. */
export function failure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const title = error instanceof Error ? error.message : String(error);
  return new Failure({ title, status: 0, code: "client" });
}

const away = new Failure(
  {
    title: "The node does not answer.",
    detail: "It may be restarting, or this device may be off its network.",
    hint: "The page tries again by itself.",
    status: 0,
    code: "unreachable",
  },
  true,
);

/** The headers of every request that asks for something in our name. */
export function headers(): Record<string, string> {
  // Marked, so that a 401 comes back to the page and opens no dialogue of the browser.
  const marked = { "X-Requested-With": "nebula-console" };
  return credential ? { ...marked, Authorization: credential } : marked;
}

/** One request; throws a {@link Failure} for everything but success. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path.startsWith("/") ? path : `${API}/${path}`, {
      ...init,
      headers: { ...headers(), ...(init.headers as Record<string, string>) },
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw away;
  }
  if (response.ok) return response;
  const failed = new Failure(await problemOf(response));
  if (response.status === 401) signedIn.value = false;
  throw failed;
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  return problemIn(text, response.status);
}

/** The problem in a body, or one that says what little is known. */
export function problemIn(text: string, code: number): Problem {
  try {
    const problem = JSON.parse(text) as Problem;
    if (problem.title) return problem;
  } catch {
    // Not one of ours: a proxy answered, or nothing was sent.
  }
  return { title: `The node answered ${code}.`, detail: text.slice(0, 200) || undefined, status: code, code: "http" };
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, { signal })).json();
}

/** Most items that the node puts on one page. */
const PAGE_ITEMS_MAX = 1000;
/** Pages asked for in one go; a search may answer with pages that are nearly empty. */
const PAGES_MAX = 20;

/** The first `wanted` items of a list, however many pages that takes; `next` says that there are more. */
export async function getMany<T, P extends Page<T> = Page<T>>(
  path: string,
  values: Record<string, string | undefined>,
  wanted: number,
  signal?: AbortSignal,
): Promise<P> {
  let all: P | undefined;
  for (let pages = 1; ; pages += 1) {
    const left = wanted - (all?.items.length ?? 0);
    const asked = { ...values, cursor: all?.next, limit: Math.min(left, PAGE_ITEMS_MAX) };
    const page: P = await get<P>(`${path}?${query(asked)}`, signal);
    all = all ? { ...page, items: [...all.items, ...page.items] } : page;
    if (!all.next || all.items.length >= wanted || pages >= PAGES_MAX) return all;
  }
}

export async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  const response = await ask(path, init);
  return response.status === 204 ? (undefined as T) : response.json();
}

/** Asks who we are. Whoever needs no key is in at once. */
export async function refreshStatus(): Promise<void> {
  status.value = await get<Status>("status");
  signedIn.value = true;
}

/** Tries an access key pair, and keeps it for as long as the tab is open. */
export async function signIn(id: string, secret: string): Promise<void> {
  const bytes = new TextEncoder().encode(`${id}:${secret}`);
  credential = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  try {
    await refreshStatus();
    sessionStorage.setItem(KEPT, credential);
  } catch (error) {
    credential = "";
    throw error;
  }
}

export function signOut(): void {
  credential = "";
  sessionStorage.removeItem(KEPT);
  status.value = null;
  signedIn.value = false;
}

/** Whether we are here by a key; a tailnet peer cannot sign out. */
export const hasKey = (): boolean => credential !== "";

/** A link to one object that works without credentials, for a while. */
export const link = (bucket: string, key: string, seconds: number): Promise<Link> =>
  send("POST", "links", { bucket, key, expires_in_s: seconds });

export const unlink = (id: string): Promise<void> =>
  ask(`links/${id}`, { method: "DELETE", keepalive: true }).then(
    () => undefined,
    () => undefined,
  );

/** A key as a path: its slashes stay, unless a segment is one that browsers would fold away. */
export function encodeKey(key: string): string {
  const folds = key.split("/").some((segment) => segment === "." || segment === "..");
  return folds ? encodeURIComponent(key) : key.split("/").map(encodeURIComponent).join("/");
}

/** `search=a&limit=10` of what is there. */
export function query(values: Record<string, string | number | undefined>): string {
  const present = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return new URLSearchParams(present.map(([name, value]) => [name, String(value)])).toString();
}
