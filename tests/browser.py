"""A page in headless Chromium, and what a script of the test's own finds there."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)")


def probed(page, folder, width, height):
    """What the page's script has written as JSON into the element ``probe``, and the whole page behind it.

    ``folder`` is for the browser's own files. It asks nobody.
    """
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={folder / 'user'}"),
            *(
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--window-size={width},{height}",
                "--virtual-time-budget=20000",
            ),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"HOME": str(folder)},
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1))), done.stdout
