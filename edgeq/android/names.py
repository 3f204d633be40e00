"""A model's name where Android has rules for names: package, Gradle project, string resource.

Names come from recipes and folders of strangers, so what may appear is listed, and all else is replaced or escaped.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["app_name", "module_name", "package_name", "resource_text"]

_MOST_CHARACTERS = 40
_NO_NAME = "model"

# No part of a package's name may be one of these: Java's keywords and literals, and Kotlin's hard keywords.
_RESERVED_WORDS = """
    abstract as assert boolean break byte case catch char class const continue default do double else enum extends
    false final finally float for fun goto if implements import in instanceof int interface is long native new null
    object package private protected public return short static strictfp super switch synchronized this throw throws
    transient true try typealias typeof val var void volatile when while
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def app_name(model: str) -> str:
    """What a person calls the model: a built-in name, or the factory in ``FILE.py:factory``."""
    return model.rpartition(":")[2].strip()[:_MOST_CHARACTERS] or _NO_NAME


def module_name(name: str) -> str:
    """``[a-z][a-z0-9_]*``, not a keyword: good for a folder, a Gradle project and a part of a package's name."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_MOST_CHARACTERS]
    if not plain or plain in _RESERVED or not plain[0].isalpha():
        return f"{_NO_NAME}_{plain}".rstrip("_")
    return plain


def package_name(name: str) -> str:
    """The application's id, and the package of its Kotlin."""
    return f"edgeq.{module_name(name)}"


def resource_text(text: str) -> str:
    """Text for a <string> of res/values: whatever XML or aapt could take for syntax stands as ``\\uXXXX``."""
    return "".join(map(_resource_character, text))


def _resource_character(character: str) -> str:
    if character.isascii():
        if character.isalnum() or character in " _-.":
            return character
        return f"\\u{ord(character):04x}" if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
