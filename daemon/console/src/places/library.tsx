// The library: every film that the node knows, by its picture.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, getMany } from "../api";
import { Bar, Command, Empty, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { useLoaded } from "../use";
import type { Asset } from "../wire";
import { length } from "../words";

/** Cards asked for at a time. */
const PAGE_ITEMS = 120;
/** A pause in typing after which the node is asked. */
const TYPING_MS = 200;

export function LibraryPlace() {
  const search = useSignal("");
  const limit = useSignal(PAGE_ITEMS);
  const films = useLoaded(
    (signal) => getMany<Asset>("assets", { search: search.value }, limit.value, signal),
    [search.value, limit.value],
    (event) => /^(asset|rendition|object)\./.test(event.type),
  );
  const typing = useRef<ReturnType<typeof setTimeout>>(undefined);
  const typed = (text: string) => {
    clearTimeout(typing.current);
    typing.current = setTimeout(() => (search.value = text.trim()), TYPING_MS);
  };
  const shown = films.value.value;
  const none = shown?.items.length === 0;
  return (
    <>
      <div class="title">
        <h1>Library</h1>
        {shown && (!none || search.value) && (
          <input
            type="search"
            placeholder="Search"
            aria-label="Search the library"
            onInput={(event) => typed(event.currentTarget.value)}
          />
        )}
      </div>
      {films.failed.value && <Trouble of={films.failed.value} again={films.reload} />}
      {!shown && !films.failed.value && <Waiting />}
      {none && (search.value ? <p class="dim">No film has all of these words in its title.</p> : <NoFilms />)}
      {shown && !none && (
        <ul class="films">
          {shown.items.map((film) => (
            <Card key={`${film.bucket}/${film.key}`} film={film} />
          ))}
        </ul>
      )}
      {shown?.next && (
        <button type="button" class="more" onClick={() => (limit.value += PAGE_ITEMS)}>
          Show more
        </button>
      )}
    </>
  );
}

const NoFilms = () => (
  <Empty title="No films yet">
    <p>Push one from a terminal; it plays a second after its last byte has arrived:</p>
    <Command text={`nebula login ${location.origin}`} />
    <Command text="nebula mb films" />
    <Command text="nebula push film.mkv films:" />
    <p>
      Or drop files into a <a href={to.place("buckets")}>bucket</a> here.
    </p>
  </Empty>
);

function Card({ film }: { film: Asset }) {
  const video = film.tracks.find((track) => track.kind === "video");
  const making = film.renditions.filter((rung) => rung.state === "running");
  return (
    <li>
      <a class="film" href={to.film(film.bucket, film.key)}>
        <span class="picture">
          <Picture film={film} />
          {film.duration_ms !== undefined && <span class="length">{length(film.duration_ms)}</span>}
          {making.length > 0 && (
            <Bar
              part={making.reduce((sum, rung) => sum + rung.progress, 0) / making.length}
              label={`Making ${making.map((rung) => rung.name).join(", ")}`}
            />
          )}
        </span>
        <span class="name">{film.title}</span>
        <span class="facts">
          {film.state !== "ready" && <Mark state={film.state} />}
          {film.state === "failed" && film.reason ? film.reason : null}
          {film.state === "ready" && [video?.height && `${video.height}p`, film.bucket].filter(Boolean).join(" · ")}
        </span>
      </a>
    </li>
  );
}

/** The poster, fetched in our name when it comes into view: a picture's own request carries no credential. */
function Picture({ film }: { film: Asset }) {
  const place = useRef<HTMLSpanElement>(null);
  const address = useSignal("");
  const poster = film.state === "ready" ? film.urls.poster : undefined;
  useEffect(() => {
    if (!poster || !place.current) return undefined;
    let made = "";
    const run = new AbortController();
    const seen = new IntersectionObserver(
      async ([entry]) => {
        if (!entry?.isIntersecting) return;
        seen.disconnect();
        try {
          const picture = await (await ask(poster, { signal: run.signal })).blob();
          if (run.signal.aborted) return;
          made = URL.createObjectURL(picture);
          address.value = made;
        } catch {
          // A film without a picture keeps its letter.
        }
      },
      { rootMargin: "300px" },
    );
    seen.observe(place.current);
    return () => {
      seen.disconnect();
      run.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [poster]);
  return (
    <span ref={place} class="poster">
      {address.value ? <img src={address.value} alt="" /> : <span aria-hidden="true">{film.title.slice(0, 1).toUpperCase()}</span>}
    </span>
  );
}
