// A person at the console in headless Chromium.
import { launch } from "./chromium.mjs";

/** For each thing that is waited for. */
const PATIENCE_MS = 60_000;

/**
 * Prints what `act` saw on a page of this size as one line of JSON, with every error that the page had but those whose
 * text is `known`; or else why it ended, and what the page said.
 */
export async function person(executablePath, viewport, known, act) {
  const { context, close } = await launch(executablePath, { viewport });
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !known.test(message.text())) errors.push(`console: ${message.text()}`);
  });
  let failed = false;
  try {
    console.log(JSON.stringify({ ...(await act(page)), errors }));
  } catch (error) {
    failed = true;
    console.error(`${error.message}\nthe page said:\n${await page.innerText("body").catch(() => "nothing")}`);
  } finally {
    await close();
  }
  process.exit(failed ? 1 : 0);
}
