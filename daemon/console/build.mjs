// Bundles the console into dist/: index.html, and assets/ whose names carry a hash of their content.
//
//   node build.mjs             for embedding: minified, each file with a .gz twin
//   node build.mjs --watch     while writing: rebuilt at each change, with source maps
//
// SIZES=1 tells what each file weighs. A file that did not change is not touched, so the daemon is not built anew.
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";
import { build, context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "dist");
const watching = process.argv.includes("--watch");
/** What the first page may weigh, squeezed: more means that something large came in by mistake. */
const FIRST_LOAD_BYTES_MAX = 25 * 1024;

const squeeze = (bytes) => gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });

/** All files of dist/ by their path in it: what esbuild made, the page that names them, the squeezed twins. */
async function files({ outputFiles, metafile }) {
  const outputs = Object.entries(metafile.outputs);
  const named = (source) => outputs.find(([, about]) => about.entryPoint === source)?.[0];
  const entries = { script: named("src/main.tsx"), style: named("src/style.css"), icon: named("src/icon.svg") };
  // What the entry imports at once is asked for at once.
  const imports = metafile.outputs[entries.script].imports.filter((one) => one.kind === "import-statement");
  const eager = imports.map((one) => one.path);
  let page = await readFile(join(here, "src/index.html"), "utf8");
  for (const [role, file] of Object.entries(entries)) {
    page = page.replaceAll(`{${role}}`, `/-/assets/${basename(file)}`);
  }
  const preloads = eager.map((file) => `<link rel="modulepreload" href="/-/assets/${basename(file)}">\n`);
  page = page.replace("</head>", `${preloads.join("")}</head>`);

  const all = new Map([["index.html", Buffer.from(page)]]);
  for (const { path, contents } of outputFiles) all.set(relative(out, path), Buffer.from(contents));
  if (watching) return all;
  const first = new Set(["index.html", ...[...Object.values(entries), ...eager].map((file) => `assets/${basename(file)}`)]);
  let weight = 0;
  for (const [name, bytes] of [...all]) {
    const squeezed = squeeze(bytes);
    if (squeezed.length < bytes.length) all.set(`${name}.gz`, squeezed);
    if (first.has(name)) weight += squeezed.length;
    if (process.env.SIZES) console.log(first.has(name) ? "*" : " ", name.padEnd(32), bytes.length, squeezed.length);
  }
  if (process.env.SIZES) console.log(`* first load, gzip: ${weight}`);
  if (weight > FIRST_LOAD_BYTES_MAX) {
    throw new Error(`the first load is ${weight} bytes squeezed, over ${FIRST_LOAD_BYTES_MAX}: load it when it is needed`);
  }
  return all;
}

/** Makes dist/ hold just these files. */
async function store(all) {
  await mkdir(join(out, "assets"), { recursive: true });
  for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && !all.has(relative(out, path))) await rm(path);
  }
  for (const [name, bytes] of all) {
    const before = await readFile(join(out, name)).catch(() => undefined);
    if (!before?.equals(bytes)) await writeFile(join(out, name), bytes);
  }
}

const options = {
  absWorkingDir: here,
  entryPoints: ["src/main.tsx", "src/style.css", "src/icon.svg"],
  outdir: join(out, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "copy" },
  minify: !watching,
  sourcemap: watching ? "inline" : false,
  metafile: true,
  write: false,
  legalComments: "none",
  logLevel: "warning",
};

if (watching) {
  const page = {
    name: "page",
    setup: ({ onEnd }) =>
      onEnd(async (result) => {
        if (result.errors.length === 0) await store(await files(result));
      }),
  };
  await (await context({ ...options, plugins: [page] })).watch();
} else {
  await store(await files(await build(options)));
}
