"""A headless Chromium, driven over a pipe by its DevTools protocol, for tests of pages. Nothing but the standard library.

In: the text of a page. Out: what a reader would meet: errors on the console, requests, the width, what a key reaches,
pictures. https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

LACKING = "this machine has no Chromium; Debian's package is chromium, which .ci/run installs where it can"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Chromium has no sandbox for the root user, whom a container has alone; the page is our own.
# It reads commands from file 3 and writes to file 4.
LAUNCH = """import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in enumerate(ends, 3):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])"""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")


def found() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """A page in a Chromium of its own, which ends with the block.

    Attributes:
        events: what the browser reported: console, log and network.
    """

    def __init__(self, profile: Path) -> None:
        theirs, self.writing = os.pipe()
        self.reading, ours = os.pipe()
        program = str(found())
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        launched = [sys.executable, "-c", LAUNCH, str(theirs), str(ours), *command]
        self.process = subprocess.Popen(
            launched, pass_fds=(theirs, ours), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        self.left, self.count, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self.reading)
        os.close(self.writing)

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            got = os.read(self.reading, 1 << 20)
            if not got:
                raise RuntimeError("Chromium has ended")
            self.left += got
        text, _, self.left = self.left.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events that come before it are kept."""
        self.count += 1
        asked = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            asked["sessionId"] = self.session
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self.writing, data) :]
        while (got := self.message()).get("id") != self.count:
            self.events.append(got)
        if "error" in got:
            raise RuntimeError(f"{method}: {got['error']}")
        result: dict[str, Any] = got["result"]
        return result

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Opens a file, and returns when it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait(lambda event: event.get("method") == "Page.loadEventFired")

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Returns when an event has come that is wanted."""
        while not any(map(wanted, self.events)):
            self.events.append(self.message())

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript, in the tester's hands; the page itself runs none."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9)

    def requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """What stands on the console: messages, errors, refusals of the page's policy."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]

    def picture(self, path: Path, top: int = 0, height: int | None = None) -> None:
        """Writes the page, or a part of it, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"] - top, "scale": 1}
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(b64decode(found["data"]))

    def printed(self, path: Path) -> None:
        """Writes the page as PDF, as it is printed on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        path.write_bytes(b64decode(self.call("Page.printToPDF", **size)["data"]))
