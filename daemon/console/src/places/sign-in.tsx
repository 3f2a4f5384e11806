// The door: an access key pair, kept for as long as the tab is open.

import { useSignal } from "@preact/signals";
import { Failure, failure, signIn } from "../api";
import { Trouble } from "../parts";

export function SignIn() {
  const failed = useSignal<Failure | null>(null);
  const busy = useSignal(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    busy.value = true;
    failed.value = null;
    try {
      await signIn(String(form.get("id")).trim(), String(form.get("secret")).trim());
    } catch (error) {
      const { problem, offline } = failure(error);
      const wrong = problem.status === 401;
      // The node's advice is for the command line.
      failed.value = new Failure(wrong ? { ...problem, title: "That did not work.", hint: undefined } : problem, offline);
    }
    busy.value = false;
  };
  return (
    <main class="lone">
      <form class="sign-in" onSubmit={submit}>
        <h1>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="M12 1c1 7 4 10 11 11-7 1-10 4-11 11-1-7-4-10-11-11 7-1 10-4 11-11z" />
          </svg>
          nebula
        </h1>
        <p class="dim">Sign in with an access key pair. It stays in this tab, and is forgotten when you close it.</p>
        <label>
          Access key
          <input name="id" required autoFocus autocomplete="username" autocapitalize="off" spellcheck={false} />
        </label>
        <label>
          Secret
          <input name="secret" type="password" required autocomplete="current-password" />
        </label>
        {failed.value && <Trouble of={failed.value} />}
        <button type="submit" class="main" disabled={busy.value}>
          {busy.value ? "Signing in…" : "Sign in"}
        </button>
        <details class="dim">
          <summary>Where is my key?</summary>
          <p>The node prints its first pair once, when it starts for the first time. Whoever runs it can make more:</p>
          <p>
            <code>nebulad keys create</code>
          </p>
        </details>
      </form>
    </main>
  );
}
