"""JupyterLab as ``./run_all.sh lab`` starts it, with a folder of its own for all that it writes."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

from tests import ROOT
from tests.viewing.browser import until

# It would ask for news, in a window that lies over the page.
SETTINGS = {"fetchNews": "false", "checkForUpdates": False}
PANEL = "[...jupyterapp.shell.widgets('main')].find(each => each.sessionContext)"  # of the notebook


@contextmanager
def jupyterlab(folder, root):
    """The address of a server whose files are those in ``folder``, and whose kernels have ``root`` as MP_ROOT."""
    settings = folder / ".config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(SETTINGS))
    own = {name: str(folder / ".config") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "HOME")}
    path = os.pathsep.join(
        [str(ROOT / "mp_lib" / "pipeline" / "jupyter"), *os.environ["JUPYTER_PATH"].split(os.pathsep)]
    )
    variables = own | {"MP_ROOT": str(root), "PYTHONPATH": str(ROOT), "JUPYTER_PATH": path}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--IdentityProvider.token=t", "--notebook-dir", "."]
    with (folder / "lab.log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log, cwd=folder, env=os.environ | variables)

        def address():
            assert process.poll() is None, "JupyterLab has ended"
            return re.search(r"http://127\.0\.0\.1:\d+/", (folder / "lab.log").read_text())

        try:
            yield until(address, 120)[0]
        finally:
            process.terminate()
            process.wait()


def open_and_run(browser, address, name):
    """Open a notebook and run all its cells; returns when they have ended."""
    browser.call("Page.navigate", url=f"{address}lab/tree/{name}?token=t&reset")
    idle = f"{PANEL}?.sessionContext.session?.kernel?.status == 'idle'"
    browser.until(f"!!window.jupyterapp && {idle}")
    browser.run(f"jupyterapp.shell.collapseLeft(); jupyterapp.shell.activateById({PANEL}.id)")
    browser.run("jupyterapp.commands.execute('notebook:run-all-cells')")
    browser.until(
        f"{idle} && {PANEL}.content.widgets.every(each => each.model.type != 'code' || each.model.executionCount)"
    )
