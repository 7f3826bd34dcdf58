"""Passwords in the URLs of databases: found, and hidden wherever a text is shown or kept."""

from __future__ import annotations

import re
from urllib.parse import unquote

_PASSWORDS = re.compile(r"(?<=://)([^/?#@:]*):([^/]*)@|(?<=[?&])((?:ssl)?(?:password|passwd|pwd)=)([^&\s]*)")


def safe_url(text: str) -> str:
    """Return a URL, or a text with one, without its password."""
    return _PASSWORDS.sub(lambda found: f"{found[3]}***" if found[3] else f"{found[1]}:***@", text)


def passwords(url: str) -> list[str]:
    """Return the passwords that a URL has, as they are written there; empty ones are none."""
    return [secret for found in _PASSWORDS.finditer(url) if (secret := found[2] or found[4])]


def without_passwords(text: str, url: str) -> str:
    """Return a text without the passwords that a URL has, wherever they stand in it, and without those of other URLs.

    :param text: what is to be shown
    :param url: whose passwords are not
    """
    for secret in passwords(url):
        for form in {secret, unquote(secret)}:
            text = text.replace(form, "***")
    return safe_url(text)
