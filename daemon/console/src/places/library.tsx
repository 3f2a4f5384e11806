// The library: every film and series that the node knows, by its picture.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, get, getMany } from "../api";
import { Bar, Command, Empty, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { useLoaded } from "../use";
import type { LibraryItem, Page, Position } from "../wire";
import { length } from "../words";

/** Cards asked for at a time. */
const PAGE_ITEMS = 120;
/** Episodes of one series that are shown. */
const EPISODES_MAX = 1000;
/** Films that were begun, at the top. */
const BEGUN_MAX = 6;
/** A pause in typing after which the node is asked. */
const TYPING_MS = 200;

export function LibraryPlace() {
  const search = useSignal("");
  const limit = useSignal(PAGE_ITEMS);
  const films = useLoaded(
    (signal) => getMany<LibraryItem>("library", { search: search.value }, limit.value, signal),
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
      {shown && !none && !search.value && <Begun />}
      {shown && !none && <Shelf items={shown.items} />}
      {shown?.next && (
        <button type="button" class="more" onClick={() => (limit.value += PAGE_ITEMS)}>
          Show more
        </button>
      )}
    </>
  );
}

/** The episodes of one series, in order. */
export function SeriesPlace({ name }: { name: string }) {
  const episodes = useLoaded(
    (signal) => getMany<LibraryItem>("library", { series: name }, EPISODES_MAX, signal),
    [name],
    (event) => /^(asset|object)\./.test(event.type),
  );
  const shown = episodes.value.value?.items;
  const seasons = [...new Set(shown?.map((item) => item.asset.episode?.season ?? 0))];
  return (
    <>
      <div class="title">
        <h1>{name}</h1>
        <a class="button" href={to.place("library")}>
          Library
        </a>
      </div>
      {episodes.failed.value && <Trouble of={episodes.failed.value} again={episodes.reload} />}
      {!shown && !episodes.failed.value && <Waiting />}
      {shown?.length === 0 && <p class="dim">There is no episode of this series.</p>}
      {seasons.map((season) => (
        <section key={season}>
          <h2>{season === 0 ? "Specials" : `Season ${season}`}</h2>
          <Shelf items={shown?.filter((item) => item.asset.episode?.season === season) ?? []} />
        </section>
      ))}
    </>
  );
}

/** What was begun and not watched to the end. */
function Begun() {
  const begun = useLoaded(
    (signal) => get<Page<Position>>(`positions?unfinished=true&limit=${BEGUN_MAX}`, signal),
    [],
  );
  const items = begun.value.value?.items ?? [];
  if (items.length === 0) return null;
  return (
    <section aria-label="Continue watching">
      <h2>Continue watching</h2>
      <ul class="films">
        {items.map((item) => (
          <li key={`${item.bucket}/${item.key}`}>
            <a class="film" href={to.film(item.bucket, item.key)}>
              <span class="picture">
                <Picture poster={item.urls.poster} title={item.title} />
                <span class="length">{length(item.duration_ms - item.position_ms)} left</span>
                <Bar part={item.position_ms / item.duration_ms} label={`Watched of ${item.title}`} />
              </span>
              <span class="name">{item.title}</span>
            </a>
          </li>
        ))}
      </ul>
      <h2>All</h2>
    </section>
  );
}

const Shelf = ({ items }: { items: LibraryItem[] }) => (
  <ul class="films">
    {items.map((item) => (
      <Card key={`${item.asset.bucket}/${item.asset.key}`} item={item} />
    ))}
  </ul>
);

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

function Card({ item }: { item: LibraryItem }) {
  const film = item.asset;
  const series = item.episodes !== undefined;
  const video = film.tracks.find((track) => track.kind === "video");
  const hdr = video?.range && video.range !== "sdr" ? "HDR" : undefined;
  const number = film.episode && `${film.episode.season}×${String(film.episode.number).padStart(2, "0")}`;
  const facts = series
    ? [many(item.seasons ?? 1, "season"), many(item.episodes ?? 1, "episode")]
    : [number, film.year, video?.height && `${video.height}p`, hdr, film.bucket];
  return (
    <li>
      <a class="film" href={series ? to.series(item.title) : to.film(film.bucket, film.key)}>
        <span class="picture">
          <Picture poster={film.state === "ready" ? film.urls.poster : undefined} title={item.title} />
          {!series && film.duration_ms !== undefined && <span class="length">{length(film.duration_ms)}</span>}
          {!series && film.position_ms !== undefined && film.duration_ms !== undefined && (
            <Bar part={film.position_ms / film.duration_ms} label={`Watched of ${item.title}`} />
          )}
        </span>
        <span class="name">{item.title}</span>
        <span class="facts">
          {film.state !== "ready" && <Mark state={film.state} />}
          {film.state === "failed" && film.reason ? film.reason : null}
          {film.state === "ready" && facts.filter(Boolean).join(" · ")}
        </span>
      </a>
    </li>
  );
}

const many = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** The poster, fetched in our name when it comes into view: a picture's own request carries no credential. */
function Picture({ poster, title }: { poster?: string; title: string }) {
  const place = useRef<HTMLSpanElement>(null);
  const address = useSignal("");
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
      {address.value ? <img src={address.value} alt="" /> : <span aria-hidden="true">{title.slice(0, 1).toUpperCase()}</span>}
    </span>
  );
}
