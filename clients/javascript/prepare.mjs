/** Copies the client beside package.json from where the service serves it; npm runs this when it packs or installs the folder. */

import { copyFile } from "node:fs/promises";

for (const name of ["facet.js", "facet.d.ts"]) {
  await copyFile(new URL(`../../service/web/static/${name}`, import.meta.url), new URL(name, import.meta.url));
}
