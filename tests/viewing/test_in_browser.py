"""08_explore in JupyterLab in a browser: every control changes the picture, and nothing asks the network.

How long answers take is printed, for whoever wants to know; other work beside would make any bound a matter of luck.
"""

import json
import time

import nbformat
import pytest

pytest.importorskip("anywidget", reason="the extra [view] is not installed")

from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from mp_lib.data.recording import collect
from mp_lib.sim.tasks import TASKS
from mp_lib.system.paths import notebooks_path
from mp_lib.viewing.controls import SLIDERS
from tests.insight.trained import TASK, write_trained
from tests.viewing.browser import BROWSER, Browser
from tests.viewing.lab import jupyterlab, open_and_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]
TURNS = 3
LEFT, RIGHT = 37, 39  # codes of keys
# What the test asks of the page: the first view, its canvas, and the row of a control by its name.
ASK = """
window.canvas = () => document.querySelector('canvas[data-number]');
window.outputs = () => canvas().closest('.jp-OutputArea-output');
window.row = name => [...outputs().querySelectorAll('.widget-label, .widget-label-basic')]
  .find(each => each.textContent.trim() == name).closest('.widget-inline-hbox');
window.handles = () => [...outputs().querySelectorAll('.noUi-handle')];
window.place = each => {
  const box = each.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
};
window.drawn = [];
new MutationObserver(() => drawn.push([performance.now(), +canvas().dataset.number, canvas().dataset.whole]))
  .observe(canvas(), {attributes: true, attributeFilter: ['data-number']});
for (const kind of ['keydown', 'pointerdown', 'change'])
  document.addEventListener(kind, () => { window.begun = performance.now(); }, true);
canvas().scrollIntoView({block: 'start'});
"""


class Page:
    """The first view of the notebook; ``tell`` prints a line, also where a test passes."""

    def __init__(self, browser, tell):
        self.browser, self.tell = browser, tell
        browser.until("!!document.querySelector('canvas[data-whole=\"true\"]')")
        browser.run(ASK)

    def picture(self):
        return self.browser.run("canvas().toDataURL()")

    def number(self):
        return int(self.browser.run("canvas().dataset.number"))

    def at_rest(self, seconds=1):
        """Wait until the whole is there and nothing has been drawn for some seconds."""
        seen = None
        while (now := self.browser.run("[canvas().dataset.whole, drawn.length]")) != seen or now[0] != "true":
            seen = now
            time.sleep(seconds)

    def answer(self, name, act):
        """Do something, wait for the whole scene that answers it, and print how long that and the first one took."""
        self.at_rest()
        number = self.number()
        self.browser.run("drawn.length = 0")
        act()
        self.browser.until(f"drawn.some(([, number, whole]) => number > {number} && whole == 'true')")
        begun, drawn = self.browser.run("[begun, drawn]")
        first, last = ((moment - begun) / 1000 for moment, *_ in (drawn[0], drawn[-1]))
        self.tell(f"{name}: {first:.2f} s to the first picture, {last:.2f} s to the whole one")

    def focus(self, name):
        self.browser.run(f"row({json.dumps(name)}).querySelector('.noUi-handle').focus()")

    def choose(self, name, index):
        self.browser.run(
            f"(() => {{ const list = row({json.dumps(name)}).querySelector('select'); list.selectedIndex = {index};"
            "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )


@pytest.fixture(scope="module")
def page(tmp_path_factory, request):
    """The page of 08_explore, with two policies of the scale quick that nobody has trained."""
    root, folder = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MP_ROOT", str(root))
        policy, _ = (write_trained(method, scale="quick") for method in ("dp3_mamba_hydra", "dp3_narrow"))
        collect(TASKS[TASK], 1, root / "demos.zarr", num_points=256, jobs=1)
    notebook = load_notebook_node(str(notebooks_path() / "08_explore.ipynb"))
    given = {"policy": policy, "demos": "demos.zarr"}
    nbformat.write(parameterize_notebook(notebook, given), folder / "08_explore.ipynb")
    with jupyterlab(folder, root) as address, Browser(tmp_path_factory.mktemp("browser")) as browser:
        open_and_run(browser, address, "08_explore.ipynb")
        capture = request.config.pluginmanager.get_plugin("capturemanager")

        def tell(line):
            with capture.global_and_fixture_disabled():
                print(f"\n{line}", end="")

        page = Page(browser, tell)
        page.address = address
        yield page


def test_both_views_are_drawn_and_no_cell_fails(page):
    errors = (
        "[...document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.stderr\"]')].map(e => e.innerText)"
    )
    assert page.browser.run(errors) == []
    page.browser.until("document.querySelectorAll('canvas[data-whole=\"true\"]').length == 2")
    assert "points" in page.browser.run("canvas().getAttribute('aria-label')")


# Those that begin at their end go left.
KEYS = {field: ("ArrowLeft", LEFT) if field == "denoised" else ("ArrowRight", RIGHT) for field in SLIDERS}


@pytest.mark.parametrize("field", SLIDERS)
def test_a_slider_is_answered_by_another_picture(page, field):
    page.focus(SLIDERS[field][0])
    for _ in range(TURNS):
        before = page.picture()
        page.answer(field, lambda: page.browser.press(*KEYS[field]))
        assert page.picture() != before


def test_time_goes_on_by_hand_and_by_itself_until_it_is_stopped(page):
    label = "outputs().innerText.match(/call (\\d+) of/)[1]"
    page.browser.run("handles()[0].focus()")
    page.answer("time", lambda: page.browser.press("ArrowRight", RIGHT))
    assert page.browser.run(label) == "2"
    press = "outputs().querySelector('.widget-play button').click()"
    page.browser.run(press)
    page.browser.until(f"+{label} >= 4")
    page.browser.run(press)
    page.at_rest()
    stopped = page.browser.run(label)
    time.sleep(2)
    assert page.browser.run(label) == stopped


def test_a_dragged_slider_queues_nothing(page):
    page.at_rest()
    number, start = page.number(), page.browser.run("place(row('seed of the noise').querySelector('.noUi-handle'))")
    page.browser.drag(start, [(3, 0)] * 40)
    page.at_rest(3)
    assert page.number() - number < 40
    value = page.browser.run("row('seed of the noise').querySelector('.widget-readout').textContent")
    assert int(value) > 20


def test_the_cloud_turns_in_the_browser_alone(page):
    page.at_rest()
    number, middle, before = page.number(), page.browser.run("place(canvas())"), page.picture()
    page.browser.drag(middle, [(6, 2)] * 10)
    page.browser.until(f"canvas().toDataURL() != {json.dumps(before)}")
    turned = page.picture()
    page.browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=middle[0], y=middle[1], deltaX=0, deltaY=-300)
    page.browser.until(f"canvas().toDataURL() != {json.dumps(turned)}")
    page.browser.run("canvas().dispatchEvent(new MouseEvent('dblclick'))")
    page.browser.until(f"canvas().toDataURL() == {json.dumps(before)}")
    page.browser.run("canvas().focus()")
    page.browser.press("ArrowLeft", LEFT)
    page.browser.until(f"canvas().toDataURL() != {json.dumps(before)}")
    assert page.number() == number


def check(name):
    """Click a box by the words beside it."""
    return (
        "[...outputs().querySelectorAll('.widget-checkbox label')].find(each => each.innerText.includes("
        f"{json.dumps(name)})).querySelector('input').click()"
    )


def test_points_change_their_look_without_the_kernel(page):
    page.at_rest()
    number = page.number()
    acts = {
        "size of points": lambda: (page.focus("size of points"), page.browser.press("ArrowRight", RIGHT)),
        "colour of points": lambda: page.choose("colour of points", 1),
        "ring critical points": lambda: page.browser.run(check("ring critical points")),
        "near the hand": lambda: page.browser.run(check("near the hand")),
    }
    for act in acts.values():
        before = page.picture()
        act()
        page.browser.until(f"canvas().toDataURL() != {json.dumps(before)}", 30)
    assert page.number() == number


def test_a_second_policy_another_one_and_another_seed(page):
    legend = "canvas().parentElement.innerText"
    page.answer("beside it", lambda: page.choose("beside it", 2))
    assert "dp3_narrow" in page.browser.run(legend)
    page.answer("who acts", lambda: page.choose("who acts", 1))
    assert "dp3_narrow" in page.browser.run("outputs().innerText.split(',')[0]")
    box = "row('environment seed').querySelector('input')"
    page.answer(
        "environment seed",
        lambda: page.browser.run(f"{box}.value = 70000; {box}.dispatchEvent(new Event('change', {{bubbles: true}}))"),
    )
    assert "a seed of the final tables" in page.browser.run("outputs().innerText")


def test_nobody_but_the_server_is_asked(page):
    page.browser.run("1")
    inside = (page.address, page.address.replace("http", "ws"), "data:", "blob:", "about:", "chrome")
    assert page.browser.asked and [each for each in page.browser.asked if not each.startswith(inside)] == []
