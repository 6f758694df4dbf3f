// Puts vega, vega-lite and vega-embed into the last script of ../page.html, minified and with all
// their licences: a page that `dvc plots show` writes, wherever it is, needs no network.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const { outputFiles } = await build({
  stdin: { contents: 'import embed from "vega-embed"; window.vegaEmbed = embed;', resolveDir: "." },
  bundle: true, minify: true, write: false,
  format: "iife", target: "es2020", charset: "ascii", legalComments: "none",
});

// Some packages hold others already bundled, so every one that npm installs for them is named.
const packages = Object.entries(JSON.parse(readFileSync("package-lock.json")).packages);
const owners = new Map();
for (const [folder, { version, license, dev }] of packages) {
  if (folder === "" || dev) continue;
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  const text = file ? readFileSync(`${folder}/${file}`, "utf8").trim() : `License: ${license}`;
  owners.set(text, [...(owners.get(text) ?? []), `${folder.slice("node_modules/".length)} ${version}`]);
}
const licences = [...owners].map(([text, names]) => `${names.join(", ")}\n\n${text}`);

const page = readFileSync("../page.html", "utf8");
const start = page.lastIndexOf('<script id="vega">') + '<script id="vega">'.length;
const end = page.indexOf("</script>", start);
const script = `/*\n${licences.join("\n\n----\n\n")}\n*/\n${outputFiles[0].text}`;
writeFileSync("../page.html", page.slice(0, start) + `\n${script}` + page.slice(end));
