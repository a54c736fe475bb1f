/** The request for a photo's answer as a person would write it: for a shell, in Python and in JavaScript, in the style of
 * docs/languages.md. Each takes `{ url, base, name, options, key }`, `options` by their names in `Facet.predict`. */

/** Writers by the names of the languages. */
export const COMMANDS = { curl, Python: python, JavaScript: javascript };

/** Options of `Facet.predict` and of the Python client, whose names have underscores. */
const OPTIONS = ["model", "attributes", "atLeast", "minConfidence", "maxFaces", "landmarks", "distribution"];

/** The call of curl, quoted for a shell. */
function curl({ url, name, key }) {
  const quoted = (text) => (/^[\w./:@=?&%,+-]+$/.test(text) && !/[?&]/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  // curl gives commas and semicolons in a form's file name a meaning of their own, unless the name is in double quotes.
  const file = /[;,"\\]/.test(name) ? `file=@"${name.replace(/(["\\])/g, "\\$1")}"` : `file=@${name}`;
  const header = key ? ' -H "X-API-Key: $FACET_KEY"' : "";
  return `curl${header} -F ${quoted(file)} ${quoted(url)}`;
}

function python({ base, name, options, key }) {
  const snake = (option) => option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const value = (given) => (typeof given === "boolean" ? (given ? "True" : "False") : literal(given));
  const more = chosen(options).map(([option, given]) => `, ${snake(option)}=${value(given)}`);
  const head = key ? ["import os", ""] : [];
  const secret = key ? ', key=os.environ["FACET_KEY"]' : "";
  return [
    ...head,
    "from facet_client import Client",
    "",
    `with Client(${literal(base)}${secret}) as facet:`,
    `    for face in facet.predict(${literal(name)}${more.join("")}).faces:`,
    "        print(face)",
  ].join("\n");
}

function javascript({ base, name, options, key }) {
  const more = chosen(options).map(([option, given]) => `${option}: ${literal(given)}`);
  const secret = key ? ", key: process.env.FACET_KEY" : "";
  return [
    'import { readFile } from "node:fs/promises";',
    'import { Facet } from "facet-client";',
    "",
    `const facet = new Facet({ baseUrl: ${literal(base)}${secret} });`,
    `const { faces } = await facet.predict(await readFile(${literal(name)})${more.length ? `, { ${more.join(", ")} }` : ""});`,
    "for (const face of faces) console.log(face);",
  ].join("\n");
}

const chosen = (options) => OPTIONS.filter((option) => options[option] !== undefined && options[option] !== false).map((option) => [option, options[option]]);

/** A text, number or list in JSON, which both languages read alike; a list with a blank after each comma. */
const literal = (given) => (Array.isArray(given) ? `[${given.map(literal).join(", ")}]` : JSON.stringify(given));
