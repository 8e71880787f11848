"""A real browser: Chromium without a window, driven through its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-pipe",
)

NOISES = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Security.securityStateChanged")


@dataclass
class Browser:
    """One page in Chromium. requests: the addresses asked for. noises: what came to the console."""

    to: int
    answers: Any
    session: str = ""
    number: int = 0
    requests: list[str] = field(default_factory=list[str])
    noises: list[str] = field(default_factory=list[str])
    loaded: bool = False

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its answer; events on the way are noted."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (character := self.answers.read(1)) != b"\0":
            assert character, "Chromium has ended"
            text += character
        message = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        elif message.get("method") == "Page.loadEventFired":
            self.loaded = True
        elif message.get("method") in NOISES[:3]:
            self.noises.append(json.dumps(message["params"]))
        return message

    def open(self, page: Path, width: int = 1280) -> None:
        """Load a file in a window of this width, and forget what was noted before."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        self.requests.clear()
        self.noises.clear()
        self.loaded = False
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not self.loaded:
            self._next()

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is on the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        """The page as it prints, on A4."""
        printed = self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    """Chromium, with a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")
    theirs_in, to = os.pipe()
    back, theirs_out = os.pipe()
    command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    words = ["bash", "-c", command, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(words, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
    os.close(theirs_in)
    os.close(theirs_out)
    with os.fdopen(back, "rb") as answers:
        opened = Browser(to, answers)
        yield opened
        opened.session = ""
        opened.ask("Browser.close")
        process.wait(timeout=30)
    os.close(to)


HOSTILE = "<img src=x onerror=alert(1)> $x^2$ </title><script>alert(2)</script> \\frac{1}{0} & 'q' \"r\" é 中"
"""A name that is markup, mathematics and LaTeX at once, in three scripts."""

PICTURES = """
import json
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

import nondet

HOSTILE = json.loads(NAME)
rng = np.random.default_rng(0)
inputs = torch.from_numpy(rng.standard_normal((60, 64), dtype=np.float32))
labels = torch.from_numpy((rng.standard_normal(60) + inputs[:, 0].numpy() > 0).astype(np.int64))


def model():
    return nn.Sequential(OrderedDict([(HOSTILE, nn.Linear(64, 32)), ("act", nn.ReLU()), ("last", nn.Linear(32, 3))]))


task = nondet.Task(
    model=model,
    train=(inputs[:40], labels[:40]),
    test=(inputs[40:], labels[40:]),
    recipe=nondet.Recipe(epochs=3, batch_size=4, lr=0.5),
    name=HOSTILE,
    stack=4,
)
"""
"""A task of 8 x 8 pictures whose name and first layer are hostile."""


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory, process: Any) -> Path:
    """A finished study with everything a page can show: tracked, with a late onset, of pictures, with hostile names."""
    folder = tmp_path_factory.mktemp("rich")
    task = folder / "<b>task.py"
    task.write_text(PICTURES.replace("NAME", repr(json.dumps(HOSTILE))))
    early, late = ("--vary", "bit", "--vary", "init", "--vary", "all"), ("--vary", "bit", "--vary", "all", "--onset", 1)
    for conditions in (early, late):
        ran = process(
            "run", task, "--runs", 3, *conditions, "--track", "0,1,3", "--workers", 1,
            "--study", folder / "study <i>$1$",
        )  # fmt: skip
        assert ran.code == 0, ran.err
    return folder / "study <i>$1$"
