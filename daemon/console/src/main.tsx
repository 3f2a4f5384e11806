// The console: who is there, the five places, and what is dropped anywhere.

import { type ComponentType, render } from "preact";
import { useEffect } from "preact/hooks";
import { failure, hasKey, refreshStatus, signedIn, signOut, status } from "./api";
import { follow, stream, unfollow } from "./events";
import { Trouble, Waiting } from "./parts";
import { BucketPlace } from "./places/bucket";
import { BucketsPlace } from "./places/buckets";
import { LibraryPlace, SeriesPlace } from "./places/library";
import { SignIn } from "./places/sign-in";
import { UploadsPlace } from "./places/uploads";
import { PLACES, placeOf, route, to } from "./route";
import { active, forgetTransfers } from "./transfers";
import { type Failure } from "./api";
import { signal, useSignal } from "@preact/signals";

const broken = signal<Failure | null>(null);
/** How long to wait before the node is asked again whether it is there. */
const RETRY_MS = 3000;

const STREAM_WORDS = { live: "live", waiting: "reconnecting", off: "not live" };

function start(): void {
  refreshStatus().then(
    () => (broken.value = null),
    (error: unknown) => {
      const failed = failure(error);
      if (failed.problem.status === 401) return;
      broken.value = failed;
      setTimeout(start, RETRY_MS);
    },
  );
}

const film = () => import("./places/film").then(({ FilmPlace }) => FilmPlace);
const jobs = () => import("./places/jobs").then(({ JobsPlace }) => JobsPlace);
const node = () => import("./places/node").then(({ NodePlace }) => NodePlace);

/** A place that few people open: its code comes when they do. */
function Later<P extends object>({ load, ...rest }: { load: () => Promise<ComponentType<P>> } & P) {
  const there = useSignal<{ Place: ComponentType<P> } | null>(null);
  const failed = useSignal<Failure | null>(null);
  useEffect(() => {
    load().then(
      (Place) => (there.value = { Place }),
      (error: unknown) => (failed.value = failure(error)),
    );
  }, [load]);
  if (failed.value) return <Trouble of={failed.value} />;
  return there.value ? <there.value.Place {...(rest as unknown as P)} /> : <Waiting />;
}

function Place() {
  const at = route.value;
  switch (at.at) {
    case "film":
      return <Later key={`${at.bucket}/${at.key}`} load={film} bucket={at.bucket} name={at.key} />;
    case "series":
      return <SeriesPlace key={at.name} name={at.name} />;
    case "bucket":
      return <BucketPlace key={at.bucket} bucket={at.bucket} prefix={at.prefix} />;
    case "buckets":
      return <BucketsPlace />;
    case "uploads":
      return <UploadsPlace />;
    case "jobs":
      return <Later key="jobs" load={jobs} />;
    case "node":
      return <Later key="node" load={node} />;
    default:
      return <LibraryPlace />;
  }
}

function Header() {
  const here = placeOf(route.value);
  const out = () => {
    forgetTransfers();
    signOut();
  };
  return (
    <header>
      <a class="brand" href={to.place("library")}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M12 1c1 7 4 10 11 11-7 1-10 4-11 11-1-7-4-10-11-11 7-1 10-4 11-11z" />
        </svg>
        nebula
      </a>
      <nav aria-label="Places">
        {PLACES.map((place) => (
          <a key={place} href={to.place(place)} aria-current={place === here ? "page" : undefined}>
            {place}
            {place === "uploads" && active.value > 0 && <span class="badge">{active.value}</span>}
          </a>
        ))}
      </nav>
      <div class="who">
        <span class={`dot ${stream.value}`} title={STREAM_WORDS[stream.value]} role="img" aria-label={STREAM_WORDS[stream.value]} />
        <span class="node-name">{status.value?.node}</span>
        {hasKey() && (
          <button type="button" class="quiet" onClick={out}>
            Sign out
          </button>
        )}
      </div>
    </header>
  );
}

function App() {
  const known = signedIn.value;
  useEffect(() => {
    if (known) {
      void follow();
      return unfollow;
    }
    return undefined;
  }, [known]);
  useEffect(() => {
    const name = placeOf(route.value);
    document.title = `Nebula: ${name}`;
  }, [route.value]);
  if (known === false) return <SignIn />;
  if (known === undefined) return <main class="lone">{broken.value ? <Trouble of={broken.value} /> : <Waiting />}</main>;
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <Place />
      </main>
    </>
  );
}

/** The hash is the address of a place, so the link moves the focus itself. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

// A file dropped beside a bucket must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

start();
render(<App />, document.body);
