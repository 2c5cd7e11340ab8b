"""A founder's browser without a browser: keeps its cookies, fills in the forms it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from tests.exporters.api.api_fixture import ApiFixture

ORIGIN = "http://testserver"


class Page(HTMLParser):
    """The forms and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.headings: list[int] = []
        self._form: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self.forms[given["action"]] = {}
        elif tag == "input" and given.get("type") == "hidden":
            self._form[given["name"]] = given["value"]
        elif tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))


@dataclass
class PortalClient:
    """Somebody at the site."""

    api_fixture: ApiFixture
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, method: str = "GET", **more: Any) -> Any:
        """An answer, with this visitor's cookies and no other's."""
        headers = {"Origin": ORIGIN} if method == "POST" else {}
        headers |= dict(more.pop("headers", {}))
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        client = self.api_fixture.client
        client.cookies.clear()
        answer = client.request(method, path, headers=headers, follow_redirects=False, **more)
        client.cookies.clear()
        for name, value in answer.cookies.items():
            self.cookies[name] = value
        return answer

    def page(self, path: str = "/portal/", **more: Any) -> str:
        """The text of a page that must be there."""
        answer = self.ask(path, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def form(self, action: str, path: str = "/portal/") -> dict[str, str]:
        """The hidden fields of a form on a page."""
        return Page(self.page(path)).forms[action]

    def post(self, action: str, data: dict[str, str], **more: Any) -> Any:
        """A form, sent."""
        return self.ask(action, "POST", data=data, **more)

    def sign_in(self, who: str) -> Any:
        """Sign in with one of the site's tokens."""
        hidden = self.form("/portal/sign-in", "/portal/sign-in")
        return self.post("/portal/sign-in", {**hidden, "token": self.api_fixture.tokens[who]})


def signed_in(api_fixture: ApiFixture, who: str = "acme") -> PortalClient:
    """A visitor who has signed in."""
    portal_client = PortalClient(api_fixture)
    assert portal_client.sign_in(who).headers["location"] == "/portal/"
    return portal_client
