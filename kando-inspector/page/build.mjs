// Builds the page into the Python package, or the tests with --tests; `make page` calls it.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const isTests = process.argv.includes("--tests");
const outIndex = process.argv.indexOf("--out");
const target =
  outIndex > 0 ? process.argv[outIndex + 1] : join(here, "../src/kando_inspector/static");

const shared = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
  target: ["es2022"],
};

/** Returns the licences of the packages whose code is in the bundle. */
async function licences(inputs) {
  const names = new Set();
  for (const path of Object.keys(inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found) names.add(found[1]);
  }
  let text = "Libraries in app.js, with their licences.\n";
  for (const name of [...names].sort()) {
    const folder = join(here, "node_modules", name);
    const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} has no licence file.`);
    const licence = (await readFile(join(folder, file), "utf8")).trim();
    const rule = "-".repeat(72);
    text += `\n${rule}\n${name} ${about.version} (${about.license})\n${rule}\n\n${licence}\n`;
  }
  return text;
}

if (isTests) {
  await rm(join(here, "build/tests"), { recursive: true, force: true });
  const tests = (await readdir(join(here, "tests"))).filter((each) => /\.test\.tsx?$/.test(each));
  await build({
    ...shared,
    entryPoints: tests.map((each) => `tests/${each}`),
    format: "esm",
    outdir: "build/tests",
    outExtension: { ".js": ".mjs" },
    platform: "node",
  });
} else {
  await mkdir(target, { recursive: true });
  const made = await build({
    ...shared,
    entryPoints: { app: "src/main.tsx" },
    format: "iife",
    metafile: true,
    minify: true,
    outdir: target,
  });
  await build({
    ...shared,
    entryPoints: { app: "src/style/app.css" },
    minify: true,
    outdir: target,
  });
  await copyFile(join(here, "index.html"), join(target, "index.html"));
  await writeFile(join(target, "licences.txt"), await licences(made.metafile.inputs));
}
