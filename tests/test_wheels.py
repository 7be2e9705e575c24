"""What the index has of every pinned package: wheels for all Pythons and machines, so that nothing is compiled."""

import functools
import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

PINS = (Path(__file__).parents[1] / "constraints.txt").read_text().split()
PYTHONS = [(3, 11), (3, 12), (3, 13)]
MACHINES = {
    "linux x86-64": [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)],
    "linux aarch64": [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)],
    "macos arm64": [f"macosx_{version}_arm64" for version in ("14_0", "13_0", "12_0", "11_0")]
    + [
        f"macosx_{version}_universal2"
        for version in ("14_0", "13_0", "12_0", "11_0", "10_15", "10_13", "10_12", "10_9")
    ],
}
# Pure Python that comes as source alone, needed by the extra [cluster] and by nothing else.
SOURCES = {"connection-pool"}


@functools.cache
def files_of(pin: str, index: str) -> list[str]:
    """The names of a pinned package's files, as the index lists them."""
    name, version = pin.split("==")
    request = urllib.request.Request(f"{index}/{canonicalize_name(name)}/")
    request.add_header("Accept", "application/vnd.pypi.simple.v1+json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        names = [file["filename"] for file in json.load(answer)["files"] if not file.get("yanked")]
    there = re.compile(rf"[^-]+-{re.escape(version)}(-|\.tar\.gz$|\.zip$)")
    return [each for each in names if there.match(each)]


@pytest.fixture(scope="module")
def index():
    address = pytest.importorskip("pip._internal.models.index").PyPI.simple_url  # uv's environments have no pip
    try:
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(PINS, pool.map(functools.partial(files_of, index=address), PINS), strict=True))
    except urllib.error.HTTPError:  # it answers, and lacks what is pinned
        raise
    except urllib.error.URLError as error:
        pytest.skip(f"the index does not answer: {error}")


def wheels_for(files: list[str], tags: set[Tag]) -> list[str]:
    return [name for name in files if name.endswith(".whl") and tags & parse_wheel_filename(name)[3]]


@pytest.mark.network
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS, ids="{0[0]}.{0[1]}".format)
def test_every_pinned_package_has_a_wheel(python, machine, index):
    platforms = MACHINES[machine]
    tags = {*cpython_tags(python, platforms=platforms), *compatible_tags(python, platforms=platforms)}
    lacking = {canonicalize_name(pin.split("==")[0]) for pin, files in index.items() if not wheels_for(files, tags)}
    assert lacking - SOURCES == set()
