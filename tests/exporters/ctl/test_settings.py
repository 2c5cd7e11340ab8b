"""Where the API is and with which token: the environment wins, an open file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.ctl.settings import Settings, SettingsError, config_path, read_settings


def config(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """An environment that names a file with this text."""
    path = folder / "cohortctl.toml"
    path.write_text(text)
    path.chmod(mode)
    return {"COHORTCTL_CONFIG": str(path)}


def test_the_file_says_both(tmp_path: Path) -> None:
    """url and token come from the file; a slash at the address's end is left off."""
    env = config(tmp_path, 'url = "https://c.example/"\ntoken = "t1"\n')
    assert read_settings(env) == Settings("https://c.example", "t1")


def test_the_environment_wins(tmp_path: Path) -> None:
    """COHORTCTL_URL and COHORTCTL_TOKEN stand above the file, and need none."""
    own = {"COHORTCTL_URL": "http://127.0.0.1:1", "COHORTCTL_TOKEN": "t2"}
    env = config(tmp_path, 'url = "https://c.example"\ntoken = "t1"\n')
    for given in ({**env, **own}, {**own, "HOME": str(tmp_path)}):
        assert read_settings(given) == Settings("http://127.0.0.1:1", "t2")


def test_a_token_file_lies_beside_its_file(tmp_path: Path) -> None:
    """token_file is read from the settings' own folder, without its last line's end."""
    (tmp_path / "token").write_text("t3\n")
    (tmp_path / "token").chmod(0o600)
    env = config(tmp_path, 'url = "https://c.example"\ntoken_file = "token"\n', 0o644)
    assert read_settings(env).token == "t3"


@pytest.mark.parametrize("named", ["the file", "token_file"])
def test_a_token_that_everybody_may_read_is_refused(tmp_path: Path, named: str) -> None:
    """A sentence that says chmod 600, of whichever file holds the token."""
    (tmp_path / "token").write_text("t3")
    (tmp_path / "token").chmod(0o644)
    line = 'token = "t1"' if named == "the file" else 'token_file = "token"'
    env = config(tmp_path, f'url = "https://c.example"\n{line}\n', 0o644)
    with pytest.raises(
        SettingsError, match="everybody on this machine may read it: run 'chmod 600"
    ):
        read_settings(env)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no address of the API is set"),
        ('url = "https://c.example"', "no token is set"),
        ('url = "c.example"\ntoken = "t"', "write https://HOST"),
        ('url = "https://c.example"\ntoken = "a b"', "copy it again"),
        ('url = "https://c.example"\ntoken = "t"\ntoken_file = "f"', "keep one of them"),
        ('ulr = "https://c.example"', "ulr is no setting; it takes url, token, token_file"),
        ("url = 5", "url is not a text"),
        ("url =", "is no TOML"),
        ('url = "https://c.example"\ntoken_file = "none"', "token_file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    """Each fault names the file or the setting, and how it should be."""
    with pytest.raises(SettingsError, match=says) as refused:
        read_settings(config(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_the_file_is_where_users_keep_theirs(tmp_path: Path) -> None:
    """~/.config/cohortctl.toml, or below $XDG_CONFIG_HOME."""
    assert config_path({"HOME": "/home/ana"}) == Path("/home/ana/.config/cohortctl.toml")
    assert config_path({"XDG_CONFIG_HOME": "/etc/x"}) == Path("/etc/x/cohortctl.toml")
