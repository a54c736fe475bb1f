/** Types of facet.js: the JSON contract of the service, and the client. */

/** Those of the contract, and what a model says beside them, under the name that its card declares. */
export type AttributeName = "age" | "gender" | "race" | (string & {});

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

/** Another number, in `unit`. The true one lies in `low` to `high`, bounds included, in a share `coverage` of cases. */
export interface ExpectationAnswer {
  value: number;
  unit: string;
  range: [number, number];
  low?: number;
  high?: number;
  coverage?: number;
  /** Probability of each of 101 values that are spread evenly over `range`. */
  distribution?: number[];
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
  /** Grey levels of 255. */
  noise: number;
  /** Standard deviation of the luma, 0 to 0.5. */
  contrast: number;
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
  /** What a model says beside them, by its name; `attributesOf` finds it. */
  [attribute: string]: unknown;
}

export interface ModelName {
  name: string;
  version: number;
}

export interface ImageSize {
  width: number;
  height: number;
  /** The photo as a small JPEG, a `data:` address; only where `preview` was asked for. */
  preview?: string;
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

/** What came of asking for another version of the model; `model` and `digest` are those in service now. */
export interface ReloadAnswer {
  outcome: "swapped" | "unchanged";
  model: ModelName;
  digest: string;
}

export interface Health {
  status: "ok" | "unavailable";
  model: ModelName;
  version: string;
  uptime_s: number;
  detail?: string;
}

/** What the network is fed: square crops of `size` pixels, cut by `template`, five points in fractions of the crop. */
export interface InputContract {
  size: number;
  template: Point[];
  color: "RGB";
}

/** Quantiles of the error for predictions below `below`, in the interval's unit. */
export interface IntervalBand {
  below: number;
  low: number;
  high: number;
}

/** How an expectation becomes an interval that holds the true one in a share `coverage` of cases. */
export interface AgeInterval {
  coverage: number;
  unit: "deviation" | "years" | "steps";
  bands: IntervalBand[];
}

/** How the tail of an age distribution becomes the probability of being at least so old. */
export interface AtLeastCalibration {
  slope: number;
  ages: number[];
  offsets: number[];
}

/** The threshold of faces whose predicted age is below `below` years. */
export interface ThresholdBand {
  below: number;
  threshold: number;
}

/** Thresholds of single labels and of bands of predicted age: the largest that applies to a face counts. */
export interface LabelThresholds {
  labels: Record<string, number>;
  bands: ThresholdBand[];
}

/** What was fitted for one attribute: labels have a temperature and thresholds, expectations the rest. */
export interface AttributeCalibration {
  temperature: number;
  threshold: number;
  thresholds: LabelThresholds;
  interval?: AgeInterval | null;
  at_least?: AtLeastCalibration | null;
}

/** One thing that the model says of a face: an expectation, in years or in `unit` over `range`, or the probabilities of `labels`. */
export interface Attribute {
  name: AttributeName;
  kind: "expectation" | "labels";
  labels: string[];
  range?: [number, number] | null;
  unit: string;
  /** The network's outputs; of an expectation with a distribution, two. */
  outputs: string[];
  calibration: AttributeCalibration;
}

/** How the answers to many frames of one face become one. */
export interface TrackCalibration {
  correlation: number;
  scale: number;
  gains: Record<string, number>;
  doublings: Record<string, number>;
}

/** How well one label is predicted, as shares. */
export interface LabelScores {
  precision: number;
  recall: number;
  f1: number;
}

/**
 * Figures of `count` pictures, such as `age_mae` in years or `gender_accuracy` as a share; under the name of an attribute, the
 * scores of each of its labels. Which there are goes by the attributes of the model; null is what could not be counted.
 */
export interface Figures {
  count: number;
  [key: string]: number | Record<string, LabelScores> | null;
}

/** Lower and upper bound of a figure's 95 % interval. */
export type Interval = [number, number];

/** Intervals by the key of their figure. */
export type Intervals = Record<string, Interval>;

/** Figures by attribute and by label or band of years. */
export type Groups = Record<string, Record<string, Figures>>;

export interface PartIntervals {
  headline: Intervals;
  found_only: Intervals;
  groups: Record<string, Record<string, Intervals>>;
}

/** Figures of the pictures that have no near-duplicate among those that the model was made with. */
export interface WithoutDuplicates {
  count: number;
  headline: Figures;
  intervals: Intervals;
}

/** Figures of one data set: of all pictures, of those in which a face was found, and of groups. */
/** A mean over faces, in years or as a share, with its 95 % interval. */
export interface Rate {
  value?: number | null;
  interval?: Interval | null;
}

/** Faces of one band of true ages: the share taken for adults, by the rule that decides. */
export interface AgeBand {
  count: number;
  adult: Record<string, Rate>;
}

/** How often a check for a least age errs, over the faces found. */
export interface AgeChecks {
  calibration_error: Record<string, number>;
  error_of_minors: Rate;
  bands: Record<string, AgeBand>;
  groups: Record<string, Record<string, AgeBand>>;
}

export interface Part {
  headline: Figures;
  found_only: Figures;
  groups: Groups;
  intervals: PartIntervals;
  mean_age_of_train?: number | null;
  means_of_train?: Record<string, number>;
  precisions?: Record<string, Figures>;
  without_duplicates?: WithoutDuplicates | null;
  age_checks?: AgeChecks | null;
}

/** A mean over films, and its 95 % interval. */
export interface Measured {
  value: number;
  interval: Interval;
}

/** Figures of tracks of so many frames, by key. */
export interface TrackFigures {
  frames: number;
  [key: string]: number | Measured | null;
}

/** What a mean over the frames of a track brings. */
export interface TrackEvaluation {
  data: string;
  precision: string;
  pictures: number;
  films: number;
  frames: number;
  correlation_of_errors?: number | null;
  tracks: TrackFigures[];
}

/** A model and its variant on the same faces: figures by arithmetic, and by expectation and band of its true values. */
export interface VariantPart {
  figures: Record<string, Figures>;
  bands?: Record<string, Record<string, Record<string, Figures>>>;
}

/** What a variant loses against the model itself in float32: by data set, of which `all` is all together. */
export interface VariantEvaluation {
  split: string;
  sets: Record<string, VariantPart>;
}

/** Everything that was measured of the model: on `data`, and, under `also`, on further data sets by name. */
export interface Evaluation extends Part {
  data: string;
  split: string;
  precision: string;
  also?: Record<string, Part>;
  tracks?: TrackEvaluation | null;
  variants?: Record<string, VariantEvaluation>;
}

export interface DetectorName {
  name: string;
  version: number;
}

/** A model that a request may name as `model`. */
export interface ServedName {
  name: string;
  version: number;
}

/** How the service serves the model; `attributes` are those that its operator allows, `models` those that a request may name, the default one first. */
export interface Serving {
  facet: string;
  runtime: string;
  precision: string;
  attributes: AttributeName[];
  min_confidence: number;
  max_faces: number;
  min_face_px: number;
  detection_side_px: number;
  detector: DetectorName;
  stream_detector?: DetectorName | null;
  models: ServedName[];
}

/** What is served, on what it was trained, and how good it is for whom; it only gains fields. */
export interface ModelCard {
  name: string;
  version: number;
  kind: string;
  architecture: string;
  created: string;
  licence: string;
  trained_on: string[];
  description: string;
  recipe?: string | null;
  provenance?: Record<string, unknown> | null;
  input?: InputContract | null;
  attributes: Attribute[];
  track?: TrackCalibration | null;
  evaluation?: Evaluation | null;
  digest: string;
  serving: Serving;
  /** @deprecated `attributes` names the outputs of each. */
  outputs: string[];
  /** @deprecated The labels of the attribute `gender`. */
  genders: string[];
  /** @deprecated The labels of the attribute `race`. */
  races: string[];
  /** @deprecated `attributes` has the calibration of each. */
  calibration: Record<string, unknown>;
  /** @deprecated `evaluation`, or nothing. */
  quality: Record<string, unknown>;
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
  /** NAME or NAME/VERSION of a model that is served; the default model if omitted. */
  model?: string;
  /** What is answered; all that the operator allows where not given. */
  attributes?: AttributeName[];
  /** Maximum number of faces; the largest are returned. */
  maxFaces?: number;
  /** Least confidence of a face, 0.5 to 1. */
  minConfidence?: number;
  landmarks?: boolean;
  /** Answer the probability of every age. */
  distribution?: boolean;
  /** Answer the photo, upright, as a small JPEG: `image.preview`, a `data:` address. */
  preview?: boolean;
  /** Ages from 1 to 99, at most 8: include the probability of being at least that old. */
  atLeast?: number[];
}

export interface StreamOptions {
  /** NAME or NAME/VERSION of a model that is served; the default model if omitted. */
  model?: string;
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

export interface ManyOptions extends PredictOptions {
  /** Photos in work at a time; 4 where not given. */
  concurrency?: number;
  /** Gets the number of photos that are done, after each. */
  onProgress?: (done: number) => void;
}

/** One photo of many: its answer, or why there is none. */
export type PhotoResult<P> = { index: number; photo: P; answer: PredictAnswer; error?: undefined } | { index: number; photo: P; answer?: undefined; error: unknown };

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

/** Everything that was answered of a face, by the name of the attribute: age, gender, race, and what the model says beside them. */
export function attributesOf(face: FaceAnswer): Record<string, AgeAnswer | ExpectationAnswer | LabelAnswer>;

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
  /** In Node a photo may be the path of its file. */
  predict(photo: Photo | string, options?: PredictOptions): Promise<PredictAnswer>;
  predictBatch(photos: Iterable<Photo | string>, options?: PredictOptions): Promise<BatchAnswer>;
  /** In Node a photo may be the path of its file. */
  predictMany<P extends Photo | string>(photos: Iterable<P> | AsyncIterable<P>, options?: ManyOptions): AsyncGenerator<PhotoResult<P>, void, void>;
  model(options?: CallOptions & { model?: string }): Promise<ModelCard>;
  reload(options?: CallOptions & { version?: number; model?: string }): Promise<ReloadAnswer>;
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
