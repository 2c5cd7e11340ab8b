"""Reads the commands that docs/install.md tells its reader to type, section by section."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .container import Machine

PAGE = Path(__file__).resolve().parents[2] / "docs/install.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FUNCTION = re.compile(r"^\w+\(\) \{\n.*?^\}$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, list[str]]:
    """Each heading, without its number, with the blocks below it."""
    text = PAGE.read_text()
    return {
        re.sub(r"^\d+\. ", "", name): BLOCK.findall(body) for name, body in SECTION.findall(text)
    }


@dataclass
class Reader:
    """Types the page's commands in a container, with the few replacements that a test needs."""

    machine: Machine
    folder: str
    """The checkout's path in the container."""
    adapted: Mapping[str, str]
    """Replacements for pieces of the page; each piece must occur exactly once."""
    said: dict[str, str] = field(default_factory=dict)
    """The output of each section."""
    _functions: str = ""

    def play(self, heading: str, stdin: str = "") -> str:
        """Type a section and return its output. A failing command is an error."""
        printed = ""
        for block in sections()[heading]:
            typed = block
            for written, instead in self.adapted.items():
                typed = typed.replace(written, instead)
            printed += self.machine.ask(f"cd {self.folder}\n{self._functions}\n{typed}", stdin)
            self._functions += "".join(f"{found}\n" for found in FUNCTION.findall(typed))
        self.said[heading] = printed
        return printed

    def type(self, command: str) -> str:
        """Type one more command, with the shell functions that the page has defined."""
        return self.machine.ask(f"{self._functions}\n{command}")

    def stale(self) -> list[str]:
        """Replacements whose piece the page does not contain exactly once."""
        text = PAGE.read_text()
        return [written for written in self.adapted if text.count(written) != 1]
