"""A report in a browser: no request, no message on the console, nothing wider than a phone, readable in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = text => { const [r, g, b] = rgb(text).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = node => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)' && colour !== 'transparent') return colour; } return 'rgb(255, 255, 255)'; };
  const worst = [21, ''];
  for (const node of document.querySelectorAll('p, dt, dd, th, td, figcaption, summary, a, h2, strong, svg text')) {
    const style = getComputedStyle(node), front = node.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(front), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) { worst[0] = ratio; worst[1] = node.textContent.slice(0, 60); }
  }
  return worst;
}"""
"""Smallest contrast of a text with what is behind it (WCAG 2), and the text."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium, started once."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)}): apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize(("width", "scheme"), [(380, "light"), (380, "dark"), (1200, "light")])
def test_page(browser: Any, reports: dict[str, Path], width: int, scheme: str) -> None:
    """A page makes no request, prints nothing on the console, fits the width, and its texts have enough contrast."""
    for report in reports.values():
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        requests: list[str] = []
        messages: list[str] = []
        page.on("request", lambda request, requests=requests: requests.append(request.url))
        page.on("console", lambda message, messages=messages: messages.append(message.text))
        page.on("pageerror", lambda error, messages=messages: messages.append(str(error)))
        page.goto(report.as_uri())
        assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
        assert messages == []
        page.evaluate("document.querySelectorAll('details').forEach(node => node.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        contrast, text = page.evaluate(CONTRAST)
        assert contrast >= 4.5, (contrast, text)
        page.close()


def test_links_and_details_work_without_scripts(browser: Any, reports: dict[str, Path]) -> None:
    """Without scripts, a link leads to its section, and a click on a title shows the details."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["images"].as_uri())
    page.click("nav a[href='#settings']")
    assert page.url.endswith("#settings")
    hidden = page.locator("#settings details").first.locator("table")
    assert not hidden.is_visible()
    page.click("#settings summary >> nth=0")
    assert hidden.is_visible()
    context.close()
