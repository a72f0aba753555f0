"""A headless Chromium for tests of pages, over the W3C WebDriver protocol that its driver speaks:
https://www.w3.org/TR/webdriver2. Debian has both as chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WHY_NOT = "no chromium and chromedriver (apt install chromium chromium-driver)"

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference
_KEYS = {"ArrowLeft": "\ue012", "ArrowRight": "\ue014", "Enter": "\ue007", "Backspace": "\ue003"}
_PATIENCE = 120  # seconds: a busy machine runs a browser slowly
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


class Browser:
    """A window."""

    def __init__(self, address: str, width: int = 1280, height: int = 800) -> None:
        self._address = address
        options = {
            "binary": CHROMIUM,
            "args": [*_FLAGS, f"--window-size={width},{height}"],
        }
        answer = self._call(
            "POST",
            "session",
            {
                "capabilities": {
                    "alwaysMatch": {
                        "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL"},
                    }
                }
            },
        )
        self._session = f"session/{answer['sessionId']}"
        self._post("timeouts", script=1000 * _PATIENCE, pageLoad=1000 * _PATIENCE)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/{path}", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=2 * _PATIENCE) as answer:
            return json.load(answer)["value"]

    def _post(self, path: str, **body: Any) -> Any:
        return self._call("POST", f"{self._session}/{path}", body)

    def open(self, page: pathlib.Path) -> None:
        """Load a page, and wait until it says that it is ready."""
        self._post("url", url=page.as_uri())
        self.run(
            "const done = arguments[0]; const look = () => 'ready' in "
            "document.documentElement.dataset ? done() : setTimeout(look, 10); look()",
            asynchronous=True,
        )

    def run(self, script: str, *arguments: Any, asynchronous: bool = False) -> Any:
        """The result of a script."""
        kind = "async" if asynchronous else "sync"
        return self._post(f"execute/{kind}", script=script, args=list(arguments))

    def get(self, expression: str, *arguments: Any) -> Any:
        """The value of an expression."""
        return self.run(f"return {expression}", *arguments)

    def text(self, selector: str) -> str:
        """The text of the first element."""
        found: str = self.get("document.querySelector(arguments[0]).textContent", selector)
        return found

    def element(self, selector: str) -> Any:
        return self._post("element", using="css selector", value=selector)

    def hover(self, selector: str) -> None:
        """Move the pointer over an element."""
        move = {"type": "pointerMove", "origin": self.element(selector), "x": 0, "y": 0}
        self._post("actions", actions=[{"type": "pointer", "id": "mouse", "actions": [move]}])

    def click(self, selector: str) -> None:
        """Click an element."""
        self._post(f"element/{self.element(selector)[_ELEMENT]}/click")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        strokes = [
            {"type": kind, "value": _KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        self._post("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def prefer(self, scheme: str) -> None:
        """Prefer light or dark pages, as of now."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._post(
            "goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features}
        )

    def errors(self) -> list[str]:
        """What the console has had to complain of since it was asked last."""
        entries = self._post("se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        """Close it."""
        self._call("DELETE", self._session)


@contextlib.contextmanager
def running(**size: int) -> Iterator[Browser]:
    """A browser that ends with the context."""
    assert DRIVER
    with subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        try:
            assert driver.stdout
            port = next(
                m[1]
                for line in driver.stdout
                if (m := re.search(r"successfully on port (\d+)", line))
            )
            browser = Browser(f"http://127.0.0.1:{port}", **size)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()


needed = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=WHY_NOT)
