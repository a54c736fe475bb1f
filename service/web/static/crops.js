/** Crops of faces as small JPEGs, made once for each answer and of one photo at a time: decoded photos are large. */

import { crop } from "./card.js";
import { decode } from "./picture.js";

const QUALITY = 0.85;
const made = new WeakMap(); // by answer
let last = Promise.resolve();

/** `data:` addresses of the faces of an answered photo, in their order; none where the browser cannot show it. */
export function cropsOf({ preview, blob, answer }) {
  if (!made.has(answer)) {
    last = last.then(() => cut(preview ?? blob, answer));
    made.set(answer, last);
  }
  return made.get(answer);
}

async function cut(shown, { image, faces }) {
  const picture = faces.length ? await decode(shown) : null;
  return picture ? faces.map(({ box }) => crop(picture, box, picture.width / image.width).toDataURL("image/jpeg", QUALITY)) : [];
}
