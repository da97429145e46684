"""The configuration: its sources, their order, and every mistake told at once and in its place."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from scheduler.config import SETTINGS, Config, ConfigError, database_dsn, database_path, load_config, resolve_config
from scheduler.config.checks import shown_url
from tests.configs import load, problems

SECRET = "s" * 32


def test_nothing_given_is_the_defaults() -> None:
    config = load()
    assert config == Config()
    assert database_path(config) == Path("scheduler-data/scheduler.db")


def test_each_source_goes_before_the_next(tmp_path: Path) -> None:
    text = '[server]\nport = 1\nhost = "file.example"\n[engine]\nconcurrency = 3\n'
    environ = {"SCHEDULER_SERVER__PORT": "2", "SCHEDULER_SERVER__HOST": "variable.example"}
    config = load(text, environ, {"server.port": 4, "server.host": None}, tmp_path=tmp_path)
    assert (config.server.port, config.server.host) == (4, ("variable.example",))
    assert config.engine.concurrency == 3
    assert config.engine.batch_size == Config().engine.batch_size


def test_origins_tell_where_a_value_stood(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("\n[engine]\ndrain_s = 1.5\n")
    resolved = resolve_config(path=path, environ={"SCHEDULER_LOG__LEVEL": "debug"}, flags={"server.port": 9})
    assert resolved.origins == {
        "engine.drain_s": f"{path}:3",
        "log.level": "SCHEDULER_LOG__LEVEL",
        "server.port": "--port",
    }


def test_the_names_of_the_original_work_and_give_way_to_ours() -> None:
    config = load(
        environ={
            "DATABASE_URL": "sqlite:///old.db",
            "SCHEDULER_TICK_INTERVAL": "0.5",
            "SCHEDULER_BATCH_SIZE": "50",
            "SCHEDULER_ENGINE__BATCH_SIZE": "60",
            "SCHEDULER_DATA_DIR": "/srv/scheduler",
        }
    )
    assert config.database.url == "sqlite:///old.db"
    assert config.engine.tick_s == 0.5
    assert config.engine.batch_size == 60
    assert config.data_dir == Path("/srv/scheduler")


def test_a_flag_decides_so_the_variable_is_not_looked_at() -> None:
    config = load(environ={"DATABASE_URL": "mysql://elsewhere"}, flags={"database.url": "sqlite:////srv/a.db"})
    assert database_path(config) == Path("/srv/a.db")


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "named.toml"
    path.write_text("dev = true\n")
    assert load(environ={"SCHEDULER_CONFIG": str(path)}).dev


def test_a_file_in_the_working_directory_is_not_read_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("dev = true\n")
    monkeypatch.chdir(tmp_path)
    assert not load().dev


@pytest.mark.parametrize(
    ("text", "value"), [("a, 10.0.0.0/8 ,", ("a", "10.0.0.0/8")), ("", ()), ("127.0.0.1:9000", ("127.0.0.1:9000",))]
)
def test_lists_in_variables_are_comma_separated(text: str, value: tuple[str, ...]) -> None:
    assert load(environ={"SCHEDULER_EGRESS__ALLOW": text}).egress.allow == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("Yes", True), ("off", False)])
def test_variables_say_true_and_false_in_several_words(text: str, value: bool) -> None:
    assert load(environ={"SCHEDULER_METRICS__PUBLIC": text}).metrics.public is value


def test_an_empty_variable_takes_back_what_may_be_absent(tmp_path: Path) -> None:
    text = '[auth]\naudience = "a"\n'
    assert load(text, {"SCHEDULER_AUTH__AUDIENCE": ""}, tmp_path=tmp_path).auth.audience is None
    assert problems(environ={"SCHEDULER_SERVER__HOST": ""}) == ["SCHEDULER_SERVER__HOST: must not be empty"]


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text(f"{SECRET}\n")
    (tmp_path / "key").write_text(base64.b64encode(bytes(32)).decode() + "\n")
    config = load(
        environ={
            "SCHEDULER_AUTH__JWT_SECRET_FILE": str(tmp_path / "jwt"),
            "SCHEDULER_SECRET_KEY_FILE": str(tmp_path / "key"),
        }
    )
    assert config.auth.jwt_secret == SECRET
    assert config.secret_key is not None
    assert SECRET not in repr(config)
    assert config.secret_key not in repr(config)


def test_a_secret_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text(f"{SECRET}\r\n", encoding="utf-8-sig")
    assert load(environ={"SCHEDULER_AUTH__JWT_SECRET_FILE": str(tmp_path / "jwt")}).auth.jwt_secret == SECRET


def test_a_secret_file_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    environ = {
        "SCHEDULER_SECRET_KEY_FILE": absent,
        "SCHEDULER_AUTH__JWT_SECRET": SECRET,
        "SCHEDULER_AUTH__JWT_SECRET_FILE": absent,
    }
    assert problems(environ=environ) == [
        f"SCHEDULER_SECRET_KEY_FILE: {absent} cannot be read: No such file or directory",
        "SCHEDULER_AUTH__JWT_SECRET_FILE: set together with SCHEDULER_AUTH__JWT_SECRET: keep one of them",
    ]


def test_all_problems_of_all_sources_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = """
port = 1
[server]
prot = 8
port = 99_999
[egres]
allow = []
[egress]
allow = [
  "10.0.0.1/8",
]
[auth]
jwt_secret = "short"
audience = '''
[server]
host = 1
'''
[log]
level = "loud"
"""
    environ = {"SCHEDULER_SERVER__PROT": "1", "SCHEDULER_ENGINE__LEASE_S": "soon"}
    assert problems(text, environ, {"database.url": "mysql://db/x"}, tmp_path=tmp_path) == [
        "scheduler.toml:2: port: unknown key, did you mean server.port?",
        "scheduler.toml:4: server.prot: unknown key, did you mean server.port?",
        "scheduler.toml:5: server.port: must be 0 to 65,535, not 99999",
        "scheduler.toml:6: egres: unknown key, did you mean [egress]?",
        'scheduler.toml:9: egress.allow: "10.0.0.1/8" is no network (172.18.0.0/16), address or host name',
        "scheduler.toml:14: auth.audience: must be one line without control characters",
        'scheduler.toml:19: log.level: must be one of debug, info, warning, error, not "loud"',
        'SCHEDULER_ENGINE__LEASE_S: must be a number, not "soon"',
        "SCHEDULER_SERVER__PROT: unknown variable, did you mean SCHEDULER_SERVER__PORT?",
        f"--database-url: {WRONG_FORM}",
        "scheduler.toml:13: auth.jwt_secret: must be 32 bytes or more for HS256, not 5",
    ]


WRONG_PROXY = "must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special characters percent-encoded"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server = 1\n", "scheduler.toml:1: server: is a section: write [server] and its keys below"),
        ("[server]\nport = true\n", "scheduler.toml:2: server.port: must be a whole number, not True"),
        ("[server]\nport = 1.5\n", "scheduler.toml:2: server.port: must be a whole number, not 1.5"),
        ("[engine]\ndrain_s = nan\n", "scheduler.toml:2: engine.drain_s: must be a number, not nan"),
        ("[egress]\nallow = [1]\n", "scheduler.toml:2: egress.allow: must be a list of texts, not [1]"),
        (
            "[egress]\nca_file = '/nowhere/ca.pem'\n",
            "scheduler.toml:2: egress.ca_file: /nowhere/ca.pem cannot be read: No such file or directory",
        ),
        (
            "[egress]\nca_file = '/dev/null'\n",
            "scheduler.toml:2: egress.ca_file: must have certificates in PEM, which /dev/null has not",
        ),
        *(
            (
                f"[egress]\nproxy = '{proxy}'\n",
                f"scheduler.toml:2: egress.proxy: {WRONG_PROXY}",
            )
            for proxy in (
                "proxy:3128",
                "https://proxy:3128",
                "http://proxy",
                "http://proxy:0",
                "http://p:1/x",
                "http://a..b:3128",
                "http://ann:secret@.b:3128",
                "http://proxy.5:3128",
            )
        ),
        ('server = { host = "a", port = "b" }', 'scheduler.toml:1: server.port: must be a whole number, not "b"'),
        ('server.host = "a"\nserver.port = -1', "scheduler.toml:2: server.port: must be 0 to 65,535, not -1"),
        ("\r\n# c\r\ndev = 1\r\n", "scheduler.toml:3: dev: must be true or false, not 1"),
        ("[[log]]\nlevel = 'info'\n", "scheduler.toml:1: log: is a section: write [log] and its keys below"),
        ("[server.tls]\ncert = 'a'\n", "scheduler.toml:1: server.tls: unknown key"),
    ],
)
def test_a_mistake_in_the_file_has_its_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "scheduler.toml").write_bytes(text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path=tmp_path / "scheduler.toml", environ={}, flags={})
    assert str(caught.value).replace(f"{tmp_path}/", "") == told


@pytest.mark.parametrize(("text", "line"), [('a = "', 1), ("[server]\nport = \n", 2), ("a = 1\n\na = 2\n", 3)])
def test_a_file_that_is_no_toml_is_refused_where_it_stops_to_be(text: str, line: int, tmp_path: Path) -> None:
    (told,) = problems(text, tmp_path=tmp_path)
    assert told.startswith(f"scheduler.toml:{line}: not TOML: ")


def test_a_file_that_is_absent_or_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"a = 1\n\xff")
    for name, why in (("absent", "cannot be read: No such file or directory"), ("binary", "not UTF-8 at byte 6")):
        with pytest.raises(ConfigError) as caught:
            load_config(path=tmp_path / name, environ={}, flags={})
        assert str(caught.value) == f"{tmp_path / name}: {why}"


WRONG_FORM = (
    "must be sqlite:///RELATIVE or sqlite:////ABSOLUTE, a path of a file, or postgresql://USER:PASSWORD@HOST/DATABASE"
)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("sqlite://a.db", WRONG_FORM),
        ("sqlite:///", WRONG_FORM),
        ("a.db", WRONG_FORM),
        (
            "postgresql://db:70000/x",
            "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, the port a number from 1 to 65535",
        ),
        ("mysql://db/x", WRONG_FORM),
        ("sqlite:///:memory:", "must be a file: jobs in memory would not survive a restart"),
        ("sqlite:///a.db?mode=ro", "must be a plain path, without ? and #"),
    ],
)
def test_the_url_of_no_database_is_refused(url: str, wrong: str) -> None:
    assert problems(environ={"SCHEDULER_DATABASE__URL": url}) == [f"SCHEDULER_DATABASE__URL: {wrong}"]


@pytest.mark.parametrize(("url", "path"), [("sqlite:///a.db", "a.db"), ("sqlite:////srv/a.db", "/srv/a.db")])
def test_the_url_of_a_file_names_its_path(url: str, path: str) -> None:
    assert database_path(load(environ={"SCHEDULER_DATABASE__URL": url})) == Path(path)


@pytest.mark.parametrize("url", ["postgresql://db.example.org/scheduler", "postgresql://ann:secret@db:5433/scheduler"])
def test_the_url_of_a_server_may_name_a_driver(url: str) -> None:
    for written in (url, url.replace("postgresql:", "postgresql+asyncpg:")):
        assert database_dsn(load(environ={"SCHEDULER_DATABASE__URL": written})) == url


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "node-1.example.org", "fe80::1%eth0", "host."])
def test_addresses_and_names_to_listen_at_are_accepted(host: str) -> None:
    assert load(flags={"server.host": host}).server.host == (host,)


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", "http://ann:se%20cret@10.0.0.1:80/", "http://[2001:db8::1]:3128", "http://a.b.:3128"]
)
def test_names_and_addresses_of_an_egress_proxy_are_accepted(url: str) -> None:
    assert load(environ={"SCHEDULER_EGRESS__PROXY": url}).egress.proxy == url


@pytest.mark.parametrize("host", ["", ("",), ("127.0.0.1", "")])
def test_an_empty_host_is_refused_in_words(host: str | tuple[str, ...]) -> None:
    assert problems(flags={"server.host": host}) == ["--host: must be a list of texts, and none of them empty"]


@pytest.mark.parametrize("host", ["localhost:80", "http://a", "a b", "[::1]", "a..b", "foo.5", "a%eth0"])
def test_a_malformed_host_is_refused(host: str) -> None:
    assert problems(flags={"server.host": host}) == [
        f'--host: must be one address or host name without a port, not "{host}"'
    ]


def test_variables_of_others_are_left_alone() -> None:
    assert load(environ={"SCHEDULER_PORT": "tcp://10.0.0.1:80", "SCHEDULER_URL": "x", "A__B": "c"}) == Config()


def test_every_default_is_a_value_that_would_be_accepted(tmp_path: Path) -> None:
    text = {
        setting.variable: ",".join(setting.default) if isinstance(setting.default, tuple) else str(setting.default)
        for setting in SETTINGS.values()
        if setting.default is not None
    }
    assert load(environ=text) == Config()


@pytest.mark.parametrize("entry", ["10.0.0.1", "172.18.0.0/16", "::1", "2001:db8::/32"])
def test_networks_and_addresses_of_proxies_can_be_trusted(entry: str) -> None:
    assert load(environ={"SCHEDULER_SERVER__TRUSTED_PROXIES": entry}).server.trusted_proxies == (entry,)


def test_a_secret_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt"
    path.write_text("x" * 32)
    path.chmod(0o646)
    with pytest.raises(ConfigError, match="can be written by every user of this machine"):
        load(environ={"SCHEDULER_AUTH__JWT_SECRET_FILE": str(path)})


@pytest.mark.parametrize("token", ["short", "with a blank in between", "mit-Umlaut-äußerst-lang"])
def test_a_token_for_scrapers_is_long_and_fits_into_a_header(token: str) -> None:
    with pytest.raises(ConfigError, match="must have 16 characters or more"):
        load(environ={"SCHEDULER_METRICS__TOKEN": token})


@pytest.mark.parametrize("entry", ["proxy", "10.0.0.1/8", "10.0.0.1:80", "*"])
def test_only_networks_and_addresses_can_be_trusted(entry: str) -> None:
    with pytest.raises(ConfigError, match="is no network"):
        load(environ={"SCHEDULER_SERVER__TRUSTED_PROXIES": entry})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://ann:se:c/r@et@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://:secret@db/x", "postgresql://:***@db/x"),
        ("postgresql:///x?host=/run&password=secret&user=ann", "postgresql:///x?host=/run&password=***&user=ann"),
        (
            "postgresql://ann:a@db/x?sslkey=/k&sslpassword=secret&PASSWORD=secret",
            "postgresql://ann:***@db/x?sslkey=/k&sslpassword=***&PASSWORD=***",
        ),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
