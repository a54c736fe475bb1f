/** The device's camera: opening it, what to say where it cannot be had, and taking one photo with it. */

import { $ } from "./dom.js";
import { text } from "./language.js";

/** Whether this page can have a camera at all: browsers give one to HTTPS and localhost only. */
export const available = () => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** A stream of the camera that faces the user or the world. Raises the browser's own error. */
export async function open(facing) {
  return navigator.mediaDevices.getUserMedia({
    audio: false,
    video: { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 960 } },
  });
}

export function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Whether there is another camera. */
export async function several() {
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.filter(({ kind }) => kind === "videoinput").length > 1;
}

/** Whether what the camera shows should be mirrored: people know themselves from mirrors. */
export function mirrored(stream) {
  return stream.getVideoTracks()[0]?.getSettings().facingMode !== "environment";
}

/** Why there is no camera, in plain words. */
export function refusal(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return text("camera.refused");
    case "NotFoundError":
    case "OverconstrainedError":
      return text("camera.missing");
    case "NotReadableError":
    case "AbortError":
      return text("camera.busy");
    default:
      return text("camera.failed");
  }
}

/** One photo as a JPEG blob from a dialog with a viewfinder, or null where the viewer closes it. */
export async function takePhoto() {
  const dialog = $("camera-dialog");
  const video = $("camera-video");
  const listening = new AbortController();
  const { signal } = listening;
  let facing = "user";
  let stream = null;
  let asked = 0;
  const say = (sentence) => (($("camera-shoot").disabled = true), ($("camera-message").textContent = sentence));
  const show = async () => {
    const turn = ++asked;
    const left = () => signal.aborted || turn !== asked; // closed, or flipped again
    stop(stream);
    stream = null;
    say("");
    try {
      const opened = await open(facing);
      if (left()) return stop(opened);
      stream = video.srcObject = opened;
      stream.getVideoTracks()[0].addEventListener("ended", () => left() || say(text("live.disconnected")));
      video.classList.toggle("mirrored", mirrored(stream));
      await video.play();
      if (left()) return;
      $("camera-shoot").disabled = false;
      $("camera-flip").hidden = !(await several());
    } catch (error) {
      if (!left()) say(refusal(error));
    }
  };
  return new Promise((resolve) => {
    let photo = null;
    $("camera-flip").addEventListener("click", () => ((facing = facing === "user" ? "environment" : "user"), show()), { signal });
    $("camera-close").addEventListener("click", () => dialog.close(), { signal });
    $("camera-shoot").addEventListener("click", async () => ((photo = await frame(video, 4096, 0.92)), dialog.close()), { signal });
    dialog.addEventListener(
      "close",
      () => {
        listening.abort();
        stop(stream);
        video.srcObject = null;
        resolve(photo);
      },
      { signal },
    );
    dialog.showModal();
    show();
  });
}

/** What a video shows now, as a JPEG with a longest side of at most `longest` pixels, not mirrored. */
export function frame(video, longest, quality, canvas = document.createElement("canvas")) {
  const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}
