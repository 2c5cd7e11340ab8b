"""The portal as people meet it: in Chromium, on a phone, in French, without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from quotas.book.actions.requests import read_requests
from tests.exporters.api.api_fixture import NOW_S, ApiFixture, drain_of

PHONE = {"viewport": {"width": 320, "height": 640}}
DESKTOP = {"viewport": {"width": 1100, "height": 900}}
REFRESH = "htmx.ajax('GET', '/portal/now', {target: '#now', swap: 'outerHTML'})"
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Spoken:
    """What a language calls what the visit looks for."""

    locale: str
    sign_in: str
    left: str
    figure: str
    ask: str
    asked: str
    done: str
    back: str
    sign_out: str


ENGLISH = Spoken(
    *("en-GB", "Sign in", "Credits left", "0.99", "Ask for GPUs", "Asked", "Done"),
    *("Back to the page", "Sign out"),
)
FRENCH = Spoken(
    *("fr-FR", "Se connecter", "Crédits restants", "0,99", "Demander des GPU", "Demandé"),
    *("C'est fait", "Retour à la page", "Se déconnecter"),
)


@contextmanager
def opened(browser: Browser, address: str, **settings: Any) -> Iterator[Page]:
    """A fresh browser window at the sign-in form; anything on its console is a failure."""
    context = browser.new_context(**settings)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda event: said.append(event.text) if event.type == "error" else None)
    page.on("pageerror", lambda event: said.append(str(event)))
    page.on("dialog", lambda event: said.append(event.message))
    page.goto(address)
    yield page
    context.close()
    assert said == []


def enter(page: Page, token: str) -> None:
    """Sign in."""
    page.locator("input[name=token]").fill(token)
    page.locator("main button").click()
    expect(page.locator("#now")).to_be_visible()


@pytest.mark.parametrize("settings", [PHONE, DESKTOP], ids=["phone", "desk"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("said", [ENGLISH, FRENCH], ids=["english", "french"])
def test_a_visit(
    chromium: Browser,
    address: str,
    fresh_api: ApiFixture,
    said: Spoken,
    scripts: bool,
    settings: dict[str, Any],
) -> None:
    """Sign in, read the balance, ask for GPUs, see the answer come by itself, sign out."""
    more = {**settings, "locale": said.locale, "java_script_enabled": scripts}
    with opened(chromium, address, **more) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(said.sign_in)
        enter(page, fresh_api.tokens["acme"])
        expect(page.get_by_role("heading", name=said.left)).to_be_visible()
        expect(page.locator(".figure")).to_contain_text(said.figure)
        page.locator("input[name=gpus]").fill("1")
        page.locator("input[name=length]").fill("2")
        page.get_by_role("button", name=said.ask).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(said.asked)
        assert drain_of(fresh_api.book, fresh_api.state)(NOW_S) == 1
        expect(page.get_by_role("heading", level=1)).to_have_text(said.done, timeout=15_000)
        page.get_by_role("link", name=said.back).click()
        expect(page.get_by_role("cell", name="h100").first).to_be_visible()
        page.get_by_role("button", name=said.sign_out).click()
        expect(page.locator("input[name=token]")).to_be_visible()
    (request,) = read_requests(fresh_api.book, 10)
    assert (request.startup, request.gpus, request.duration_s) == ("acme", 1, 7200)


def test_a_notice_is_acknowledged(chromium: Browser, address: str, fresh_api: ApiFixture) -> None:
    """On a phone: the button, the answer, and the notice says that it was read."""
    with opened(chromium, address, **PHONE) as page:
        enter(page, fresh_api.tokens["acme"])
        page.get_by_role("button", name="I have read it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Asked")
        assert drain_of(fresh_api.book, fresh_api.state)(NOW_S) == 1
        expect(page.get_by_role("heading", level=1)).to_have_text("Done", timeout=15_000)
        page.get_by_role("link", name="Back to the page").click()
        expect(page.locator(".notice.live")).to_contain_text("read 1 Jan 1970")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("settings", [PHONE, DESKTOP], ids=["phone", "desk"])
def test_axe_finds_nothing_serious(
    chromium: Browser, address: str, fresh_api: ApiFixture, settings: dict[str, Any], scheme: str
) -> None:
    """The form, the page, a month and an answer, in both colours; none scrolls sideways."""
    with opened(chromium, address, **settings, color_scheme=scheme) as page:
        found = [*serious(page)]
        enter(page, fresh_api.tokens["acme"])
        found += serious(page)
        page.get_by_role("link", name="January 1970").click()
        found += serious(page)
        page.goto(address)
        page.locator("input[name=gpus]").fill("1")
        page.locator("input[name=length]").fill("2")
        page.get_by_role("button", name="Ask for GPUs").click()
        expect(page.locator("#outcome")).to_be_visible()
        found += serious(page)
    assert found == []


def serious(page: Page) -> list[str]:
    """What axe calls serious or critical on a page, and whether it scrolls sideways."""
    violations = Axe().run(page).response["violations"]
    found = [f"{each['id']}: {each['nodes']}" for each in violations if each["impact"] in SERIOUS]
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return found if width[0] <= width[1] else [*found, f"{page.url} is {width[0]} px wide"]


def test_the_page_keeps_itself_fresh(
    chromium: Browser, address: str, fresh_api: ApiFixture
) -> None:
    """The fragment that the page asks for takes the place of the old one."""
    with opened(chromium, address, **DESKTOP) as page:
        enter(page, fresh_api.tokens["acme"])
        expect(page.locator(".alarm")).to_have_text("in 30 minutes")
        fresh_api.clock.move_to(NOW_S + 600)
        for _ in range(20):  # a busy machine may serve the older status once more
            page.evaluate(REFRESH)
            if page.locator(".alarm").text_content() == "in 20 minutes":
                break
        expect(page.locator(".alarm")).to_have_text("in 20 minutes")
        expect(page.locator("#now")).to_have_attribute("hx-trigger", "every 30s")


def test_the_keyboard_reaches_the_content_first(
    chromium: Browser, address: str, fresh_api: ApiFixture
) -> None:
    """The first stop is a link past the navigation, and what has the focus is visible."""
    with opened(chromium, address, **DESKTOP) as page:
        enter(page, fresh_api.tokens["acme"])
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        expect(skip).to_have_css("outline-style", re.compile("solid"))


def test_the_picture_says_what_it_shows(
    chromium: Browser, address: str, fresh_api: ApiFixture
) -> None:
    """The curve is an image with a name and a sentence, not a heap of lines."""
    with opened(chromium, address, **DESKTOP) as page:
        enter(page, fresh_api.tokens["acme"])
        picture = page.get_by_role("img", name="Credits left over the cohort")
        expect(picture).to_have_accessible_description(re.compile(r"of 1\.00 credits are left"))
        expect(picture.locator("polyline")).to_have_count(3)
