/** Parameters of the detector: its least confidence, the most faces, and landmarks. */

import { el } from "./dom.js";
import { text } from "./language.js";

/** Controls that are folded away; every change goes to `photos`. */
export function detectorOptions(photos) {
  const labelled = (key, input) => el("label", { class: "check" }, el("span", { "data-text": key }, text(key)), input);
  const confidence = el("input", { type: "number", min: "0.5", max: "1", step: "0.01", inputmode: "decimal" });
  const faces = el("input", { type: "number", min: "1", max: "1000", step: "1", inputmode: "numeric" });
  const landmarks = el("input", { type: "checkbox" });
  const changed = () => {
    if (!confidence.checkValidity() || !faces.checkValidity()) return setTimeout(() => confidence.reportValidity() && faces.reportValidity()); // once the focus has moved
    photos.setDetector({
      ...(confidence.value && { minConfidence: Number(confidence.value) }),
      ...(faces.value && { maxFaces: Number(faces.value) }),
      ...(landmarks.checked && { landmarks: true }),
    });
  };
  for (const input of [confidence, faces, landmarks]) input.addEventListener("change", changed);
  return el(
    "details",
    { class: "more" },
    el("summary", { class: "fine", "data-text": "options.more" }, text("options.more")),
    labelled("options.confidence", confidence),
    labelled("options.faces", faces),
    labelled("options.landmarks", landmarks),
  );
}
