/** A recording of what the live view shows, video and boxes, as a file of the viewer's own. */

import { el } from "./dom.js";
import { drawBox } from "./files.js";

const LONGEST = 1280; // pixels
const FRAMES_PER_SECOND = 25;
const CHUNK_MS = 1000;
const TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** The first type that the browser records; undefined where it records none. */
const type = () => TYPES.find((one) => globalThis.MediaRecorder?.isTypeSupported(one));

/** Whether this browser can record the view. */
export const available = () => type() !== undefined && "captureStream" in HTMLCanvasElement.prototype;

/** Begin to record a video as it is shown. `boxes()` returns what is to be drawn now: `{ x, y, width, height, tag, colour }`, its numbers
 * as shares of the picture as it is shown, mirrored or not. The result's `stop()` returns a promise of the file and the end of its name. */
export function record(video, { mirrored, boxes }) {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const even = (side) => Math.max(2, Math.round((side * scale) / 2) * 2); // as 4:2:0 has it
  const canvas = el("canvas", { width: even(video.videoWidth), height: even(video.videoHeight) });
  const pen = canvas.getContext("2d");
  const size = Math.max(12, Math.round(canvas.width / 45));
  const draw = () => {
    pen.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? canvas.width : 0, 0);
    pen.drawImage(video, 0, 0, canvas.width, canvas.height);
    pen.resetTransform();
    for (const { x, y, width, height, tag, colour } of boxes()) {
      drawBox(pen, { x: x * canvas.width, y: y * canvas.height, width: width * canvas.width, height: height * canvas.height }, tag, colour, size);
    }
  };
  draw();
  const timer = setInterval(draw, 1000 / FRAMES_PER_SECOND);
  const recorder = new MediaRecorder(canvas.captureStream(FRAMES_PER_SECOND), { mimeType: type() });
  const chunks = [];
  recorder.addEventListener("dataavailable", ({ data }) => chunks.push(data));
  const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  recorder.start(CHUNK_MS);
  return {
    async stop() {
      clearInterval(timer);
      recorder.stop();
      await ended;
      const { mimeType } = recorder;
      return { blob: new Blob(chunks, { type: mimeType }), suffix: mimeType.includes("mp4") ? "mp4" : "webm" };
    },
  };
}
