// Jobs, as they change.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { failure, type Failure, getMany, send } from "../api";
import { listen, stream } from "../events";
import { Bar, Command, Empty, Mark, Trouble, Waiting } from "../parts";
import { to } from "../route";
import { useLoaded } from "../use";
import { type Job, JOB_STATES, type JobState } from "../wire";
import { ago, percent, span } from "../words";

/** Jobs asked for at a time, newest first. */
const PAGE_ITEMS = 200;
const ACTIVE: JobState[] = ["queued", "running"];

export function JobsPlace() {
  const only = useSignal<JobState | "">("");
  const limit = useSignal(PAGE_ITEMS);
  const failed = useSignal<Failure | null>(null);
  const jobs = useLoaded(
    (signal) => getMany<Job>("jobs", { state: only.value }, limit.value, signal),
    [only.value, limit.value],
  );
  const page = jobs.value;
  useEffect(
    () =>
      listen(({ job }) => {
        const now = page.peek();
        if (!job || !now) return;
        const known = now.items.find((one) => one.id === job.id);
        // An event tells what changed; what it leaves out is as it was.
        const fresh = known && job.max_attempts === 0 ? { ...known, ...job, ...kept(known) } : job;
        if (!known && fresh.max_attempts === 0) return jobs.reload();
        const wanted = only.peek() === "" || fresh.state === only.peek();
        const rest = known ? now.items.map((one) => (one === known ? fresh : one)) : [fresh, ...now.items];
        page.value = { ...now, items: wanted ? rest : rest.filter((one) => one.id !== fresh.id) };
      }),
    [],
  );
  const act = async (job: Job, verb: "cancel" | "retry") => {
    try {
      const fresh = await send<Job>("POST", `jobs/${job.id}/${verb}`);
      const now = page.peek();
      if (now) page.value = { ...now, items: now.items.map((one) => (one.id === fresh.id ? fresh : one)) };
      failed.value = null;
    } catch (error) {
      failed.value = failure(error);
    }
  };
  const shown = page.value?.items;
  return (
    <>
      <div class="title">
        <h1>Jobs</h1>
        <label class="beside">
          Show
          <select value={only.value} onChange={(event) => (only.value = event.currentTarget.value as JobState | "")}>
            <option value="">all</option>
            {JOB_STATES.map((state) => (
              <option key={state}>{state}</option>
            ))}
          </select>
        </label>
      </div>
      {stream.value === "waiting" && <p class="dim">The list is not live at the moment; it catches up by itself.</p>}
      {failed.value && <Trouble of={failed.value} />}
      {jobs.failed.value && <Trouble of={jobs.failed.value} again={jobs.reload} />}
      {!shown && !jobs.failed.value && <Waiting />}
      {shown?.length === 0 && (
        <Empty title={only.value ? `No job is ${only.value}` : "No jobs yet"}>
          <p>Films are looked at and made into smaller sizes as they arrive. The same list in a terminal:</p>
          <Command text="nebula jobs --watch" />
        </Empty>
      )}
      {shown && shown.length > 0 && (
        <ul class="list">
          {shown.map((job) => (
            <Line key={job.id} job={job} act={(verb) => void act(job, verb)} />
          ))}
        </ul>
      )}
      {page.value?.next && (
        <button type="button" class="more" onClick={() => (limit.value += PAGE_ITEMS)}>
          Show older ones
        </button>
      )}
    </>
  );
}

/** The members that an event of a job has only placeholders for. */
const kept = ({ attempt, max_attempts, created_at_ms }: Job) => ({ attempt, max_attempts, created_at_ms });

const KINDS: Record<string, string> = { index: "Look at", ladder: "Make sizes of" };

function Line({ job, act }: { job: Job; act: (verb: "cancel" | "retry") => void }) {
  const { object, state } = job;
  const name = `${KINDS[job.kind] ?? job.kind} ${object?.key ?? job.id}`;
  const running = state === "running";
  const took = job.started_at_ms && job.finished_at_ms ? `, took ${span(job.finished_at_ms - job.started_at_ms)}` : "";
  return (
    <li class="line transfer">
      <span class="name">
        <Mark state={state} /> {KINDS[job.kind] ?? job.kind}{" "}
        {object ? <a href={to.film(object.bucket, object.key)}>{object.key}</a> : <code>{job.id}</code>}
      </span>
      <span class="facts">
        {running ? [job.stage, percent(job.progress)].filter(Boolean).join(", ") : `${ago(job.updated_at_ms)}${took}`}
        {job.attempt > 1 && `, attempt ${job.attempt} of ${job.max_attempts}`}
      </span>
      <span class="verbs">
        {ACTIVE.includes(state) ? (
          <button type="button" aria-label={`Cancel: ${name}`} onClick={() => act("cancel")}>
            Cancel
          </button>
        ) : (
          state !== "done" && (
            <button type="button" aria-label={`Retry: ${name}`} onClick={() => act("retry")}>
              Retry
            </button>
          )
        )}
      </span>
      {running && <Bar part={job.progress} label={name} />}
      {job.reason && state !== "done" && <p class="reason">{job.reason}</p>}
    </li>
  );
}
