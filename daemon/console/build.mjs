// Bundles the console into dist/: index.html, and assets/ whose names carry a hash of their content.
//
//   node build.mjs             for embedding: minified, each file with a .gz twin
//   node build.mjs --watch     while writing: rebuilt at each change, with source maps
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";
import { build, context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "dist");
const assets = join(out, "assets");
const watching = process.argv.includes("--watch");
/** What the first page may weigh, squeezed: more means that something large came in by mistake. */
const FIRST_LOAD_BYTES_MAX = 25 * 1024;

const squeeze = (bytes) => gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });

/** Writes the page that names the hashed entry files, and the squeezed twins. */
async function finish(metafile) {
  const outputs = Object.entries(metafile.outputs);
  const named = (source) => outputs.find(([, about]) => about.entryPoint === source)?.[0];
  const files = { script: named("src/main.tsx"), style: named("src/style.css"), icon: named("src/icon.svg") };
  let page = await readFile(join(here, "src/index.html"), "utf8");
  for (const [role, file] of Object.entries(files)) {
    page = page.replaceAll(`{${role}}`, `/-/assets/${basename(file)}`);
  }
  // What the entry imports at once is asked for at once.
  const eager = metafile.outputs[files.script].imports.filter((one) => one.kind === "import-statement");
  const preloads = eager.map((one) => `<link rel="modulepreload" href="/-/assets/${basename(one.path)}">\n`);
  page = page.replace("</head>", `${preloads.join("")}</head>`);
  await writeFile(join(out, "index.html"), page);

  let first = squeeze(page).length;
  for (const name of (await readdir(assets)).sort()) {
    if (watching || name.endsWith(".map")) continue;
    const bytes = await readFile(join(assets, name));
    const squeezed = squeeze(bytes);
    if (squeezed.length < bytes.length) await writeFile(join(assets, `${name}.gz`), squeezed);
    const eagerly = [...Object.values(files), ...eager.map((one) => one.path)].some((file) => basename(file) === name);
    if (eagerly) first += squeezed.length;
    if (process.env.SIZES) console.log(`${eagerly ? "*" : " "} ${name.padEnd(28)} ${bytes.length} ${squeezed.length}`);
  }
  if (process.env.SIZES) console.log(`* first load, gzip: ${first}`);
  if (first > FIRST_LOAD_BYTES_MAX && !watching) {
    throw new Error(`the first load is ${first} bytes squeezed, over ${FIRST_LOAD_BYTES_MAX}: load it when it is needed`);
  }
}

const options = {
  absWorkingDir: here,
  entryPoints: ["src/main.tsx", "src/style.css", "src/icon.svg"],
  outdir: assets,
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
  sourcemap: watching,
  metafile: true,
  legalComments: "none",
  logLevel: "warning",
  plugins: [
    {
      name: "page",
      setup({ onStart, onEnd }) {
        onStart(async () => {
          await rm(out, { recursive: true, force: true });
          await mkdir(assets, { recursive: true });
        });
        onEnd(async ({ errors, metafile }) => {
          if (errors.length === 0) await finish(metafile);
        });
      },
    },
  ],
};

if (watching) {
  await (await context(options)).watch();
} else {
  await build(options);
}
