"""What scanners write is brought into a window: `--window`, or the one that a DICOM names.

pytest tests/unit/test_scans.py
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.cli import parse
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format import shards
from i2i_core.data.format.manifest import Manifest
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.images.codec import ImageOptions, decode
from i2i_core.images.scanner import ShallowError, read_windowed
from i2i_core.settings import flag
from pipelines import shard as shard_program
from pipelines.shard import MakeOptions, _shard

from ..support.data import put, sample, shard
from ..support.pictures import noise, npy, saved
from ..support.scans import BIG, EXPLICIT, IMPLICIT, JPEG, dicom, slices

LOW, HIGH = -1000.0, 1000.0


def expected(values: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    return np.rint((np.clip(values.astype(np.float64), low, high) - low) / (high - low) * 65535).astype(np.uint16)


def tiff(x: np.ndarray) -> bytes:
    return saved(Image.fromarray(x), "TIFF")


def signed_tiff() -> bytes:
    """Signed 16 bits: Pillow writes them as unsigned, so its tag is changed."""
    out = io.BytesIO()
    Image.fromarray(slices("int16").view(np.uint16)).save(out, "TIFF", tiffinfo={339: 2})
    return out.getvalue()


SCANS = {
    "signed 16-bit TIFF": (signed_tiff, slices("int16")),
    "32-bit TIFF": (lambda: tiff(slices("int32")), slices("int32")),
    "float TIFF": (lambda: tiff(slices("float32")), slices("float32")),
    "16-bit PNG": (lambda: saved(Image.fromarray(slices().clip(0).astype(np.uint16))), slices().clip(0)),
    "npy of int16": (lambda: npy(slices("int16")), slices("int16")),
    "npy of float64": (lambda: npy(slices("float64")), slices("float64")),
    "DICOM": (lambda: dicom(slices()), slices()),
}


@pytest.mark.parametrize("name", SCANS)
def test_window_clips_and_spreads_the_values(name: str) -> None:
    make, values = SCANS[name]
    found = read_windowed(make(), "x", LOW, HIGH)
    assert found.dtype == np.uint16
    assert np.array_equal(found[..., 0], expected(values))
    assert found.min() == expected(values).min()
    assert found.max() == 65535


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "npy", "DICOM"])
def test_window_is_refused_for_8_bits(kind: str) -> None:
    x = noise(8, 8)
    data = {"npy": npy(x), "DICOM": dicom(x)}.get(kind) or saved(x, kind)
    with pytest.raises(ShallowError, match="8 bits"):
        read_windowed(data, "x", LOW, HIGH)


def test_window_refuses_nan() -> None:
    x = slices("float32")
    x[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        read_windowed(npy(x), "npy", LOW, HIGH)


# ---- DICOM ----


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_dicom_is_shown_in_its_own_window(syntax: str) -> None:
    """Stored with an offset of 1024 and a slope of 2; the window is that of the first of two pairs."""
    stored = ((slices() + 1024) // 2).astype(np.uint16)
    data = dicom(stored, syntax, slope=2, intercept=-1024, centre="40\\300", width="400\\900", stored=12, high=11)
    measured = stored.astype(int) * 2 - 1024
    assert np.array_equal(decode(data, "dcm")[..., 0], expected(measured, 40 - 200, 40 + 199))
    assert np.array_equal(read_windowed(data, "", LOW, HIGH)[..., 0], expected(measured))


def test_dicom_has_no_bits_but_its_own() -> None:
    """Twelve bits with a sign, and an overlay in the bits above."""
    values = (slices() // 4).astype(np.int16)
    stored = ((values & 0x0FFF) | 0x5000).astype(np.int16)
    found = read_windowed(dicom(stored, stored=12, high=11), "dcm", -1000, 1000)
    assert np.array_equal(found[..., 0], expected(values))


def test_dicom_in_which_the_lowest_value_is_white_is_turned_round() -> None:
    x = dicom(slices(), colours="MONOCHROME1", centre=0.5, width=2001)
    assert np.array_equal(decode(x, "dcm")[..., 0], 65535 - expected(slices(), -1000, 1000))
    grey = noise(8, 8, 1)[..., 0]
    assert np.array_equal(decode(dicom(grey, colours="MONOCHROME1"), "dcm")[..., 0], 255 - grey)


def test_dicom_in_colour_stays_as_it_is() -> None:
    x = noise(6, 5)
    assert np.array_equal(decode(dicom(x), "dcm"), x)
    planes = np.ascontiguousarray(x.transpose(2, 0, 1)).reshape(6, 5, 3)
    assert np.array_equal(decode(dicom(planes, planar=1), "dcm"), x)


REFUSED: dict[str, tuple[Any, str]] = {
    "compressed": (lambda: dicom(slices(), JPEG), r"compressed DICOM .*gdcmconv --raw IN OUT"),
    "no window": (lambda: dicom(slices()), "names no window to show; --window LOW HIGH of shard.py"),
    "frames": (lambda: dicom(slices(), frames=3), "3 frames; save each as a file"),
    "palette": (lambda: dicom(noise(4, 4, 1)[..., 0], colours="PALETTE COLOR"), "grey and RGB are read"),
    "too few bytes": (lambda: dicom(slices(), rows=99), "in 512 bytes, which are 3168"),
    "a bomb": (lambda: dicom(slices(), rows=65535, columns=65535), "over the limit"),
    "strange bits": (lambda: dicom(slices(), stored=12, high=15), "which are not the lowest ones"),
    "no rows": (lambda: dicom(slices(), rows=None), "Rows"),
    "cut off": (lambda: dicom(slices())[:140], "does not say how it is encoded"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_dicom_that_is_not_read_says_why(case: str) -> None:
    make, says = REFUSED[case]
    with pytest.raises(ValueError, match=says):
        decode(make(), "dcm")


def test_dicom_that_is_compressed_is_read_when_the_advice_was_followed() -> None:
    pydicom = pytest.importorskip("pydicom")
    data = dicom(slices(), centre=0.5, width=2001)
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    out = io.BytesIO()
    ds.save_as(out)
    with pytest.raises(ValueError, match=r"ds\.decompress\(\)"):
        decode(out.getvalue(), "dcm")
    ds = pydicom.dcmread(io.BytesIO(out.getvalue()))
    ds.decompress(generate_instance_uid=False)
    plain = io.BytesIO()
    ds.save_as(plain)
    assert np.array_equal(decode(plain.getvalue(), "dcm"), decode(data, "dcm"))


def test_dicom_names_the_package_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ValueError, match="pip install pydicom"):
        decode(dicom(slices()), "dcm")


# ---- shard.py ----


def made(folder: Path, *flags: str) -> Manifest:
    words = ["--layout", "unpaired", "--input", str(folder / "in"), "--out", str(folder / "out"), *flags]
    return _shard(parse(MakeOptions(), "shard.py", words).located)[0]


def write(folder: Path, data: bytes, ending: str) -> None:
    for side in ("trainA", "trainB"):
        (folder / "in" / side).mkdir(parents=True, exist_ok=True)
        (folder / "in" / side / f"1.{ending}").write_bytes(data)


@pytest.mark.parametrize(("name", "ending"), [("32-bit TIFF", "tif"), ("float TIFF", "tif"), ("npy of int16", "npy")])
def test_sharding_names_the_window_and_takes_it(name: str, ending: str, tmp_path: Path) -> None:
    make, values = SCANS[name]
    write(tmp_path, make(), ending)
    with pytest.raises(DataError, match=r"--window LOW HIGH of shard\.py"):
        made(tmp_path)
    manifest = made(tmp_path, "--window", "-1000", "1000")
    assert (manifest.fields["image"].dtype, manifest.fields["image"].extension) == ("uint16", "png")
    assert manifest.made_by["images"]["window"] == [-1000, 1000]
    assert np.array_equal(sample(tmp_path / "out", "1", "train", "A")[0][..., 0], expected(values))


def test_sharding_reads_dicom_without_an_ending_in_its_own_window(tmp_path: Path) -> None:
    """As scanners name files: IM0001."""
    for side in ("trainA", "trainB"):
        (tmp_path / "in" / side).mkdir(parents=True)
        (tmp_path / "in" / side / "IM0001").write_bytes(dicom(slices(), centre=0.5, width=2001))
    assert "window" not in made(tmp_path).made_by["images"]
    assert np.array_equal(sample(tmp_path / "out", "IM0001", "train", "A")[0][..., 0], expected(slices()))


def test_sharding_names_and_counts_dicoms_of_several_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, dicom(slices(), centre=0.5, width=2001), "dcm")
    (tmp_path / "in/trainA/ct.dcm").write_bytes(dicom(slices(), frames=3))
    with pytest.raises(DataError, match=r"ct\.dcm: found .*a DICOM of 3 frames; save each as a file of its own"):
        made(tmp_path)
    words = ["--layout", "unpaired", "--input", f"{tmp_path}/in", "--out", f"{tmp_path}/out", "--bad", "skip"]
    monkeypatch.setattr(sys, "argv", ["shard.py", *words, "--workers", "0"])
    assert shard_program.run() == 0
    said = capsys.readouterr().out
    assert "left out, 1" in said
    assert "trainA/ct.dcm: a file that cannot be decoded (a DICOM of 3 frames; save each as a file of its own)" in said


def test_sharding_refuses_a_window_for_images_of_8_bits(tmp_path: Path) -> None:
    for side in ("trainA", "trainB"):
        put(tmp_path / f"in/{side}/1.png", noise(4, 4))
    with pytest.raises(ConfigError, match="Leave --window out"):
        made(tmp_path, "--window", "0", "1000", "--bad", "skip")
    assert made(tmp_path).fields["image"].dtype == "uint8"


def test_sharding_takes_a_window_for_one_domain_beside_photos(tmp_path: Path) -> None:
    """The photos keep their colours, in 16 bits: a field has one type in both domains."""
    write(tmp_path, SCANS["float TIFF"][0](), "tif")
    (tmp_path / "in/trainB/1.tif").unlink()
    put(tmp_path / "in/trainB/1.png", noise(4, 4))
    with pytest.raises(ConfigError, match="Leave --window out"):
        made(tmp_path, "--window", "-1000", "1000")
    with pytest.raises(ConfigError, match="Leave --window-b out"):
        made(tmp_path, "--window-a", "-1000", "1000", "--window-b", "0", "9")
    manifest = made(tmp_path, "--window-a", "-1000", "1000", "--channels", "1", "--overwrite")
    assert manifest.fields["image"].dtype == "uint16"
    assert manifest.made_by["images"]["window_a"] == [-1000, 1000]
    assert not {"window", "window_b"} & set(manifest.made_by["images"])
    a, b = (sample(tmp_path / "out", "1", "train", domain)[0][..., 0] for domain in "AB")
    assert np.array_equal(a, expected(SCANS["float TIFF"][1]))
    shutil.copytree(tmp_path / "in/trainB", tmp_path / "in/trainA", dirs_exist_ok=True)
    (tmp_path / "in/trainA/1.tif").unlink()
    made(tmp_path, "--channels", "1", "--overwrite")
    as_ever = sample(tmp_path / "out", "1", "train", "B")[0][..., 0]
    assert np.abs(b / 257 - as_ever).max() <= 0.5, "the same grey, before it is rounded to 8 bits"


def test_sharding_takes_a_window_for_one_side_of_pairs(tmp_path: Path) -> None:
    put(tmp_path / "in/a/1.png", noise(4, 4))
    (tmp_path / "in/b").mkdir()
    (tmp_path / "in/b/1.tif").write_bytes(tiff(slices("float32")[:4, :4]))
    options = ImageOptions(window_b=(LOW, HIGH))
    fields = shard("pairs", tmp_path / "in", tmp_path / "out", options, split=(1.0, 0.0, 0.0)).fields
    assert [fields[name].dtype for name in "ab"] == ["uint8", "uint16"]
    a, b = sample(tmp_path / "out", "1")
    assert np.array_equal(a, noise(4, 4))
    assert np.array_equal(b[..., 0], expected(slices("float32")[:4, :4]))
    put(tmp_path / "one/1.png", noise(4, 8))
    for layout, source in (("ab", "one"), ("classes", "in")):
        with pytest.raises(ConfigError, match=r"--window-b: .*expected pairs or unpaired"):
            shard(layout, tmp_path / source, tmp_path / "other", options)


@pytest.mark.parametrize(
    "window", [(5.0,), (1.0, 2.0, 3.0), (5.0, 5.0), (9.0, 2.0), (float("nan"), 2.0), (0.0, 1e99), (-1e99, 0.0)]
)
def test_window_is_two_values_of_which_the_second_is_larger(window: tuple[float, ...]) -> None:
    for name in ("window", "window_a", "window_b"):
        with pytest.raises(ConfigError, match=f"{flag(name)}: found"):
            ImageOptions(**{name: window})


def test_window_is_refused_where_it_has_no_effect(tmp_path: Path) -> None:
    put(tmp_path / "1.png", noise(4, 4))
    images, goal = ImageOptions(window=(0.0, 1.0)), shards.ShardOptions()
    layout = LayoutOptions(layout="fields", input=str(tmp_path))
    found = find(layout, fields=FieldOptions(field=("image={key}.png",)))
    with pytest.raises(ConfigError, match="--range"):
        shards.plan(found, layout, GlyphOptions(), images, goal)
    layout = LayoutOptions(layout="glyphs")
    with pytest.raises(ConfigError, match="--window"):
        shards.plan(find(layout, GlyphOptions(characters=4)), layout, GlyphOptions(), images, goal)
