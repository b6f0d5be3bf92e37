"""The built book in a real browser: each page light, dark, on a phone; search, folds, the touched figure."""
import functools
import http.server
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import axe_core_python
import badges
import course
import nbformat
import pytest
from browser import chromium, elsewhere
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(p.stem for p in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
PAGES = [*CHAPTERS, *sorted(p.stem for p in BOOK.glob("*.md")), "search"]     # chapters first: see `page`
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
HARMLESS = re.compile(r"^\[PST\]")                               # the theme says what it does
Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def html() -> Path:
    """The folder of the site, built as `make book` builds it: any warning is an error."""
    out = BOOK / "_build"
    subprocess.run([sys.executable, BOOK / "tools/assemble.py"], check=True)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-c", BOOK]
    sphinx += ["-d", out / "doctrees", out / "src", out / "html"]
    done = subprocess.run(sphinx, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    return out / "html"


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    """The site's address on this machine."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def visit(browser: Browser, site: str) -> Open:
    """Open a page; when it is closed, nothing may have failed, gone elsewhere or been said on the console."""
    @contextmanager
    def opened(name: str, scheme: str = "light", size: dict = DESK, **options: object) -> Iterator[Page]:
        context = browser.new_context(color_scheme=scheme, viewport=size, **options)
        page, wrong = context.new_page(), []
        abroad = elsewhere(page)
        page.on("console", lambda m: HARMLESS.search(m.text) or wrong.append(m.text))
        page.on("pageerror", lambda e: wrong.append(str(e)))
        if options.get("java_script_enabled", True):            # else the browser drops scripts it had begun
            page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
        page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
        page.goto(f"{site}/{name}.html", wait_until="networkidle")
        yield page
        context.close()
        assert (wrong, abroad) == ([], [])
    return opened


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest, visit: Open) -> Iterator[Page]:
    """A page, opened once for all tests that ask for it: pytest groups them by its number in the list."""
    with visit(request.param) as opened:
        yield opened


every_page = pytest.mark.parametrize("page", PAGES, indirect=True)
every_chapter = pytest.mark.parametrize("page", CHAPTERS, indirect=True)


def turn(page: Page, scheme: str) -> None:
    """Let the system turn dark or light; the page follows."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
    page.evaluate("document.getAnimations().filter(a => a instanceof CSSTransition).forEach(a => a.finish())")


def grave(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
    return [f"{v['id']}: {node['html'][:120]} | {node['failureSummary'][:160]}" for v in found
            if v["impact"] in ("serious", "critical") for node in v["nodes"]]


def sideways(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@every_page
def test_a_page_is_accessible_and_fits_in_light_and_dark(page: Page):
    for scheme in "light", "dark":
        turn(page, scheme)
        assert not sideways(page)
        assert grave(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(visit: Open, name: str):
    with visit(name, "dark", PHONE, has_touch=True, is_mobile=True) as page:
        for scheme in "dark", "light":
            turn(page, scheme)
            assert not sideways(page)
            assert page.locator("h1:visible").count() == 1


@every_page
def test_every_figure_is_shown_and_says_what_it_shows(page: Page):
    images = page.locator(".bd-article img")
    for i in range(images.count()):
        image = images.nth(i)
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
        assert len(image.get_attribute("alt") or "") > 20, image.get_attribute("src")


@every_chapter
def test_code_of_76_characters_fits_the_column(page: Page):
    cut = page.eval_on_selector_all(".cell_input pre", """all => all
        .filter(pre => pre.scrollWidth > pre.clientWidth)
        .map(pre => Math.max(...pre.innerText.split("\\n").map(line => line.length)))""")
    assert [width for width in cut if width <= 76] == []


def test_every_link_leads_somewhere(html: Path):
    soups = {p.name: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in html.glob("*.html")}
    names = {name: {t[key] for key in ("id", "name") for t in soup.find_all(attrs={key: True})}
             for name, soup in soups.items()}
    broken = []
    for name, soup in soups.items():
        for tag, key in ("a", "href"), ("img", "src"), ("script", "src"), ("link", "href"):
            for url in [t[key] for t in soup.find_all(tag, attrs={key: True})]:
                if re.match(r"https?://", url) and tag == "a":
                    continue                                    # leads to another site: not asked here
                target, _, part = url.partition("#")
                target = target.split("?")[0] or name
                if not (html / target).is_file() or (part and part not in names.get(target, {part})):
                    broken.append(f"{name}: {url}")
    assert broken == []


def test_the_notebook_to_download_is_the_one_of_the_repository(html: Path):
    for stem in CHAPTERS:
        ours = (ROOT / f"chapters/{stem}.ipynb").read_bytes()
        assert (html / f"notebooks/{stem}.ipynb").read_bytes() == ours


@every_chapter
def test_a_chapter_says_its_run_time_and_opens_on_colab(page: Page):
    (repo, ref), name = badges.stamped(), Path(page.url).stem
    minutes = nbformat.read(ROOT / f"chapters/{name}.ipynb", 4).metadata["lmcore"]["minutes"]
    bar = page.locator(".chapter-bar")
    assert f"ran in {minutes:g} min" in bar.inner_text()
    colab = bar.get_by_role("link", name="Open in Colab").get_attribute("href")
    assert colab == f"https://colab.research.google.com/github/{repo}/blob/{ref}/chapters/{name}.ipynb"


def test_the_search_finds_likelihood(visit: Open):
    with visit("index", size=PHONE) as page:
        page.keyboard.press("Control+k")
        page.keyboard.type("likelihood")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=likelihood*")
        page.locator("#search-results li a", has_text="Count pairs").first.wait_for(timeout=10_000)


def test_the_page_can_be_turned_dark_and_the_next_one_is_too(visit: Open):
    with visit("notation") as page:
        page.get_by_role("button", name="Color mode").click()
        page.get_by_role("button", name="Dark", exact=True).click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.get_by_role("link", name="Glossary").first.click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_formulas_are_set_while_building_and_their_fonts_are_ours(visit: Open):
    with visit("notation", java_script_enabled=False) as page:
        assert page.locator(".katex").count() >= 4
        assert page.locator(".katex-error").count() == 0
    with visit("notation") as page:
        assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('1em KaTeX_Math'))")


def test_a_solution_unfolds(visit: Open):
    with visit("01_bigrams") as page:
        fold = page.locator("details", has=page.get_by_text("Solution", exact=True)).first
        inside = fold.locator(":scope > :not(summary)").first
        assert not inside.is_visible()
        fold.locator("summary").first.click()
        assert inside.is_visible()


def test_code_can_be_copied_and_outputs_cannot(visit: Open):
    with visit("01_bigrams", permissions=["clipboard-read", "clipboard-write"]) as page:
        assert page.locator(".cell_output .copybtn").count() == 0
        cell = page.locator(".cell_input", has_text="import torch").first
        cell.hover()
        cell.locator(".copybtn").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == cell.locator("pre").inner_text().strip()


def test_the_table_is_touched_by_mouse(visit: Open):
    with visit("01_bigrams") as page:
        box = page.locator(".touchable")
        box.get_by_role("radio", name="after q").click()
        assert box.get_by_label("Name").input_value() == "q"
        shares = box.locator(".touch-bars button").evaluate_all(
            "all => all.map(b => [Number(b.style.getPropertyValue('--p')), b.firstChild.innerText])")
        assert max(shares) == [1, "u"]
        for letter in "ue":
            box.locator(".touch-bars button", has=page.get_by_text(letter, exact=True)).click()
        assert box.get_by_label("Name").input_value() == "que"
        box.get_by_role("button", name="draw the rest").click()
        assert box.locator(".touch-strip span").last.inner_text().startswith("•")
        assert page.locator(".touch-sum").inner_text().startswith("Log-likelihood −")


def test_the_table_is_touched_by_keyboard_alone(visit: Open):
    with visit("01_bigrams") as page:
        page.locator(".touch-rows button").first.focus()
        for _ in range(5):
            page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.innerText") == "e"
        assert page.get_by_label("Name").input_value() == "e"
        page.keyboard.press("Tab")                              # on to the bars: one of them is in the order
        assert page.evaluate("document.activeElement.closest('.touch-bars') !== null")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.get_by_label("Name").input_value() == "ea"
        assert "After a:" in page.locator(".touch-live").text_content()


def test_a_typed_name_has_the_log_likelihood_of_the_counts(visit: Open):
    table = course.stored_pairs()
    p = lambda a, b: table["counts"][a][b] / sum(table["counts"][a])
    ids = [0, *map(table["symbols"].index, "emma"), 0]
    total = sum(math.log(p(a, b)) for a, b in zip(ids, ids[1:]))
    with visit("01_bigrams") as page:
        page.get_by_label("Name").fill("Émma")                 # accents and capitals are not in the table
        page.locator(".touch-bars button").first.click()       # the end
        said = page.locator(".touch-sum").inner_text()
        assert said.startswith(f"Log-likelihood −{-total:.2f}, that is {-total / 5:.2f} nats per character")


def test_a_pair_never_seen_costs_infinity_until_one_is_added(visit: Open):
    with visit("01_bigrams") as page:
        page.get_by_label("Name").fill("qx")
        assert "−∞" in page.locator(".touch-sum").inner_text()
        page.get_by_label("add 1 to every count").check()
        assert re.match(r"Log-likelihood −\d+\.\d\d,", page.locator(".touch-sum").inner_text())


def test_without_scripts_the_picture_stands_and_the_map_can_be_followed(visit: Open):
    with visit("01_bigrams", java_script_enabled=False) as page:
        assert page.locator(".touchable noscript").count() == 1
        assert page.locator("img[alt*='table'], img[alt*='pair']").first.is_visible()
    with visit("index", java_script_enabled=False) as page:
        page.locator(".map a", has_text="Count pairs").click()
        assert page.url.endswith("01_bigrams.html")
