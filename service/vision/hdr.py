"""Pictures in a transfer function of high dynamic range (PQ, HLG) to sRGB."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from service.arrays import Floats, Pixels

PQ: Final = 16
"""Transfer characteristics of SMPTE ST 2084, by their number in ITU-T H.273, table 3."""
HLG: Final = 18
"""Those of ARIB STD-B67."""
BT2020: Final = 9
"""Colour primaries of BT.2020, by their number in H.273, table 2."""
DISPLAY_P3: Final = 12
"""Those of SMPTE EG 432-1."""

WHITE_NITS: Final = 203.0
"""Luminance of diffuse white, which becomes the white of sRGB (ITU-R BT.2408, 2.1)."""
HLG_PEAK_NITS: Final = 1000.0
"""Peak of the display that HLG is shown on: BT.2100's nominal one, whose system gamma is 1.2."""
KNEE: Final = 0.5
"""Share of diffuse white below which nothing is changed; faces lie below it, highlights above."""
_HIGHLIGHTS: Final = 0.999
"""Share of the pixels that lie below what becomes white."""
_STRIP_PIXELS: Final = 2**15
_STEPS: Final = 4096

_TO_SRGB: Final[dict[int, Floats]] = {
    BT2020: np.array(  # ITU-R BT.2087, table 2
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
    ),
    DISPLAY_P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32),
}
_LUMA_2020: Final = np.array([0.2627, 0.6780, 0.0593], np.float32)


def is_hdr(transfer: int) -> bool:
    """Whether a transfer function is one of those that are mapped.

    Args:
        transfer: Its number in H.273, table 3.

    Returns:
        Whether it is.
    """
    return transfer in (PQ, HLG)


def tone_map(pixels: Pixels, transfer: int, primaries: int) -> Pixels:
    """Bring pixels to sRGB, in strips.

    The light of each is taken from its code (ITU-R BT.2100, tables 4 and 5) and its colour to sRGB's primaries. Up to `KNEE`
    of diffuse white it stays; above, the extended curve of Reinhard et al. ("Photographic tone reproduction for digital
    images", SIGGRAPH 2002) brings the picture's highlights to white, by the greatest of the three channels, so that hues
    stay. A picture without highlights above diffuse white comes out as it was before it was encoded.

    Args:
        pixels: uint8 RGB [H, W, 3].
        transfer: `PQ` or `HLG`.
        primaries: Its primaries' number in H.273, table 2; any but those of BT.2020 and Display P3 are taken for sRGB's.

    Returns:
        uint8 sRGB [H, W, 3].
    """
    rows = max(1, _STRIP_PIXELS // max(1, pixels.shape[1]))
    strips = [slice(top, top + rows) for top in range(0, len(pixels), rows)]
    counts = np.zeros(_STEPS, np.int64)
    span = _peak(transfer)
    for strip in strips:
        greatest = _linear(pixels[strip], transfer, primaries).max(axis=-1)
        counts += np.bincount((np.clip(greatest / span, 0, 1) * (_STEPS - 1)).astype(np.int64).ravel(), minlength=_STEPS)
    below = np.cumsum(counts) >= _HIGHLIGHTS * counts.sum()
    white = max(1.0, float((int(np.argmax(below)) + 1) / (_STEPS - 1)) * span)
    encoded, mapped = srgb_codes(), np.empty(pixels.shape, np.uint8)
    for strip in strips:
        linear = np.maximum(_linear(pixels[strip], transfer, primaries), 0)
        linear *= _gain(linear.max(axis=-1, keepdims=True), white)
        mapped[strip] = encoded[np.rint(np.clip(linear, 0, 1) * (len(encoded) - 1)).astype(np.int32)]
    return mapped


def _peak(transfer: int) -> float:
    """The most light that a code stands for, in parts of diffuse white."""
    return (10_000 if transfer == PQ else HLG_PEAK_NITS) / WHITE_NITS


def _linear(strip: Pixels, transfer: int, primaries: int) -> Floats:
    """Light of the three channels in sRGB's primaries, in parts of diffuse white; below 0 outside its gamut."""
    linear = _light(transfer)[strip]
    if transfer == HLG:  # the display's light: BT.2100, table 5, note 5e
        linear *= np.maximum(linear @ _LUMA_2020, 1e-6)[..., None] ** np.float32(0.2) * np.float32(_peak(HLG))
    matrix = _TO_SRGB.get(primaries)
    return linear if matrix is None else linear @ matrix.T


def _gain(greatest: Floats, white: float) -> Floats:
    """What light is multiplied by, so that `white` becomes 1."""
    above = np.maximum(greatest - KNEE, 0) / (1 - KNEE)
    most = (white - KNEE) / (1 - KNEE)
    mapped = KNEE + (1 - KNEE) * above * (1 + above / most**2) / (1 + above)
    return np.where(greatest > KNEE, mapped / np.maximum(greatest, KNEE), 1).astype(np.float32)


@lru_cache(maxsize=2)
def _light(transfer: int) -> Floats:
    """Light by code [256]: of PQ the display's, in parts of diffuse white; of HLG the scene's, 0 to 1."""
    code = np.arange(256) / 255
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        return np.asarray(_peak(PQ) * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1), np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12), np.float32)


@lru_cache(maxsize=1)
def srgb_codes() -> Pixels:
    """Codes of sRGB by light (IEC 61966-2-1).

    Returns:
        uint8 [65536], for light from 0 to 1 in equal steps.
    """
    light = np.linspace(0, 1, 16 * _STEPS)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * code), np.uint8)
