"""Every setting, from the environment: FACET_ and the field's name in capitals."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import FacetError
from service.models.runtime import Precision, Runtime
from service.models.title import TITLE, ModelTitle
from service.vision.detection import MIN_CONFIDENCE, MIN_FACE_PX, SIDE_PX


def _listed(value: object) -> object:
    """A comma-separated string as a tuple of its stripped parts."""
    return tuple(part for part in (part.strip() for part in value.split(",")) if part) if isinstance(value, str) else value


_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT_STORE = _PACKAGE.parent / "model_store"
DEFAULT_STORE = _CHECKOUT_STORE if _CHECKOUT_STORE.is_dir() else _PACKAGE / "model_store"
"""The checkout's model store; where there is no checkout, the one that travels in the package."""

Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


def _not_empty(value: object) -> object:
    """A path as it is. Raises `ValueError` where it is empty: it would be the folder that the service happens to start in."""
    if value == "":
        raise ValueError("it is set, but names nothing; leave it out")
    return value


def _place(value: object) -> object:
    """A folder, or an address as it is. Raises `ValueError` where it is empty."""
    given = _not_empty(value)
    return Path(given) if isinstance(given, str) and "://" not in given else given


class CanaryShare(NamedTuple):
    """A model, and the share, 0 to 1, of requests that it answers in the default one's place."""

    model: ModelTitle
    share: float


def _told(words: str) -> WrapValidator:
    """What refuses a text of another form than its pattern with words in the pattern's place."""

    def check(value: object, pattern: ValidatorFunctionWrapHandler) -> object:
        try:
            return pattern(value)
        except ValidationError as error:
            raise ValueError(f"it has to be {words}") from error

    return WrapValidator(check)


def _bare(name: str) -> str:
    """A model's name as it is. Raises `ValueError` where it has a version, as other settings may."""
    if "/" in name:
        raise ValueError(f"{name!r} has a version: give its number as FACET_MODEL_VERSION, or both as FACET_MODELS")
    return name


def _titles(value: object) -> object:
    """Models out of a comma-separated string. Raises `ValueError` where a name comes twice."""
    listed = _listed(value)
    if not isinstance(listed, tuple):
        return listed
    titles = tuple(ModelTitle.of(one) if isinstance(one, str) else one for one in listed)
    if len({one[0] for one in titles}) < len(titles):
        raise ValueError("each name may come once")
    return titles


def _canary(value: object) -> object:
    """NAME/VERSION:SHARE. Raises `ValueError` where it is not."""
    if not isinstance(value, str):
        return value
    title, colon, share = value.rpartition(":")
    try:
        named = CanaryShare(ModelTitle.of(title), float(share))
    except ValueError as error:
        raise ValueError(f"{value!r} is no canary, NAME/VERSION:SHARE such as mobilenet/5:0.05") from error
    if not colon or named.model.version is None or not 0 < named.share <= 1:
        raise ValueError(f"{value!r} is no canary, NAME/VERSION:SHARE with a share above 0 and of at most 1")
    return named


def _keys(value: object) -> object:
    """Keys as `_listed` reads them. Raises `ValueError` where something was given, and it holds no key that can be sent."""
    keys = _listed(value)
    if isinstance(value, str) and not keys:
        raise ValueError("it is set, but holds no key; leave it out to serve everybody")
    if isinstance(keys, tuple | list) and not all(str(key).isprintable() for key in keys):
        raise ValueError("it holds a key with a character that no header can carry")
    return keys


def _origin(value: str) -> str:
    """An origin as browsers send it: in small letters, without its scheme's own port. Raises `ValueError` where it is none."""
    value = value.lower()
    parts = urlsplit(value)
    origin = value[:-1] if parts.path == "/" else value
    plain = origin == f"{parts.scheme}://{parts.netloc}" and parts.netloc.isascii() and not set("@*") & set(parts.netloc)
    if value != "*" and not (parts.netloc and plain):
        raise ValueError(f"{value!r} is no origin, such as https://example.org")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, "/"))


def _proxy(value: str) -> str:
    """Addresses as uvicorn takes them. Raises `ValueError` for what it would take for a name, which no client has."""
    if value != "*":
        try:
            ip_network(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no address or network, such as 10.0.0.0/8") from error
    return value


def _all_or_some(proxies: tuple[str, ...]) -> tuple[str, ...]:
    """`*` alone where it is among them: uvicorn takes it for a name beside others, and would trust nobody by it."""
    return ("*",) if "*" in proxies else proxies


def _none_or(least: float) -> AfterValidator:
    """What refuses a number between 0, which stands for none, and the `least` that is one."""

    def check(value: float) -> float:
        if 0 < value < least:
            raise ValueError(f"it has to be 0, or {least:g} at least")
        return value

    return AfterValidator(check)


_MOST_S: Final = 1e9
"""Most seconds that a setting may say: 31 years, which every wait of the system can count."""

Seconds = Annotated[float, Field(gt=0, le=_MOST_S)]
Megapixels = Annotated[float, Field(ge=0.001, le=1000)]
NamedPath = Annotated[Path, BeforeValidator(_not_empty)]
DetectorTitle = Annotated[str, Field(pattern=f"^{TITLE}$"), _told("NAME or NAME/VERSION, such as centerface/2")]
Digest = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), _told("a SHA-256 of 64 hexadecimal digits")]
WebAddress = Annotated[str, Field(pattern="^https?://[^/]"), _told("an address such as http://collector:4318")]
Titles = Annotated[tuple[ModelTitle, ...], NoDecode, BeforeValidator(_titles)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_keys)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_listed)]
Proxies = Annotated[
    tuple[Annotated[str, AfterValidator(_proxy)], ...], NoDecode, BeforeValidator(_listed), AfterValidator(_all_or_some)
]
Systems = Annotated[
    tuple[Literal["deepface", "rekognition", "compreface", "insightface", "kserve", "sagemaker"], ...],
    NoDecode,
    BeforeValidator(_listed),
]

OF_SCRIPTS: Final = frozenset({"BIN", "CLIENT_KEY", "KEYED_URL", "URL"})
"""Names, after the prefix, by which scripts and workflows know where the command and a service are; they set nothing here."""

_INJECTED: Final = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""Names, after the prefix, that Kubernetes and Docker make of services and links, of which one may be called `facet`."""


_MODEL: Final = "mobilenet"
"""The model that is served unless another one is named."""
_MOST_MIB: Final = 2**30
"""Most MiB that a setting may say: more than any machine has, and few enough to be counted in bytes."""


class Settings(BaseSettings):
    """Frozen; read by the app, what loads its models and the command line alone. Every other part is given values."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_", frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    host: str = "0.0.0.0"  # noqa: S104 - a container serves on all its addresses
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum severity that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log: lines for people, or one JSON document per line."""
    otlp_endpoint: WebAddress | None = None
    """Address of a collector that gets spans over OTLP/HTTP, such as `http://collector:4318`; none are made where not set."""
    trace_ratio: float = Field(default=1, ge=0, le=1)
    """Share, 0 to 1, of traces that begin here and are kept; one that began elsewhere is kept as its `traceparent` says."""

    model_store: Annotated[Path | str, BeforeValidator(_place)] = DEFAULT_STORE
    """Folder of models, NAME/VERSION each, or an address such as `s3://bucket/models` (extra `remote`)."""
    model_cache: NamedPath | None = None
    """Folder for copies of models behind an address, which serve while it cannot be read; a temporary one where not set."""
    model: Annotated[str, AfterValidator(_bare)] = _MODEL
    """Name of the attribute model that is served."""
    model_version: int | None = Field(default=None, ge=1)
    """Version of it; the newest where not set."""
    model_digest: Digest | None = None
    """SHA-256 that the model's manifest must have, or, with `FACET_PRECISION=int8`, its variant's document; not checked where
    not set. Where one is set, `FACET_PRECISION=auto` takes no int8 variant of that model: the digest covers none."""
    models: Titles = ()
    """Models that are served, NAME or NAME/VERSION each, chosen by `?model=NAME`; the first answers by default, in the place of
    `FACET_MODEL`."""
    canary: Annotated[CanaryShare | None, NoDecode, BeforeValidator(_canary)] = None
    """Model that answers a share of the requests in the place of the default one, NAME/VERSION:SHARE; their ids decide."""
    model_poll_s: Annotated[float, _none_or(0.01)] = Field(default=0, ge=0, le=_MOST_S)
    """Seconds between checks of the store for another version, which then replaces the one in service;
    0 checks only at start and on SIGHUP."""
    detector: DetectorTitle = "centerface"
    """Detector model that finds the faces: `centerface`, `mtcnn`, or another of the store; NAME or NAME/VERSION, the newest
    version where none is named."""
    stream_detector: DetectorTitle | None = None
    """Detector of streams and of `facet annotate`, if it is to differ from that of photos."""
    runtime: Runtime = Runtime.AUTO
    """Library that runs the networks: `openvino`, `tensorflow`, or `auto` for the first of them that is installed."""
    precision: Precision = Precision.AUTO
    """Arithmetic of the attribute network: `f32`, `bf16`, `int8` of models that have this variant, or `auto`. That is an int8
    variant that loses nothing, else bf16 where the CPU has it, else f32; each must get the golden answers right. Heads are
    proposed in it, too. The default detector reads boxes and landmarks in bf16 where the CPU has it, unless this is `f32`."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads of one network; 0 takes the CPUs that the container may use."""

    attributes: Listed | None = Field(default=None, min_length=1)
    """Attributes that may be requested, all of the model where not set; others are refused with 422."""
    max_faces: int = Field(default=100, ge=1, le=1000)
    """Maximum number of faces returned for one photo; the largest are kept."""
    min_confidence: float = Field(default=MIN_CONFIDENCE, ge=0.5, le=1)
    """Confidence, 0.5 to 1, below which a face is not returned, unless a request says otherwise."""
    min_face_px: float = Field(default=MIN_FACE_PX, ge=12, le=1000)
    """Size of the smallest face that is detected, in pixels of the picture that is searched."""
    detection_side_px: int = Field(default=SIDE_PX, ge=64, le=8192)
    """Longest side of the picture that is searched, in pixels; larger photos are reduced to it."""

    max_megapixels: Megapixels = 64
    """Largest photo in millions of pixels."""
    max_body_mib: float = Field(default=20, gt=0, le=_MOST_MIB)
    """Largest body of a request, in MiB."""
    max_batch_mib: float = Field(default=64, gt=0, le=_MOST_MIB)
    """Largest body of a batch request, in MiB."""
    max_batch_files: int = Field(default=32, ge=1, le=1000)
    """Maximum number of photos in one batch request."""
    max_bodies_mib: float = Field(default=192, gt=0, le=_MOST_MIB)
    """Total size of the request bodies in memory at a time, in MiB; more are refused with 503."""
    body_timeout_s: Seconds = 15
    """Seconds in which a body must arrive; a slower one must keep the minimum rate from then on."""
    body_min_kib_s: float = Field(default=32, ge=0.001, le=_MOST_MIB)
    """Minimum rate of a body that takes longer, in KiB per second; one that falls behind is refused with 408."""
    head_timeout_s: Seconds = 10
    """Seconds in which a request's line and headers must have arrived, and in which a new connection must send some."""
    max_head_kib: int = Field(default=32, ge=4, le=1024)
    """Maximum size of a request's line and headers together, in KiB; more, or more than 100 headers, are refused with 431."""
    max_connections: int = Field(default=768, ge=8, le=65536)
    """Maximum number of connections, or what the process may open less 128; a further one replaces one that waits."""
    trusted_proxies: Proxies = ("127.0.0.1", "::1")
    """Addresses and networks of proxies whose `X-Forwarded-For` says who the client is; `*` for all."""
    deadline_s: Seconds = 10
    """Seconds in which a photo is answered, from its body's arrival or, in a batch, from its turn; later ones are dropped."""
    batch_deadline_s: Seconds = 55
    """Seconds, from the body's arrival, in which a whole batch is answered; less than a load balancer's own 60."""
    memory_mib: int = Field(default=0, ge=0, le=_MOST_MIB)
    """Memory that the service may use, in MiB; 0 takes the container's limit, or half of the machine's where it has none."""
    workers: int = Field(default=0, ge=0, le=256)
    """Threads that decode and search photos; 0 takes the CPUs of the container, or fewer where its memory is short."""
    photo_queue: int = Field(default=32, ge=0)
    """Photos that may wait for a worker; more are refused with 503."""
    photo_wait_s: Seconds = 0.75
    """Seconds that a photo may have to wait, by the mean of the last ones, where more than four wait for each worker."""
    face_queue: int = Field(default=512, ge=1)
    """Faces that may wait for the network; more are refused with 503."""

    max_streams: int = Field(default=8, ge=0, le=1000)
    """Live streams that may be open at a time; more are closed with 1013, and with 0 there are none."""
    stream_max_fps: float = Field(default=15, ge=0.001, le=120)
    """Maximum number of frames per second that are processed for one stream; of more, the newest."""
    stream_max_frame_kib: int = Field(default=1024, ge=16, le=65536)
    """Largest frame of a stream, in KiB."""
    stream_max_megapixels: Megapixels = 4
    """Largest frame of a stream in millions of pixels."""
    stream_deadline_s: Seconds = 1
    """Seconds, from when its turn comes, in which a frame is answered; one that still waits then is dropped with a problem."""
    stream_idle_s: Seconds = 30
    """Seconds without a message after which a stream is closed with 4001."""
    stream_duration_s: Seconds = 3600
    """Seconds after which a stream is closed with 4000; the client may open another one."""

    api_keys: Secrets = ()
    """API keys, of which a client must send one; open to everybody where none is set."""
    operator_keys: Secrets = ()
    """Keys, of which `POST /model/reload` requires one; the route does not exist where none is set."""
    rate_limit: Annotated[float, _none_or(0.0001)] = Field(default=0, ge=0, le=1e9)
    """Requests a minute for each key, in bursts of as many; 0 sets no limit. A stream counts once, when it is opened, and a
    request that is answered with 503 not at all.
    """
    cors_origins: Origins = ()
    """Origins whose pages may call the service, such as `https://example.org`; `*` for all."""
    compat: Systems = ()
    """Systems whose clients are supported: `deepface`, `rekognition`, `compreface` and `insightface` below `/compat/NAME`,
    `kserve` at `/v2`, `sagemaker` at `/ping` and `/invocations`; none where not set."""
    page: bool = True
    """Whether the web page is served at `/`."""
    tls: bool = False
    """Whether to serve HTTPS instead of HTTP, with a certificate that the service makes itself where none is given."""
    tls_certificate: NamedPath | None = None
    """Certificate chain for HTTPS, as PEM; goes with its key, and both are read anew on SIGHUP."""
    tls_key: NamedPath | None = None
    """Private key of the certificate, as PEM."""
    drain_delay_s: float = Field(default=5, ge=0, le=600)
    """Seconds, from SIGTERM, in which requests are still accepted while readiness already fails."""
    shutdown_timeout_s: float = Field(default=20, ge=0, le=600)
    """Seconds, after that, in which accepted requests may finish."""
    keep_alive_s: int = Field(default=75, ge=1, le=3600)
    """Seconds for which an idle connection stays open; longer than a load balancer's own 60."""

    @property
    def served(self) -> tuple[ModelTitle, ...]:
        """Models that are served, the default one first."""
        return self.models or (ModelTitle(self.model, self.model_version),)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.models and (self.model_version is not None or self.model not in (self.models[0].name, _MODEL)):
            raise ValueError("FACET_MODELS takes the place of FACET_MODEL and FACET_MODEL_VERSION: leave them out")
        if self.rate_limit and not self.api_keys:
            raise ValueError("FACET_RATE_LIMIT is for each key: set FACET_API_KEYS too")
        if max(self.max_body_mib, self.max_batch_mib) > self.max_bodies_mib:
            raise ValueError("FACET_MAX_BODIES_MIB must be at least FACET_MAX_BODY_MIB and FACET_MAX_BATCH_MIB")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("FACET_TLS_CERTIFICATE and FACET_TLS_KEY go together")
        return self


def check_names(environment: Mapping[str, str]) -> None:
    """Refuse names that look like settings and are none: who misspells `FACET_API_KEYS` would serve everybody.

    Args:
        environment: Variables by name. Those that Kubernetes and Docker add for a service called `facet` are let pass, and
            those by which scripts know where a service is.

    Raises:
        FacetError: A name begins with `FACET_` and no setting has it; the message says which is nearest.
    """
    prefix = Settings.model_config["env_prefix"]
    known = {prefix + name.upper() for name in Settings.model_fields}
    for name in sorted(environment):
        given = name.upper()
        word = given.removeprefix(prefix)
        if given.startswith(prefix) and given not in known and word not in OF_SCRIPTS and not _INJECTED.fullmatch(word):
            nearest = difflib.get_close_matches(given, known, 1, 0)
            raise FacetError(f"there is no setting {name}; did you mean {nearest[0]}?")
