"""The page of `mose serve` in a real Chromium: what a user sees and types, and what a tree cannot do to it.

Needs the package playwright (its browsers are not needed) and a Chromium: that of the system, or MOSE_CHROMIUM. With
MOSE_AXE, the path of axe.min.js of the npm package axe-core, the page is checked for accessibility, too.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from serving import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = os.environ.get("MOSE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: install one, or name it in MOSE_CHROMIUM")
AXE = os.environ.get("MOSE_AXE")

ODD = """<img src=x onerror="owned=1"> 'quoted' & "so".py"""
ATTACK = "</script></div><script>owned = 1</script><img src=x onerror='owned = 1'><svg onload='owned = 1'>"
DOCUMENTED = {
    "quarter": "Return the quarter of the year in which the date falls.",
    "weekday": "Name the day of the week that belongs to a given date.",
    "leap": "Tell whether the year of the calendar has one more day.",
    "offset": "Compute the difference between local time and universal time.",
}
WATCH = (
    "window.broken = []; addEventListener('securitypolicyviolation', (event) => broken.push(event.violatedDirective));"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("page") / "sample"
    (root / "src").mkdir(parents=True)
    (root / "src" / "dates.py").write_text(
        'def parse_iso_date(text):\n    """Read a date in ISO form."""\n'
        "    year, month, day = text.split('-')\n    return int(year), int(month), int(day)\n\n\n"
        + "".join(f"def add_{unit}s(date, number):\n    return date.plus({unit}s=number)\n\n\n" for unit in ("day", "week", "month"))
        + "".join(f'def {name}(text):\n    """{words}"""\n    return text.{name}() + "{name}"\n\n\n' for name, words in DOCUMENTED.items())
        + "".join(f"# filler {number}\n" for number in range(300))
    )  # fmt: skip
    (root / "src" / "retry.js").write_text(
        "export function retryLater(call) {\n  setTimeout(call, 1000); // later\n}\n"
    )
    (root / "src" / "wide.py").write_text(f"def wide_table():\n    return '{'column ' * 28}'  # the last column\n")
    (root / "src" / ODD).write_text(f"def odd_name():\n    # an odd name {ATTACK}\n    return '{ATTACK}'\n\u202e\n")
    return root


@pytest.fixture(scope="module")
def server(tree, tmp_path_factory):
    with serving(tree, MOSE_HOME=str(tmp_path_factory.mktemp("home"))) as running:
        assert running.post("/search", query="date")[0] == 200
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page at a state; whatever the test does, it must give no error and break no rule of the policy."""
    pages, said = [], []

    def open_at(state="", **context):
        page = browser.new_context(**context).new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(WATCH)
        page.on("console", lambda message: said.append(message.text) if is_trouble(message) else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}/{state}")
        until(page, "document.getElementById('exit').max > 0")
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        assert page.evaluate("broken") == [] and page.evaluate("window.owned") is None
        page.context.close()
    assert said == []


def is_trouble(message):
    """Whether a message of the console is an error; a browser reports requests that the server refuses, too."""
    is_refused = "status of 40" in message.text and message.location["url"].endswith(("/search", "/similar", "/file"))
    return message.type in ("error", "warning") and not is_refused


def until(page, holds):
    """Wait for an expression. Playwright's own `wait_for_function` needs eval, which the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{holds}; the page says {page.inner_text('#said')!r}")


def hits(page):
    return page.locator("article .path").evaluate_all("links => links.map(link => link.textContent)")


def wait_hits(page):
    page.wait_for_selector("article")
    until(page, "/ hits? in /.test(document.getElementById('said').textContent)")


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.id")


def test_typing_shows_ranked_and_coloured_hits_with_the_parts_of_their_scores(open_page):
    page = open_page()
    assert page.locator("#examples a").count() >= 3
    page.fill("#query", "read a date in ISO form")
    wait_hits(page)
    assert hits(page)[0] == "src/dates.py:1"
    first = page.locator("article").first
    assert first.locator(".keyword", has_text="def").count() and first.locator(".function", has_text="parse").count()
    assert "date" in first.locator(".match").all_text_contents()
    page.click("article .score")
    parts = {
        row.split("\t")[0]: row.split("\t")[2]
        for row in first.locator(".why tr").evaluate_all("rows => rows.map(row => row.innerText)")
    }
    assert float(parts.pop("score")) == pytest.approx(sum(map(float, parts.values())), abs=0.003) and "meaning" in parts
    widths = first.locator(".score .bar i").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert len(widths) == len(parts) and all(width > 0 for width in widths)
    page.fill("#query", "")
    page.wait_for_selector("#empty")


def test_what_is_typed_before_the_server_answers_is_kept(browser, server):
    page = browser.new_page()
    held = []
    page.route("**/trees", lambda route: held.append(route))
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.keyboard.type("read a date in ISO form")
    page.fill("#path", "*.py")
    held[0].continue_()  # before what was typed has become part of the address
    page.wait_for_selector("article")
    assert (page.input_value("#query"), page.input_value("#path")) == ("read a date in ISO form", "*.py")
    assert "q=read" in page.url and "path=" in page.url
    page.close()


def test_a_link_of_the_address_asks_and_filters_leave_out(open_page):
    page = open_page("#q=do+it+later&language=javascript")
    wait_hits(page)
    assert hits(page) == ["src/retry.js:1"] and page.input_value("#query") == "do it later"
    page.select_option("#language", "")
    page.fill("#path", "!src/retry.js")
    until(page, "!document.body.innerText.includes('retry.js:')")
    wait_hits(page)
    assert "path=%21src%2Fretry.js" in page.url
    page.fill("#path", "no/such/")
    until(page, "document.getElementById('said').textContent.includes('no/such/')")
    assert hits(page) == []


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page()
    page.keyboard.type("read a date in ISO form")
    wait_hits(page)
    page.keyboard.press("ArrowDown")
    assert focused(page) == "src/dates.py, line 1"
    page.keyboard.press("j")
    second = focused(page)
    assert second != "src/dates.py, line 1"
    page.keyboard.press("k")
    page.keyboard.press("w")
    assert page.locator("article .why").first.is_visible()
    page.keyboard.press("Enter")
    page.wait_for_selector("#file .line.asked")
    assert focused(page) == "Content of the file"
    page.keyboard.press("Escape")
    page.wait_for_selector("#file", state="hidden")
    assert focused(page) in ("src/dates.py, line 1", "")
    page.keyboard.press("/")
    assert focused(page).startswith("Search for")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("s")
    page.wait_for_selector("#like")
    assert "src/dates.py:1" in page.inner_text("#like")
    wait_hits(page)
    page.keyboard.press("?")
    page.wait_for_selector("#keys")
    page.keyboard.press("Escape")
    before = page.input_value("#exit")
    page.keyboard.press("[")
    assert int(page.input_value("#exit")) == int(before) - 1
    page.go_back()
    page.wait_for_selector("#like", state="hidden")
    assert page.input_value("#query") == "read a date in ISO form"


def test_the_slider_asks_at_its_exit_and_the_exits_are_compared(open_page, server):
    exits = json.loads(server.ask("GET", "/trees")[1])["exits"]
    page = open_page("#q=read+a+date")
    wait_hits(page)
    asked = []
    page.on(
        "request",
        lambda request: (
            asked.append(json.loads(request.post_data)["exit"]) if request.url.endswith("/search") else None
        ),
    )
    page.focus("#exit")
    page.keyboard.press("Home")
    until(page, "document.getElementById('depth').textContent === '0, fastest'")
    wait_hits(page)
    assert asked == [0] and "exit=0" in page.url
    page.keyboard.press("c")
    page.wait_for_selector("#exits svg")
    rows = page.locator("#exits tbody tr").all_inner_texts()
    assert [int(row.split()[0]) for row in rows] == exits and rows[-1].endswith("100%")
    assert page.locator("#exits circle").count() == len(exits)
    page.click(f"#exits [aria-label='Use exit {exits[-1]}']")
    assert page.inner_text("#depth") == f"{exits[-1]}, deepest" and "exit=" not in page.url
    page.keyboard.press("Escape")
    assert page.locator("#exits").is_hidden()


def test_the_quality_of_each_exit_is_measured_on_this_tree(open_page, server):
    exits = json.loads(server.ask("GET", "/trees")[1])["exits"]
    page = open_page("#q=read+a+date")
    wait_hits(page)
    page.click("#compare")
    page.wait_for_selector("#measure")
    page.click("#measure")
    until(page, "document.getElementById('exits').innerText.includes('questions that sample answers itself')")
    found = server.post("/exits")[1]
    assert [row["exit"] for row in found["exits"]] == exits
    assert all(0 <= row["low"] <= row["ndcg"] <= row["high"] <= 1 for row in found["exits"])
    cells = [row.split()[4] for row in page.locator("#exits tbody tr").all_inner_texts()]
    assert cells == [f"{row['ndcg']:.3f}" for row in found["exits"]]
    page.reload()
    wait_hits(page)
    page.click("#compare")
    page.wait_for_selector("#exits .interval", state="attached")


def test_a_file_is_shown_at_the_line_and_opens_in_the_editor(open_page, tree):
    page = open_page("#file=src/dates.py:200")
    page.wait_for_selector("#file .line.asked")
    line = page.locator("#file .line.asked")
    assert line.get_attribute("data-number") == "200"
    assert line.inner_text() == (tree / "src" / "dates.py").read_text().split("\n")[199]
    view, box = page.locator("#file-code").bounding_box(), line.bounding_box()
    assert view["y"] < box["y"] < view["y"] + view["height"]
    assert page.locator("#file .line").count() >= 300
    assert page.locator("#file .editor").count() == 0
    page.keyboard.press("Escape")
    wanted = {
        "VS Code": f"vscode://file{tree}/src/dates.py:200", "Cursor": f"cursor://file{tree}/src/dates.py:200",
        "PyCharm": f"pycharm://open?file={str(tree / 'src/dates.py').replace('/', '%2F')}&line=200",
    }  # fmt: skip
    for editor, link in wanted.items():
        page.select_option("#editor", editor)
        page.goto(page.url.partition("#")[0] + "#file=src/dates.py:200")
        page.wait_for_selector("#file .editor")
        assert page.get_attribute("#file .editor", "href") == link
        page.keyboard.press("Escape")
        page.wait_for_selector("#file", state="hidden")
    page.reload()
    until(page, "document.getElementById('editor').value === 'PyCharm'")
    page.goto(page.url.partition("#")[0] + "#file=no/such.py:3")
    until(page, "document.getElementById('file-code').textContent.includes('no/such.py')")


def test_dark_and_light_follow_the_system_until_one_is_chosen(open_page):
    def is_dark():
        return (
            sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))
            < 200
        )

    page = open_page(color_scheme="dark")
    assert is_dark()
    page.emulate_media(color_scheme="light")
    assert not is_dark()
    page.select_option("#theme", "dark")
    assert is_dark()
    page.reload()
    until(page, "document.getElementById('theme').value === 'dark'")
    assert is_dark()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("t")
    assert not is_dark()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_line_of_200_columns_does_not_widen_the_page(open_page, width):
    page = open_page("#q=wide_table", viewport={"width": width, "height": 700})
    wait_hits(page)
    line = page.locator("article .line", has_text="the last column").first
    assert len(line.inner_text()) > 200
    box = line.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("article .path")
    page.wait_for_selector("#file .line.asked")
    assert page.evaluate(
        "[...document.querySelectorAll('#file, #file-code')].every(part => part.scrollWidth <= part.clientWidth)"
    )


def test_nothing_of_a_tree_runs_or_becomes_markup(open_page):
    page = open_page("#q=odd_name")
    wait_hits(page)
    assert hits(page)[0] == f"src/{ODD}:1"
    assert ATTACK in page.locator("article").first.inner_text()
    assert "\\u202e" in page.evaluate("document.body.textContent") and "\u202e" not in page.evaluate(
        "document.body.textContent"
    )
    page.click("article .path")
    page.wait_for_selector("#file .line.asked")
    assert page.inner_text("#file-name") == f"src/{ODD}:1" and ATTACK in page.inner_text("#file-code")
    page.goto(
        page.url.partition("#")[0] + "#q=" + "%3Cimg%20src%3Dx%20onerror%3Downed%3D1%3E&like=%3Cb%3E:1&exit=%3Cb%3E"
    )
    until(page, "document.getElementById('said').textContent.includes('no line 1 of <b>')")
    assert page.evaluate("document.querySelectorAll('main img, main b b, main script, dialog img').length") == 0


def test_the_server_says_how_far_a_tree_has_been_read(open_page):
    page = open_page()
    page.route(
        "**/progress",
        lambda route: route.fulfill(
            json={"trees": [{"name": "sample", "reading": {"stage": "cut", "done": 3, "total": 12}}]}
        ),
    )
    page.reload()
    until(page, "document.getElementById('said').textContent === 'Reading sample: 3 of 12'")
    assert page.evaluate("document.getElementById('reading').position") == 0.25
    page.unroute("**/progress")
    page.wait_for_selector("#reading", state="hidden")


def test_a_server_that_needs_a_key_asks_for_it(browser, tree, tmp_path):
    key = "correct-horse-battery"
    with serving(tree, MOSE_API_KEY=key, MOSE_HOME=str(tmp_path)) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/#q=read+a+date")
        page.fill("#key", key)
        page.keyboard.press("Tab")
        page.wait_for_selector("article")
        page.close()


@pytest.mark.skipif(not AXE, reason="MOSE_AXE does not name axe.min.js of the npm package axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(open_page, scheme, width):
    page = open_page("#q=read+a+date+in+ISO+form", color_scheme=scheme, viewport={"width": width, "height": 900})
    wait_hits(page)
    page.click("article .score")
    page.click("#compare")
    page.wait_for_selector("#exits svg")
    page.evaluate(Path(AXE).read_text(encoding="utf8"))
    check_axe(page)
    page.keyboard.press("Escape")
    page.click("#help")
    check_axe(page)
    page.keyboard.press("Escape")
    page.click("article .path")
    page.wait_for_selector("#file .line.asked")
    check_axe(page)


def check_axe(page):
    found = page.evaluate("axe.run()")["violations"]
    assert [
        (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ] == []
