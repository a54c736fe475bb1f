/** Types of facet.js: the JSON contract of the service, and the client. */

export type AttributeName = "age" | "gender" | "race";

/** Pixels of the upright photo. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** x and y, in pixels of the upright photo. */
export type Point = [number, number];

/** Left and right are the viewer's. */
export interface Landmarks {
  left_eye: Point;
  right_eye: Point;
  nose: Point;
  mouth_left: Point;
  mouth_right: Point;
}

/** Years. The true age lies in `low` to `high`, bounds included, in a share `coverage` of cases. */
export interface AgeAnswer {
  years: number;
  low?: number;
  high?: number;
  coverage?: number;
  /** Probability of every age from 0 to 100. */
  distribution?: number[];
  /** Probability of being at least so old, by the ages that were asked for. */
  at_least?: Record<string, number>;
}

/** Probabilities are 0 to 1 and calibrated. */
export interface LabelAnswer {
  label: string;
  confidence: number;
  uncertain: boolean;
  probabilities: Record<string, number>;
}

export interface QualityAnswer {
  size_px: number;
  sharpness: number;
  brightness: number;
  /** Degrees, positive where the viewer's right eye is lower. */
  roll: number;
  yaw: number;
}

export interface FaceAnswer {
  box: Box;
  confidence: number;
  landmarks?: Landmarks;
  age?: AgeAnswer;
  gender?: LabelAnswer;
  race?: LabelAnswer;
  quality: QualityAnswer;
  warnings: string[];
}

export interface ModelName {
  name: string;
  version: number;
}

export interface ImageSize {
  width: number;
  height: number;
}

/** Faces from left to right; none is an empty list. */
export interface PredictAnswer {
  request_id: string;
  model: ModelName;
  image: ImageSize;
  faces: FaceAnswer[];
  timing_ms: Record<string, number>;
}

/** A failure, by RFC 9457. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  request_id: string;
}

export interface BatchItem {
  index: number;
  status: number;
  result?: PredictAnswer;
  problem?: Problem;
}

export interface BatchAnswer {
  request_id: string;
  results: BatchItem[];
}

export interface Health {
  status: "ok" | "unavailable";
  model: ModelName;
  version: string;
  uptime_s: number;
  detail?: string;
}

/** The manifest of the model and how it is served; it only gains fields. */
export interface ModelCard {
  name: string;
  version: number;
  digest: string;
  serving: { attributes: AttributeName[]; [field: string]: unknown };
  [field: string]: unknown;
}

/** A Blob or File, an ArrayBuffer, or a typed array, such as Node's Buffer. */
export type Photo = Blob | ArrayBuffer | ArrayBufferView;

export interface CallOptions {
  signal?: AbortSignal;
  /** Longest wait for one attempt. */
  timeoutMs?: number;
  /** Further attempts after a 429 or 503. */
  retries?: number;
}

export interface PredictOptions extends CallOptions {
  /** What is answered; all that the operator allows where not given. */
  attributes?: AttributeName[];
  /** Answer the largest faces only. */
  maxFaces?: number;
  /** Least confidence of a face, 0.5 to 1. */
  minConfidence?: number;
  landmarks?: boolean;
  /** Answer the probability of every age. */
  distribution?: boolean;
  /** Ages from 1 to 99, at most 8: answer the probability of being at least so old. */
  atLeast?: number[];
}

export interface StreamOptions {
  attributes?: AttributeName[];
  maxFaces?: number;
  minConfidence?: number;
  landmarks?: boolean;
  atLeast?: number[];
  signal?: AbortSignal;
  /** Longest wait for the greeting, and for each frame. */
  timeoutMs?: number;
}

export interface StreamReady {
  type: "ready";
  protocol: number;
  model: ModelName;
  max_frame_bytes: number;
  max_fps: number;
  idle_timeout_s: number;
  max_duration_s: number;
}

/** A face that is followed from frame to frame by its `id`; attributes are absent until the network has run for it. */
export interface TrackedFace extends FaceAnswer {
  id: number;
  /** Frames in which it was seen. */
  frames: number;
  /** Those of them that its attributes come from. */
  answers: number;
  age_of_track_ms: number;
}

export interface StreamFrame {
  type: "frame";
  frame: number;
  image: ImageSize;
  faces: TrackedFace[];
  /** Frames left out since the last answer. */
  dropped: number;
  /** Wait so long before the next frame. */
  next_in_ms: number;
  timing_ms: Record<string, number>;
}

export interface FacetOptions {
  /** Where the service is; the page's own folder in a browser, http://localhost:8000/ elsewhere. */
  baseUrl?: string | URL;
  key?: string | null;
  /** 30 000 where not given. */
  timeoutMs?: number;
  /** 3 where not given. */
  retries?: number;
  /** A `Retry-After` above this is not waited for; 20 000 where not given. */
  maxWaitMs?: number;
  fetch?: typeof fetch;
  WebSocket?: typeof WebSocket;
}

/** `code` is the service's own, or the client's: `network_error`, `timeout`, `bad_answer`, `closed`. */
export class FacetError extends Error {
  constructor(problem: Partial<Problem> & { code: string }, more?: { retryAfter?: number | null; cause?: unknown });
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly requestId: string | null;
  /** Seconds after which to come back, where the service said so. */
  readonly retryAfter: number | null;
}

export class Facet {
  constructor(options?: FacetOptions);
  key: string | null;
  timeoutMs: number;
  retries: number;
  maxWaitMs: number;
  url(path: string, options?: PredictOptions): URL;
  predict(photo: Photo, options?: PredictOptions): Promise<PredictAnswer>;
  predictBatch(photos: Iterable<Photo>, options?: PredictOptions): Promise<BatchAnswer>;
  model(options?: CallOptions): Promise<ModelCard>;
  health(options?: CallOptions): Promise<Health>;
  stream(options?: StreamOptions): FacetStream;
}

export class FacetStream {
  private constructor();
  readonly ready: Promise<StreamReady>;
  readonly closed: Promise<FacetError | null>;
  readonly over: boolean;
  send(jpeg: Photo): Promise<StreamFrame | null>;
  close(): void;
}
