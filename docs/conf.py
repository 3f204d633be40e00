"""Sphinx: the site of `make docs`. Markdown pages, the commands from click, the Python API from its docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from edgeq import __version__  # noqa: E402

project = "edgeq"
author = "the edgeq authors"
project_copyright = "the edgeq authors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
exclude_patterns = ["_ext", "results/*"]
source_suffix = {".md": "markdown"}

# No page may refer to what is not there. Docs of other projects are not fetched: a build needs no network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|contextlib|lightning|np|nn|numpy|onnx|onnx_ir|pathlib|torch|typing)\..*"),
    (
        "py:.*",
        r"edgeq\.(bench|cost_table|export|modes|packing|tflite|train|verify\.\w+)\b.*",
    ),  # inner modules, not on the API's page
    ("py:.*", r"edgeq\.(\w+\.)*_\w+"),
    ("py:.*", r"edgeq\.(compress\.method\.(Constraint|Context)|models\.structure)"),
    ("py:class", r"(dict|tuple)\[.*"),  # cut at its comma, in a signature that Sphinx cannot parse: <factory>
]

myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"edgeq {__version__}"
html_static_path = ["_static"]
html_css_files = ["edgeq.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
