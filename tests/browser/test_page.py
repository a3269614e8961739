"""The page of `lee-bench report` in a real browser, without a network."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.browser
MATHML = "http://www.w3.org/1998/Math/MathML"


@pytest.fixture
def opened(browser, small):
    """The small page, opened anew."""
    browser.get(small)
    return browser


def ask(browser, script: str, *arguments):
    return browser.execute_script(script, *arguments)


def eventually(browser, script: str):
    """What the script returns, once that is something."""
    deadline = time.monotonic() + 60
    while not (found := ask(browser, script)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def press(browser, script: str, key: str) -> None:
    """Focus what the script returns, and press a key there, as somebody without a mouse does."""
    element = ask(browser, script)
    ask(browser, "arguments[0].focus()", element)
    element.send_keys(key)


def test_it_asks_for_nothing_and_complains_of_nothing(opened):
    assert opened.title == "Symbolic regression: strogatz and feynman"
    assert ask(opened, "return performance.getEntriesByType('resource').length") == 0
    assert [entry for entry in opened.get_log("browser") if entry["level"] != "INFO"] == []


def test_a_heading_sorts_by_keyboard_and_numbers_sort_as_numbers(opened):
    from selenium.webdriver.common.keys import Keys

    table = "[...document.querySelectorAll('table.sort')].find((t) => t.dataset.name === 'scores')"
    column = f"[...{table}.tHead.rows[0].cells].findIndex((c) => c.textContent === 'size')"
    values = f"return [...{table}.tBodies[0].rows].map((r) => Number(r.cells[{column}].dataset.v))"
    head = f"{table}.tHead.rows[0].cells[{column}]"
    for direction in ("ascending", "descending"):
        press(opened, f"return {head}.querySelector('button')", Keys.ENTER)
        assert ask(opened, f"return {head}.getAttribute('aria-sort')") == direction
        found = ask(opened, values)
        assert len(set(found)) > 3
        assert found == sorted(found, reverse=direction == "descending")


def test_what_has_no_number_comes_last_either_way(opened):
    rows = """
      const table = document.createElement("table");
      table.innerHTML = "<thead><tr><th>a</thead><tbody>"
        + ["-", "10", "9", "x", "1e-3"].map((text) => `<tr><td>${text}`).join("");
      sortable(table);
      for (let i = 0; i < arguments[0]; i++) table.tHead.querySelector("button").click();
      return [...table.tBodies[0].rows].map((row) => row.textContent);
    """
    assert ask(opened, rows, 1) == ["1e-3", "9", "10", "-", "x"]
    assert ask(opened, rows, 2)[:3] == ["10", "9", "1e-3"]


def test_a_filter_keeps_the_rows_with_all_its_words(opened):
    table = "document.querySelector('table[data-name=scores]')"
    box = f"return {table}.parentElement.previousElementSibling.querySelector('input')"
    ask(opened, box).send_keys("strogatz 0.01")
    shown = ask(opened, f"return [...{table}.tBodies[0].rows].filter((r) => r.offsetHeight)"
                        ".map((r) => r.innerText)")  # fmt: skip
    everything = ask(opened, f"return [...{table}.tBodies[0].rows].map((r) => r.textContent)")
    assert 0 < len(shown) < len(everything)
    assert len(shown) == sum("strogatz" in row and "0.01" in row for row in everything)


def opens_and_typesets(browser) -> None:
    from selenium.webdriver.common.keys import Keys

    section = "document.querySelectorAll('.problem')[2]"
    assert not ask(browser, f"return {section}.open")
    press(browser, f"return {section}.querySelector('summary')", Keys.ENTER)
    assert ask(browser, f"return {section}.open")
    fraction = eventually(
        browser,
        f"const f = {section}.querySelector('.inside mfrac'); if (!f) return null;"
        "const box = f.getBoundingClientRect();"
        "return {space: f.namespaceURI, height: box.height, width: box.width}",
    )
    assert fraction["space"] == MATHML
    assert fraction["height"] > 20  # taller than a line of text: set as a fraction
    assert fraction["width"] > 10
    text = ask(browser, f"return {section}.querySelector('.inside').innerText")
    assert "8 candidates" in text
    ask(browser, f"{section}.querySelector('td details summary').click()")
    assert "exp(cos(" in ask(browser, f"return {section}.querySelector('td details').innerText")


def test_a_problem_opens_by_keyboard_and_its_formulas_are_typeset(opened):
    opens_and_typesets(opened)


def test_a_link_to_a_problem_opens_it(opened, small):
    opened.get(f"{small}#problem-5")
    assert eventually(opened, "return document.getElementById('problem-5').open")
    ask(opened, "location.hash = '#problem-7'")
    assert eventually(opened, "return document.getElementById('problem-7').open")


def test_problems_can_be_filtered_and_opened_at_once(opened):
    box = ask(opened, "return document.querySelector('.problem').previousElementSibling"
                      ".querySelector('input')")  # fmt: skip
    box.send_keys("vdp")
    ask(opened, "document.querySelector('.filter button').click()")
    names = ask(opened, "return [...document.querySelectorAll('.problem')].filter((s) => s.open)"
                        ".map((s) => s.querySelector('.name').firstChild.data)")  # fmt: skip
    assert sorted(names) == ["strogatz_vdp1", "strogatz_vdp2"]


def test_without_scripts_tables_and_problems_are_there(browser, small):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(small)

        def count(selector: str) -> int:
            # The page's own scripts are off, the driver's are not.
            return ask(browser, "return document.querySelectorAll(arguments[0]).length", selector)

        assert count("th button, .filter") == 0
        assert count("table[data-name=scores] tbody tr") > 3
        assert count(".problem .inside math") > 100
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_dark_paper_has_light_ink(opened):
    def lightness(scheme: str) -> list[float]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        script = """
          const light = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
          const style = (selector) => getComputedStyle(document.querySelector(selector));
          return [style("body").backgroundColor, style("body").color, style(".plot text").fill]
            .map(light);
        """
        return ask(opened, script)

    (paper, ink, label), (night, chalk, mark) = lightness("light"), lightness("dark")
    assert paper > 700 > 100 > ink
    assert night < 100 < 600 < chalk
    assert label < 150
    assert mark > 500


def test_a_narrow_screen_needs_no_sideways_scrolling(opened):
    metrics = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert ask(opened, "return document.documentElement.scrollWidth") <= 400
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_ten_thousand_records_open_in_two_seconds(browser, large):
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    browser.get(large)
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    used = {metric["name"]: metric["value"] for metric in metrics}
    # processor seconds of the page's thread: those on the wall depend on who else computes
    assert used["TaskDuration"] < 2.0
    opens_and_typesets(browser)
