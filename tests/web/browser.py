"""A headless Chromium for pages: what it says on its console, what it asks the network for, and what axe-core finds."""
import contextlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

WIDTHS = (360, 768, 1600)
SCHEMES = ("light", "dark")
NOTHING = "about:blank"


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
def lent(browser, listeners, width=1000, scheme="light", **options):
    """A page, at no address yet. A browser's one page goes from test to test: a new one, with a process of its own, takes
    longer than most of what is looked at. What only a new page can have (`options`) makes one."""
    size = {"width": width, "height": 900}
    waiting = [page for context in browser.contexts for page in context.pages if page.url == NOTHING]
    if options or not waiting:
        page = browser.new_page(viewport=size, color_scheme=scheme, **options)
    else:
        page = waiting[0]
        page.set_viewport_size(size)
        page.emulate_media(media="null", color_scheme=scheme)
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        yield page
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        if options:
            page.close()
        else:
            page.goto(NOTHING)
            page.context.clear_cookies()


def listeners_of(faults, is_ours):
    """Errors, and requests for addresses that are not ours."""
    return {
        "console": lambda message: faults.append(message.text),
        "pageerror": lambda error: faults.append(str(error)),
        "request": lambda request: faults.append(request.url) if not is_ours(request.url) else None,
    }


@contextlib.contextmanager
def opened(browser, url, width=1000, scheme="light"):
    """A page whose `faults` are errors, and requests for anything but itself."""
    faults = []
    with lent(browser, listeners_of(faults, (url, "data:,").__contains__), width, scheme) as page:
        page.faults = faults
        page.goto(url)
        yield page


def violations(page):
    """What axe-core finds, a line each."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}" for one in found for node in one["nodes"]]


def overflow(page):
    """How many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
