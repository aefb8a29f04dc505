"""A headless Chromium, driven by Debian's chromedriver over the WebDriver protocol: pages are opened as somebody would see them.

`with Browser() as browser:` gives open(), run() (JavaScript), text(), press(), cdp() (the DevTools protocol), picture(), and log(): what
the browser wrote to its console, which is where it reports scripts that fail and policies that are broken.
"""
import base64
import json
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest

from support.product_cluster import wait_until

ELEMENT = "element-6066-11e4-a52e-4f735466cecf" # WebDriver's name for a reference
# As root there is no sandbox; and it asks nobody for anything.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1")
KEYS = {"Tab": "\ue004", "Shift": "\ue008", "Enter": "\ue007", "Space": " ", "Home": "\ue011", "End": "\ue010", "Left": "\ue012",
        "Right": "\ue014", "Down": "\ue015", "Escape": "\ue00c"}


class Browser:
    def __init__(self, *flags):
        self.flags = flags

    def __enter__(self):
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        assert driver and chromium, "chromium and chromium-driver are not installed (tools/setup installs them)"
        self.directory = tempfile.mkdtemp(prefix="leadrouter-browser-")
        self.process = subprocess.Popen([driver, "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        try:
            port = next(found[1] for line in self.process.stdout if (found := re.search(r"started successfully on port (\d+)", line)))
            self.base = f"http://127.0.0.1:{port}/session"
            options = {"binary": chromium, "args": [*FLAGS, *self.flags, f"--user-data-dir={self.directory}"]}
            answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "acceptInsecureCerts": True}}})
            self.base += "/" + answer["sessionId"]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        try:
            self._ask("DELETE", "")
        finally:
            self._end()

    def _end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as failure:
            pytest.fail(f"{path}: {json.load(failure)['value']['message']}")

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a function body returns; of a promise, what it becomes."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        """The text of the first element, as it is in the document."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def wait_for(self, condition, what, patience_s=60):
        """Waits until a JavaScript expression is true; returns it."""
        return wait_until(lambda: self.run(f"return {condition}"), what, patience_s)

    def press(self, *names):
        """Presses keys one after the other, as a person would: what has the focus gets them."""
        actions = [{"type": kind, "value": KEYS.get(name, name)} for name in names for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def click(self, selector):
        element = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{element[ELEMENT]}/click", {})

    def cdp(self, command, **parameters):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, dark=False):
        """The size of the page's window, and which colours its reader likes."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        """The whole page as a PNG."""
        picture = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(picture["data"]))

    def log(self):
        """What was written to the console since the last time."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]
