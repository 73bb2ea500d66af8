"""Who wins, and what each source may say."""

import os
from pathlib import Path

import pytest

from syncd.errors import InvalidInput, NotFound
from syncd.settings import Remote, load, read
from syncd.settings.shape import KEYS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def write(home: Path, text: str, place: str = ".config/syncd/config.toml") -> Path:
    file = home / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def env(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **more}


def test_with_nothing_set_everything_follows_xdg_and_the_remote_lies_below_the_state_directory(home: Path) -> None:
    loaded = read({}, env(home), system_file=b"/nowhere")
    settings = loaded.settings
    assert settings.state_dir == os.fsencode(home / ".local/state/syncd")
    assert settings.cache_dir == os.fsencode(home / ".cache/syncd")
    assert settings.socket == os.fsencode(home / "run/syncd/syncd.sock")
    assert settings.remotes == (Remote(f"file://{home}/.local/state/syncd/remote"),)
    assert settings.memory_budget == 256 << 20
    assert {origin.source for origin in loaded.origins.values()} == {"default"}


def test_flags_win_over_environment_over_user_file_over_system_file(home: Path) -> None:
    system = write(home, 'project = "system"\nidle_exit = 1\nbandwidth = 1\nmemory_budget = 1', "etc/config.toml")
    write(home, 'project = "user"\nidle_exit = 2\nbandwidth = 2')
    environ = env(home, SYNCD_PROJECT="env", SYNCD_IDLE_EXIT="3")
    loaded = read({"project": "flag"}, environ, system_file=os.fsencode(system))
    settings = loaded.settings
    assert (settings.project, settings.idle_exit, settings.bandwidth, settings.memory_budget) == ("flag", 3, 2, 1)
    assert loaded.origins["project"].source == "flag --project"
    assert loaded.origins["idle_exit"].source == "SYNCD_IDLE_EXIT"
    assert loaded.origins["bandwidth"].source == f"file {home}/.config/syncd/config.toml"
    assert loaded.origins["memory_budget"].source == f"file {system}"
    assert loaded.origins["web"].source == "default"


def test_drop_ins_beside_a_file_win_over_it_and_the_last_over_the_first(home: Path) -> None:
    system = write(home, "idle_exit = 1\nbandwidth = 1\nmemory_budget = 1", "etc/config.toml")
    late = write(home, "bandwidth = 20\nmemory_budget = 20", "etc/conf.d/20-late.toml")
    write(home, "bandwidth = 10\nretry.tries = 10", "etc/conf.d/10-early.toml")
    for name in ("etc/conf.d/.hidden.toml", "etc/conf.d/30.toml.bak"):
        write(home, "nonsense = 1", name)
    user = write(home, "memory_budget = 2")
    own = write(home, "idle_exit = 3", ".config/syncd/conf.d/a.toml")
    loaded = read({}, env(home), system_file=os.fsencode(system))
    settings = loaded.settings
    assert (settings.idle_exit, settings.bandwidth, settings.memory_budget, settings.retry.tries) == (3, 20, 2, 10)
    assert loaded.origins["idle_exit"].source == f"file {own}"
    assert loaded.origins["bandwidth"].source == f"file {late}"
    assert loaded.origins["memory_budget"].source == f"file {user}"
    assert not read({"config": str(user)}, env(home), system_file=os.fsencode(system)).settings.bandwidth


def test_a_file_named_by_flag_or_environment_counts_alone(home: Path) -> None:
    write(home, 'project = "user"')
    named = write(home, "idle_exit = 5", "mine.toml")
    for flags, environ in (({"config": str(named)}, env(home)), ({}, env(home, SYNCD_CONFIG=str(named)))):
        loaded = read(flags, environ)
        assert loaded.settings.project == "uncategorized"
        assert loaded.settings.idle_exit == 5
        assert loaded.files == (os.fsencode(named),)


def test_a_file_asked_for_by_name_must_exist(home: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.toml"):
        read({"config": str(home / "none.toml")}, env(home))


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_can_be_set_by_its_environment_name(home: Path, key: str) -> None:
    given = {
        "an absolute path": "/x/y", '"auto" or "off"': "off", "true or false": "0",
        "a number above 0, at most 1": "0.25", '"off", "127.0.0.1:PORT" or "unix:/path"': "127.0.0.1:8080",
    }  # fmt: skip
    kind = KEYS[key].about.kind
    text = "debug" if key == "log_level" else given.get(kind.expected, "7")
    text = "/a:/b" if key == "pin.spool_dirs" else text
    extra = {"SYNCD_CHUNKER_MINIMUM": "1", "SYNCD_CHUNKER_AVERAGE": "2", "SYNCD_CHUNKER_MAXIMUM": "7"}
    if key.startswith("chunker."):
        text = extra.pop(KEYS[key].env)
    else:
        extra = {}
    loaded = read({}, env(home, **{KEYS[key].env: text}, **extra), system_file=b"/nowhere")
    assert loaded.origins[key].source == KEYS[key].env
    assert loaded.unknown_env == ()


def test_the_names_that_people_are_promised_are_the_names(home: Path) -> None:
    environ = env(
        home, SYNCD_SOCKET="/s/sock", SYNCD_STATE_DIR="/s/state", SYNCD_CACHE_DIR="/s/cache", SYNCD_REMOTE="/mnt/a b",
        SYNCD_PROJECT="p", SYNCD_PURE="1", SYNCD_UVLOOP="0", SYNCD_AUTOSTART="0", SYNCD_ARTIFACT_DIR="a",
    )  # fmt: skip
    loaded = read({}, environ, system_file=b"/nowhere")
    settings = loaded.settings
    assert (settings.socket, settings.state_dir, settings.cache_dir) == (b"/s/sock", b"/s/state", b"/s/cache")
    assert settings.primary.url == "file:///mnt/a%20b"
    assert (settings.project, settings.pure, settings.uvloop) == ("p", True, False)
    assert loaded.unknown_env == ()


def test_a_relative_path_in_the_environment_means_the_working_directory(home: Path) -> None:
    settings = load({}, env(home, SYNCD_STATE_DIR="here"))
    assert settings.state_dir == os.path.join(os.getcwdb(), b"here")


def test_a_name_in_the_environment_that_nobody_reads_is_told(home: Path) -> None:
    assert read({}, env(home, SYNCD_PROJET="x")).unknown_env == ("SYNCD_PROJET",)


def test_systemds_directories_win_over_environment_and_file(home: Path) -> None:
    write(home, 'state_dir = "/file"')
    environ = env(
        home, SYNCD_STATE_DIR="/env", STATE_DIRECTORY="/var/lib/syncd:/other", CACHE_DIRECTORY="/var/cache/syncd",
        RUNTIME_DIRECTORY="/run/syncd", SYSTEMD_EXEC_PID="77",
    )  # fmt: skip
    loaded = read({}, environ, pid=77)
    assert loaded.settings.state_dir == b"/var/lib/syncd"
    assert loaded.settings.cache_dir == b"/var/cache/syncd"
    assert loaded.settings.socket == b"/run/syncd/syncd.sock"
    assert loaded.origins["state_dir"].source == "systemd's STATE_DIRECTORY"


def test_systemds_directories_of_another_process_are_not_ours(home: Path) -> None:
    environ = env(home, SYNCD_STATE_DIR="/env", STATE_DIRECTORY="/var/lib/trainer", SYSTEMD_EXEC_PID="77")
    assert read({}, environ, pid=78).settings.state_dir == b"/env"


def test_a_mirror_stands_beside_the_primary_in_any_order(home: Path) -> None:
    config = home / "mirrored.toml"
    config.write_text('[[remote]]\nurl = "file:///b"\nrole = "mirror"\n[[remote]]\nurl = "file:///a"\n')
    settings = read({"config": str(config)}, env(home)).settings
    assert (settings.primary.url, settings.mirror) == ("file:///a", Remote("file:///b", "mirror"))
    config.write_text('[[remote]]\nurl = "file:///b"\nrole = "mirror"\n')
    with pytest.raises(InvalidInput, match="no primary"):
        read({"config": str(config)}, env(home))


def test_the_remotes_are_a_list(home: Path) -> None:
    write(home, '[[remote]]\nurl = "file:///mnt/share"\nrole = "primary"\n')
    loaded = read({}, env(home))
    assert loaded.settings.remotes == (Remote("file:///mnt/share", "primary"),)
    assert loaded.origins["remote"].source.startswith("file ")
    assert read({}, env(home, SYNCD_REMOTE="file:///other")).settings.primary.url == "file:///other"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("memory_buget = 1", ("memory_buget", "did you mean memory_budget?")),
        ("[upload]\nconcurency = 1", ("upload.concurency", "did you mean upload.concurrency?")),
        ("concurrency = 1", ("unknown setting concurrency", "did you mean upload.concurrency?")),
        ("[uplaod]\nconcurrency = 1", ("uplaod", "did you mean upload")),
        ('[[remote]]\nurl = "file:///x"\nidle_exit = 3', ("remote.idle_exit", "move idle_exit above [[remote]]")),
        (
            '[[remote]]\nurl = "file:///x"\nmemroy_budget = 3',
            ("remote.memroy", "write memory_budget, above [[remote]]"),
        ),
        ('[[remote]]\nurl = "file:///x"\nrol = "primary"', ("remote.rol", "did you mean remote.role?")),
        ('memory_budget = "many"', ("memory_budget", "config.toml", "expected bytes, or a size")),
        ('upload.concurrency = "4"', ("upload.concurrency", "config.toml", "expected a whole number")),
        ("upload.concurrency = true", ("upload.concurrency", "expected a whole number")),
        ("uvloop = 1", ("uvloop", "expected true or false")),
        ('state_dir = "here"', ("state_dir", "expected an absolute path")),
        ('web = "0.0.0.0:80"', ("web", 'expected "off", "127.0.0.1:PORT"')),
        ('upload.compression = "lzma"', ("upload.compression", 'expected "auto" or "off"')),
        ('[[remote]]\nurl = "nonsense"', ("remote.url", "expected a URL")),
        ('[[remote]]\nurl = "file:///a"\n[[remote]]\nurl = "file:///b"', ("2 primary remotes", "one is used")),
        ("remote = []", ("remote", "[[remote]]")),
        ("chunker.average = 64", ("chunker.minimum", "set all three")),
        ("upload.concurrency = 0", ("upload.concurrency", "1 or more")),
        ("project = ", ("not TOML", "config.toml")),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_key_place_and_remedy(
    home: Path, text: str, said: tuple[str, ...]
) -> None:
    write(home, text)
    with pytest.raises(InvalidInput) as caught:
        read({}, env(home))
    for words in said:
        assert words in str(caught.value)
    assert caught.value.hint


def test_what_is_wrong_in_the_environment_names_the_variable(home: Path) -> None:
    with pytest.raises(InvalidInput, match="SYNCD_MEMORY_BUDGET"):
        read({}, env(home, SYNCD_MEMORY_BUDGET="lots"))


def test_a_credential_in_a_bad_url_is_not_repeated(home: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read({}, env(home, SYNCD_REMOTE="s3:key:hunter2@bucket"))
    assert "hunter2" not in str(caught.value)
