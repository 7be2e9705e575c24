"""LeRobot data sets as strangers have them: images in several forms, and what is refused in one line."""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.system.errors import InputError
from tests.exchange.layouts import CLOUD, POINTS, write_json


def edited_info(**change):
    """An edit of a data set's info.json."""

    def edit(folder):
        info = json.loads((folder / "meta/info.json").read_text())
        (folder / "meta/info.json").write_text(json.dumps({**info, **change}))

    return edit


def edited_frames(edit):
    """An edit of the table of a data set's frames."""

    def write(folder):
        file = folder / "data/chunk-000/file-000.parquet"
        pq.write_table(edit(pq.read_table(file)), file)

    return write


def reversed_rows(table):
    return table.take(list(range(len(table)))[::-1])


def with_nulls(table):
    place = table.column_names.index("action")
    return table.set_column(place, "action", pa.array([None] * len(table), table.schema.field("action").type))


def ragged(table):
    place = table.column_names.index("observation.state")
    return table.set_column(place, "observation.state", pa.array([[0.0] * (row % 3) for row in range(len(table))]))


WRONG = {
    "version 2": (edited_info(codebase_version="v2.1"), "codebase_version is 'v2.1'; only v3 is read"),
    "no version": (edited_info(codebase_version=None), "only v3 is read"),
    "another place": (edited_info(data_path="../../{chunk_index}.parquet"), "data_path is"),
    "no features": (edited_info(features=["action"]), "features are no list of kinds and shapes"),
    "fps of text": (edited_info(fps="25"), "fps is '25'"),
    "rows in another order": (edited_frames(reversed_rows), "not frames 0 to 4 in order"),
    "frames missing": (edited_frames(lambda table: table.slice(2)), "episode 0 has 3 rows, not frames 0 to 4 in order"),
    "numbers missing": (edited_frames(with_nulls), "missing"),
    "rows of several lengths": (edited_frames(ragged), "several lengths"),
    "a column missing": (
        edited_frames(lambda table: table.drop_columns(["action"])),
        "action of episode 0 cannot be read",
    ),
    "no frames": (lambda folder: shutil.rmtree(folder / "data"), "cannot be read"),
    "no episodes": (lambda folder: shutil.rmtree(folder / "meta/episodes"), "has no meta/episodes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_data_set_that_cannot_be_read_is_one_line(name, exported, tmp_path):
    folder, _ = exported
    edit, said = WRONG[name]
    edit(folder)
    with pytest.raises(InputError, match=said) as error:
        convert(folder, tmp_path / "again.zarr", Wishes(points=POINTS))
    assert "\n" not in str(error.value) and not (tmp_path / "again.zarr").exists()


def as_file(picture, kind):
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


def with_images(folder, encode, dtype="image"):
    """Add a feature of images to an exported data set, each of which ``encode`` writes of depth (4, 6)."""
    from PIL import Image

    depth = np.random.default_rng(0).integers(1, 60000, (17, 4, 6)).astype(np.uint16)
    images = [{"bytes": encode(Image, each), "path": f"frame-{number:06d}.png"} for number, each in enumerate(depth)]
    file, info = folder / "data/chunk-000/file-000.parquet", json.loads((folder / "meta/info.json").read_text())
    pq.write_table(pq.read_table(file).append_column("observation.images.depth", pa.array(images)), file)
    info["features"]["observation.images.depth"] = {"dtype": dtype, "shape": [4, 6, 1], "names": None}
    (folder / "meta/info.json").write_text(json.dumps(info))
    return depth


ENCODED = {
    "PNG": lambda image, depth: as_file(image.fromarray(depth), "PNG"),
    "TIFF": lambda image, depth: as_file(image.fromarray(depth), "TIFF"),
    "TIFF in metres": lambda image, depth: as_file(image.fromarray(depth.astype(np.float32) / 1000), "TIFF"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_images_of_16_bits_are_depth(name, exported, tmp_path):
    folder, _ = exported
    depth = with_images(folder, ENCODED[name])
    camera = {"depth": "observation.images.depth", "intrinsics": [9, 9, 3, 2]}
    file = write_json(tmp_path / "cameras.json", {"cameras": [camera]})
    found = convert(folder, tmp_path / "again.zarr", Wishes(points=24, cameras=file)).store.read()[CLOUD]
    assert np.allclose(np.sort(found[..., 2]), np.sort(depth.reshape(17, -1) / 1000), atol=1e-5)


@pytest.mark.parametrize(("unit", "metres"), [("mm", 1e-3), ("m", 1.0), ("miles", 1.0)])
def test_depth_has_the_unit_that_a_data_set_says(unit, metres, exported, tmp_path):
    folder, _ = exported
    depth = with_images(folder, lambda image, depth: as_file(image.fromarray(depth.astype(np.float32)), "TIFF"))
    info = json.loads((folder / "meta" / "info.json").read_text())
    info["features"]["observation.images.depth"]["info"] = {"is_depth_map": True, "depth_unit": unit}
    write_json(folder / "meta" / "info.json", info)
    file = write_json(
        tmp_path / "cameras.json", {"cameras": [{"depth": "observation.images.depth", "intrinsics": [9, 9, 3, 2]}]}
    )
    found = convert(folder, tmp_path / "again.zarr", Wishes(points=24, cameras=file)).store.read()[CLOUD]
    assert np.allclose(np.sort(found[..., 2]), np.sort(depth.reshape(17, -1) * metres), rtol=1e-5)


LOSSY = {
    "a video": (ENCODED["PNG"], "video", "observation.images.depth is a video, which loses depth's last digits"),
    "8 bits": (lambda image, depth: as_file(image.fromarray((depth >> 8).astype(np.uint8)), "PNG"), "image", "8 bits"),
    "colours": (lambda image, depth: as_file(image.new("RGB", (6, 4)), "PNG"), "image", "which is no depth"),
    "JPEG": (lambda image, depth: as_file(image.new("L", (6, 4)), "JPEG"), "image", "cannot identify image file"),
    "no bytes": (lambda image, depth: None, "image", "copy it with its images embedded"),
    "not an image": (lambda image, depth: b"hello", "image", "cannot identify image file"),
}


@pytest.mark.parametrize("name", LOSSY)
def test_images_that_have_lost_their_depth_are_refused_by_name(name, exported, tmp_path):
    folder, _ = exported
    encode, dtype, said = LOSSY[name]
    with_images(folder, encode, dtype)
    file = write_json(
        tmp_path / "cameras.json", {"cameras": [{"depth": "observation.images.depth", "intrinsics": [9, 9, 3, 2]}]}
    )
    with pytest.raises(InputError, match=said) as error:
        convert(folder, tmp_path / "again.zarr", Wishes(cameras=file))
    assert "\n" not in str(error.value) and "observation.images.depth" in str(error.value)
