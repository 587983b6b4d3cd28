"""A headless Chromium, driven through chromedriver's HTTP interface (W3C WebDriver) with nothing but the standard library."""
import base64
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def find(*names):
    return next((path for path in map(shutil.which, names) if path), None)


CHROMEDRIVER = find("chromedriver", "chromium.chromedriver")
CHROMIUM = find("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One window. Its console and its requests are recorded from the start."""

    def __init__(self, width=1280, height=900):
        self.profile = tempfile.TemporaryDirectory(prefix="outliers-chromium-")
        self.driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            for line in self.driver.stdout:
                if found := re.search(r"successfully on port (\d+)", line):
                    break
            else:
                raise RuntimeError("chromedriver did not start")
            self.base = f"http://127.0.0.1:{found.group(1)}/session"
            # No sandbox, as containers and root have none; WebGL without a GPU; no traffic of the browser's own.
            arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader",
                         "--use-angle=swiftshader", "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
                         "--no-first-run", f"--window-size={width},{height}", f"--user-data-dir={self.profile.name}"]
            session = self.call("POST", "", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
            self.base += "/" + session["sessionId"]
            self.size(width, height)
        except BaseException:
            self.close()
            raise

    def call(self, method, path, body=None, timeout=120):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self):
        if getattr(self, "base", "").count("/") > 3:
            try:
                self.call("DELETE", "")
            except (OSError, RuntimeError):
                pass
        self.driver.terminate()
        self.driver.wait(10)
        self.driver.stdout.close()
        self.profile.cleanup()

    def size(self, width, height, mobile=False):
        """Of the page itself; a window has a smallest width."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefer(self, **features):
        """prefer(prefers_color_scheme="dark")"""
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def open(self, path, fragment=""):
        """Opens a file, afresh even where only the fragment differs, and waits until the page says it is ready. Seconds it took."""
        self.call("POST", "/url", {"url": "about:blank"})
        begin = time.monotonic()
        self.call("POST", "/url", {"url": pathlib.Path(path).resolve().as_uri() + fragment})
        self.wait("return document.documentElement.dataset.ready === 'all'")
        return time.monotonic() - begin

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, *arguments, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if result := self.run(script, *arguments):
                return result
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}\n{self.console()}")

    def click(self, selector):
        self.run("const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center', behavior: 'instant'}); "
                 "e.dispatchEvent(new MouseEvent('click', {bubbles: true}));", selector)

    def keys(self, *names):
        """Presses keys by their DOM names, where the focus is."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9, "End": 35, "Home": 36}
        for name in names:
            for kind in ("rawKeyDown", "keyUp"):
                self.devtools("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name])
            if name == "Enter":
                self.devtools("Input.dispatchKeyEvent", type="char", text="\r", key="Enter")

    def console(self):
        """Errors in the console since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def requests(self):
        """Addresses asked for since the last call, data: and blob: left out."""
        found = []
        for entry in self.call("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("data:", "blob:", "about:")):
                    found.append(url)
        return found

    def screenshot(self, path, full=False):
        options = {}
        if full:
            size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            options = {"captureBeyondViewport": True,
                       "clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
        pathlib.Path(path).write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", format="png", **options)["data"]))

    def pdf(self):
        return base64.b64decode(self.call("POST", "/print", {"background": True}))
