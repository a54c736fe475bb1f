"""Tone mapping, on pictures of standard range that are encoded in PQ and HLG by the formulas of BT.2100."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from service.arrays import Pixels
from service.vision import hdr
from service.vision.image import decode
from tests.conftest import encoded

TURNED_HEIC = Path(__file__).parent / "data" / "turned.heic"


def light_of(pixels: Pixels) -> npt.NDArray[np.float64]:
    code = pixels / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def in_primaries(light: npt.NDArray[np.float64], primaries: int) -> npt.NDArray[np.float64]:
    """sRGB's light in other primaries (ITU-R BT.2087 has the way back)."""
    if primaries != hdr.BT2020:
        return light
    return light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T


def codes_of(light: npt.NDArray[np.float64], transfer: int) -> npt.NDArray[np.float64]:
    """Codes, 0 to 1, of light in parts of diffuse white, 203 nits."""
    nits = 203 * light
    if transfer == hdr.PQ:
        power = (nits / 10_000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    luma = np.maximum((nits @ [0.2627, 0.6780, 0.0593]) / 1000, 1e-9)[..., None]
    scene = nits / 1000 * luma ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def as_bytes(codes: npt.NDArray[np.float64]) -> Pixels:
    return np.rint(255 * np.clip(codes, 0, 1)).astype(np.uint8)


def everyday(height: int = 300, width: int = 200) -> Pixels:
    """Every hue in smooth steps, from black to white."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 127 + 127 * np.sin((x + y) / 40)], -1).astype(np.uint8)


@pytest.mark.parametrize("primaries", [1, hdr.BT2020])
@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_a_picture_of_standard_range_comes_back_near_itself(transfer: int, primaries: int) -> None:
    picture = everyday()
    pixels = as_bytes(codes_of(in_primaries(light_of(picture), primaries), transfer))
    assert np.abs(pixels.astype(int) - picture).mean() > 12
    pixels = hdr.tone_map(pixels, transfer, primaries)
    difference = np.abs(pixels.astype(int) - picture)
    assert difference.mean() < 3
    assert np.percentile(difference, 99) <= 12  # eight bits of PQ have steps of up to six near white, of one primary more


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_highlights_are_compressed_and_what_is_below_stays(transfer: int) -> None:
    nits = np.linspace(0, 1000, 256)
    grey = np.repeat((nits / 203)[None, :, None], 3, axis=2).repeat(64, axis=0)
    pixels = as_bytes(codes_of(grey, transfer))
    pixels = hdr.tone_map(pixels, transfer, hdr.BT2020)
    row = pixels[0].astype(int)
    assert np.ptp(row, axis=1).max() <= 2
    assert (np.diff(row[:, 1]) >= 0).all()
    assert row[-1].min() >= 250
    assert row[nits > 300, 1].max() - row[nits > 300, 1].min() > 10  # not all white
    expected = 255 * (1.055 * np.clip(nits / 203, 0.0031308, 1) ** (1 / 2.4) - 0.055)
    below = (nits > 5) & (nits < 0.95 * hdr.KNEE * 203)
    assert np.abs(row[below, 1] - expected[below]).max() <= 8


def test_the_result_does_not_depend_on_the_strips() -> None:
    picture = as_bytes(codes_of(light_of(everyday(400, 300)) * 3, hdr.PQ))
    whole = picture.copy()
    whole = hdr.tone_map(whole, hdr.PQ, 1)
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    turned = hdr.tone_map(turned, hdr.PQ, 1)
    assert np.array_equal(turned.transpose(1, 0, 2), whole)


def avif(codes: npt.NDArray[np.float64], transfer: int, path: Path) -> bytes:
    """Ten bits in BT.2020, as cameras write them."""
    av = pytest.importorskip("av")
    with av.open(path, "w") as container:
        stream = container.add_stream("libsvtav1", rate=1, options={"crf": "5", "preset": "10"})
        stream.height, stream.width = codes.shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = hdr.BT2020, transfer, 9, 1
        frame = av.VideoFrame.from_ndarray(np.rint(65535 * np.clip(codes, 0, 1)).astype(np.uint16), format="rgb48le")
        container.mux(stream.encode(frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=1)))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_an_avif_of_high_dynamic_range_is_mapped(transfer: int, tmp_path: Path) -> None:
    picture = everyday(256, 192)
    data = avif(codes_of(in_primaries(light_of(picture), hdr.BT2020), transfer), transfer, tmp_path / "photo.avif")
    found = decode(data, max_pixels=10**6, side=1280).pixels
    difference = np.abs(found.astype(int) - picture)
    assert difference.mean() < 7
    assert np.percentile(difference, 95) <= 20
    # One that says it is of standard range is left as it is.
    plain = data.replace(b"colrnclx\x00\x09" + transfer.to_bytes(2, "big"), b"colrnclx\x00\x09\x00\x01")
    assert np.abs(decode(plain, max_pixels=10**6, side=1280).pixels.astype(int) - picture).mean() > 12


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_a_heic_of_high_dynamic_range_is_mapped(transfer: int) -> None:
    data = TURNED_HEIC.read_bytes()
    pixels = decode(data, max_pixels=10**6, side=1280).pixels
    declared = data.replace(b"colrnclx\x00\x01\x00\x0d", b"colrnclx\x00\x09\x00" + bytes([transfer]))
    assert declared != data
    pixels = hdr.tone_map(pixels, transfer, hdr.BT2020)
    assert np.array_equal(decode(declared, max_pixels=10**6, side=1280).pixels, pixels)


def test_a_png_of_high_dynamic_range_is_mapped_whatever_profile_it_has() -> None:
    picture = everyday(64, 48)
    codes = as_bytes(codes_of(light_of(picture), hdr.PQ))
    body = b"cICP" + bytes([1, hdr.PQ, 0, 1])
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    plain = encoded(codes, "PNG")
    declared = plain[:33] + chunk + plain[33:]
    mapped = decode(declared, max_pixels=10**6, side=1280).pixels
    assert np.abs(mapped.astype(int) - picture).mean() < 3
    profile = io.BytesIO()
    Image.fromarray(codes).save(profile, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profiled = profile.getvalue()  # for readers that know no cICP
    assert np.array_equal(decode(profiled[:33] + chunk + profiled[33:], max_pixels=10**6, side=1280).pixels, mapped)
