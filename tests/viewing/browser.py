"""Chromium without a screen and without a network, driven by its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request

BROWSER = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *(
        "--disable-component-update",
        "--disable-sync",
        "--disable-breakpad",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
    ),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """One page; close it, or use it as a context."""

    def __init__(self, folder, size=(1400, 1200)):
        import websocket  # comes with jupyter_server

        command = [BROWSER, *OPTIONS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        self.log = (folder / "chromium.log").open("w+")
        self.process = subprocess.Popen(command, stderr=self.log, env=os.environ | {"HOME": str(folder)})
        self.numbers, self.asked = itertools.count(1), []
        port = until(lambda: re.search(r"ws://127\.0\.0\.1:(\d+)/", self.written()))[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            (page, *_) = [each for each in json.load(answer) if each["type"] == "page"]
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=300)
        self.call("Network.enable")

    def written(self):
        self.log.seek(0)
        return self.log.read()

    def call(self, method, **parameters):
        """Call a method of the protocol; addresses that the page asks for are noted in ``asked``."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != number:
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                self.asked.append(message["params"].get("url") or message["params"]["request"]["url"])
        assert "error" not in message, message
        return message["result"]

    def run(self, script):
        """The value of a piece of JavaScript, or of what it promises."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=300):
        """The value of a piece of JavaScript once it means yes."""
        return until(lambda: self.run(script), seconds)

    def press(self, key, code):
        """Press a key where the focus is; ``code`` is that of Windows."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def drag(self, start, moves):
        """Press the mouse at ``start`` (x, y), move it by each of ``moves``, let it go."""
        x, y = start
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **held)
        for across, down in moves:
            x, y = x + across, y + down
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **held)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **held)

    def screenshot(self):
        """The page as it is, a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.socket.close()
        self.close()


def until(ask, seconds=60):
    """What ``ask`` answers once that means yes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s")
