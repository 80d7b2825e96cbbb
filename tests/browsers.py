"""Real browsers that open the page of the lab from a file: Chromium by selenium, and Firefox by the protocol it speaks.

Firefox needs no driver of its own: WebDriver BiDi is a WebSocket with JSON in both directions.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

WEB = Path(__file__).parents[1] / "web"
PATIENCE = 60
"""Seconds after which a page hangs: generous, as machines are busy."""

PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver", "firefox-esr": "firefox-esr", "node": "nodejs"}
"""What is needed beside Python's packages, and the Debian package that has it."""


def missing() -> str | None:
    """Say in one sentence what the tests in a browser lack, if anything."""
    for package in ("selenium", "websocket"):
        if find_spec(package) is None:
            return f"the Python package {package} is missing: run `pip install -e '.[browser]'`"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is missing: run `apt-get install {package}`"
    if not (WEB / "node_modules").is_dir():
        return "web/node_modules is missing: run `npm ci` in web/"
    return None


def chromium(folder: Path, *options: str) -> Chrome:
    """Start Chromium with a fresh profile; what is downloaded comes into the folder.

    No name has an address for it but that of the machine itself, so that whatever the page asked of a network would
    fail, and show in its log.
    """
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    chosen = ChromeOptions()
    chosen.binary_location = shutil.which("chromium") or ""
    for option in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        *options,
    ):
        chosen.add_argument(option)
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=chosen, service=ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(PATIENCE)
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": False}
    )
    return driver


AXE = """
    const done = arguments[0];
    requestAnimationFrame(() => axe.run(document).then((found) => done({
        passes: found.passes.length,
        violations: found.violations.map(({ id, nodes }) =>
            [id, nodes.slice(0, 3).map(({ target, failureSummary }) => [String(target), failureSummary])]),
    })));
"""


class Firefox:
    """Firefox with a fresh profile in a folder, without a window."""

    def __init__(self, folder: Path) -> None:
        import websocket

        preferences = {
            # Nothing of its own from a network: whatever is no file goes to a port where nobody listens.
            "network.proxy.type": 1,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": 9,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": 9,
            "datareporting.policy.dataSubmissionEnabled": False,
            "app.normandy.enabled": False,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
        said = folder / "said.txt"
        self._said = said.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            ["firefox-esr", "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0"],
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )
        found = wait(lambda: re.search(r"WebDriver BiDi listening on (ws://\S+)", said.read_text(encoding="utf-8")))
        self._socket = websocket.create_connection(f"{found[1]}/session", suppress_origin=True, timeout=PATIENCE)
        self._calls = 0
        self._call("session.new", capabilities={})
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def _call(self, method: str, **params: Any) -> Any:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._calls:
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['message']}")
                return answer["result"]

    def get(self, address: str) -> None:
        """Open an address."""
        self._call("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def execute_script(self, script: str) -> Any:
        """Run the body of a function, and return what it returns, which JSON must be able to hold."""
        text = f"Promise.resolve((() => {{ {script} }})()).then((value) => JSON.stringify(value ?? null))"
        answer = self._call("script.evaluate", expression=text, target={"context": self._context}, awaitPromise=True)
        if answer["type"] != "success":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def quit(self) -> None:
        """End it."""
        self._call("browser.close")
        self._socket.close()
        self._process.wait(PATIENCE)
        self._said.close()


def wait(found: Any, what: str = "") -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE
    while not (answer := found()):
        if time.monotonic() > end:
            raise TimeoutError(what or "it has not come about")
        time.sleep(0.05)
    return answer


SMALL = (
    'spec={"features": [{"kind": "independent", "count": 5, "density": 0.2}], "hidden": 2, "seeds": 6, "snapshots": 40,'
    ' "training": {"kind": "sampled", "steps": 200, "batch": 32, "evaluation": 64, "rate": 0.01}}&step=0'
)
"""The state of a page with a run that takes a moment, at its first step."""

STORE = "const { store, shadowRoot: root } = document.querySelector('tegum-lab');"
BITS = """
    const bits = (array) => Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
        (byte) => byte.toString(16).padStart(2, '0')).join('');
"""


class Page:
    """The page in a browser: its state, and what is done to it."""

    def __init__(self, browser: Chrome | Firefox, file: Path) -> None:
        self.browser = browser
        self.place = file.as_uri()

    def open(self, state: str = "") -> None:
        """Open the page anew at a state, and wait for the first frame."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.place}{'#' if state else ''}{state}")
        self.until("store?.first.value?.frames.length > 0")

    def ask(self, expression: str) -> Any:
        """Evaluate an expression in which the page's own state is called `store`, and what it shows `root`."""
        return self.browser.execute_script(f"{STORE}{BITS} return {expression};")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        script = f"{STORE} return Boolean({expression});"
        wait(lambda: self.browser.execute_script(script), expression)

    def choose(self, control: str, value: str) -> None:
        """Choose in a list."""
        selector = json.dumps(f'[aria-label="{control}"]')
        self.ask(
            "((select) => { select.value = " + json.dumps(value) + ";"
            " select.dispatchEvent(new Event('change', { bubbles: true })); })"
            f"(root.querySelector({selector}))"
        )

    def violations(self) -> list[Any]:
        """What axe finds, in the page as it is now."""
        self.browser.execute_script((WEB / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
        result = self.browser.execute_async_script(AXE)
        assert result["passes"] > 10
        return result["violations"]

    def whole(self) -> None:
        """Wait until every run that is shown has been trained to its end."""
        self.until("store.recordings.value.every((each) => each.whole)")

    def see(self, selector: str) -> str:
        """Return the text of the first element of a kind."""
        return self.ask(
            f"document.querySelector('tegum-lab').shadowRoot.querySelector({json.dumps(selector)}).textContent"
        )

    def state(self) -> Any:
        """Return what an address holds, and the bits of the shown weights and biases."""
        return self.ask(
            "({ ...JSON.parse(JSON.stringify(store.state)), weights: store.recordings.value.map((each, at) => {"
            " const { step, weights, bias } = each.frames[store.indices.value[at]];"
            " return [step, bits(weights), bits(bias)]; }) })"
        )
