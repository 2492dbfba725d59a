"""A headless Chromium for pages: what it says on its console, what it asks the network for, and what axe-core finds."""
import contextlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

WIDTHS = (360, 768, 1600)
SCHEMES = ("light", "dark")


@contextlib.contextmanager
def chromium():
    """Debian's; root may not have its sandbox."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine, and no package of it (tools/setup.sh)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser, url, width=1000, scheme="light"):
    """A page whose `faults` are errors, and requests for anything but itself."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.faults = []
    page.on("console", lambda message: page.faults.append(message.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.faults.append(request.url) if request.url not in (url, "data:,") else None)
    try:
        page.goto(url)
        yield page
    finally:
        page.close()


def violations(page):
    """What axe-core finds, a line each."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}" for one in found for node in one["nodes"]]


def overflow(page):
    """How many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
