"""What the canvas draws of paths, asked of its own functions, where node is there to run them."""

import json
import shutil
import subprocess

import pytest

from tests import ROOT

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
SCRIPT = """
const drawn = [];
const note = name => (x, y) => drawn.push([name, x, y]);
const pen = {moveTo: note("move"), lineTo: note("line"), beginPath() {}, stroke() {}, setLineDash() {}, save() {},
  restore() {}};
const eye = Object.create(Eye.prototype);
Object.assign(eye, {target: [0, 0, 0], right: [1, 0, 0], up: [0, 1, 0], toward: [0, 0, 1], distance: 1, focal: 1});
const data = new Float32Array(PATH.flat());
const fan = {paths: new DataView(data.buffer), count: 1, length: PATH.length, executed: PATH.length - 1, color: "red"};
drawPaths(pen, eye, fan);
console.log(JSON.stringify(drawn));
"""


def drawn(path):
    """What is drawn of a path, seen from one metre above: (move or line, x, y) each, without doubles."""
    source = (ROOT / "mp_lib/viewing/canvas.js").read_text().replace("export default", "const exported =")
    text = f"{source}\nconst PATH = {json.dumps(path)};\n{SCRIPT}"
    found = subprocess.run(["node", "-e", text], capture_output=True, text=True, check=True).stdout
    return [tuple(each) for each in json.loads(found)]


def test_a_path_is_drawn_from_point_to_point():
    assert [name for name, *_ in drawn([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])][-3:] == ["move", "line", "line"]


def test_what_lies_behind_the_eye_is_not_drawn_and_a_path_that_comes_back_is_taken_up_there():
    found = drawn([[0, 0, 0], [0.25, 0, 0], [9, 0, 2], [0.5, 0, 0], [0.75, 0, 0]])
    assert found[-4:] == [("move", 0, 0), ("line", 0.25, 0), ("move", 0.5, 0), ("line", 0.75, 0)]
    assert max(abs(x) for _, x, _ in found) < 1
