"""A headless Chromium, driven by Playwright: pages are opened as somebody would see them.

`with chromium() as browser, tab(browser) as page:` gives a page of Playwright's, to be used as its documents say, by the thread that made
it. Conditions that it waits for are functions, `() => …`: the policy of our page forbids texts that become code.
"""
import contextlib
import os
import shutil
import sys
import tempfile

from support.fetched_program import pypi_package

WIDTH, HEIGHT = 1280, 1500
PATIENCE_MS = 60_000


@contextlib.contextmanager
def chromium():
    """Debian's; what it writes lies in a folder that is thrown away, not in anybody's home."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed (tools/setup installs it)"
    sys.path.insert(0, str(pypi_package("playwright")))
    from playwright.sync_api import sync_playwright # pylint: disable=import-error,import-outside-toplevel
    with tempfile.TemporaryDirectory(prefix="leadrouter-browser-", ignore_cleanup_errors=True) as home, sync_playwright() as playwright:
        own = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": home}
        browser = playwright.chromium.launch(executable_path=program, env={**os.environ, **own}, args=["--disable-gpu", "--disable-sync"],
                                             timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(browser):
    """A page that knows nothing of others."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, ignore_https_errors=True)
    try:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        yield page
        page.unroute_all(behavior="ignoreErrors") # what the page asks at this moment
    finally:
        context.close()


def look(page, width, height=HEIGHT, dark=False):
    """The size of the page's window, and which colours its reader likes."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if dark else "light")


class Console:
    """What a page writes to its console from now on, which is where browsers report scripts that fail and policies that are broken."""

    def __init__(self, page):
        self.page, self.written = page, []
        page.on("console", lambda message: self.written.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.written.append(f"not caught: {error}"))
        page.on("crash", lambda _: self.written.append("the page crashed"))

    def lines(self):
        """What was written since the last time."""
        self.page.evaluate("0") # what came before its answer has been heard
        lines, self.written = self.written, []
        return lines
