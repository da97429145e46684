"""The configuration: its sources, their order, and every mistake told at once and in its place."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scheduler.config import SETTINGS, Config, ConfigError, database_dsn, database_path, load_config, resolve_config
from scheduler.config.checks import shown_url

SECRET = "s" * 32


def load(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    tmp_path: Path | None = None,
) -> Config:
    path = None
    if text is not None:
        assert tmp_path is not None
        path = tmp_path / "scheduler.toml"
        path.write_text(text)
    return load_config(path=path, environ=environ or {}, flags=flags or {})


def problems(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    tmp_path: Path | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, environ, flags, tmp_path=tmp_path)
    return [str(one).replace(f"{tmp_path}/", "") for one in caught.value.problems]


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
def test_truth_in_variables(text: str, value: bool) -> None:
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server = 1\n", "scheduler.toml:1: server: is a section: write [server] and its keys below"),
        ("[server]\nport = true\n", "scheduler.toml:2: server.port: must be a whole number, not True"),
        ("[server]\nport = 1.5\n", "scheduler.toml:2: server.port: must be a whole number, not 1.5"),
        ("[engine]\ndrain_s = nan\n", "scheduler.toml:2: engine.drain_s: must be a number, not nan"),
        ("[egress]\nallow = [1]\n", "scheduler.toml:2: egress.allow: must be a list of texts, not [1]"),
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
        ("sqlite:///a.db", None),
        ("sqlite:////srv/a.db", None),
        ("sqlite://a.db", WRONG_FORM),
        ("sqlite:///", WRONG_FORM),
        ("a.db", WRONG_FORM),
        ("postgresql://db.example.org/scheduler", None),
        ("postgresql+asyncpg://ann:secret@db:5433/scheduler", None),
        (
            "postgresql://db:70000/x",
            "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, the port a number from 1 to 65535",
        ),
        ("mysql://db/x", WRONG_FORM),
        ("sqlite:///:memory:", "must be a file: jobs in memory would not survive a restart"),
        ("sqlite:///a.db?mode=ro", "must be a plain path, without ? and #"),
    ],
)
def test_database_urls(url: str, wrong: str | None) -> None:
    environ = {"SCHEDULER_DATABASE__URL": url}
    if wrong is None and url.startswith("postgresql"):
        assert database_dsn(load(environ=environ)) == url.replace("+asyncpg", "")
    elif wrong is None:
        assert database_path(load(environ=environ)) == Path(url.removeprefix("sqlite:///"))
    else:
        assert problems(environ=environ) == [f"SCHEDULER_DATABASE__URL: {wrong}"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "node-1.example.org"])
def test_hosts(host: str) -> None:
    assert load(flags={"server.host": host}).server.host == (host,)


@pytest.mark.parametrize("host", ["localhost:80", "http://a", "a b", "[::1]"])
def test_hosts_that_are_none(host: str) -> None:
    assert problems(flags={"server.host": host}) == [
        f'--host: must be one address or host name without a port, not "{host}"'
    ]


def test_a_secret_is_as_long_as_its_algorithm_asks_and_never_shown(tmp_path: Path) -> None:
    text = '[auth]\nalgorithm = "HS512"\n'
    assert load(text, {"SCHEDULER_AUTH__JWT_SECRET": "s" * 64}, tmp_path=tmp_path).auth.algorithm == "HS512"
    told = problems(text, {"SCHEDULER_AUTH__JWT_SECRET": "s" * 63}, tmp_path=tmp_path)
    assert told == ["SCHEDULER_AUTH__JWT_SECRET: must be 64 bytes or more for HS512, not 63"]
    for wrong in ("[auth]\njwt_secret = 31337\n", "secret_key = 'hunter2'\n"):
        (line,) = problems(wrong, tmp_path=tmp_path)
        assert "31337" not in line
        assert "hunter2" not in line


def test_variables_of_others_are_left_alone() -> None:
    assert load(environ={"SCHEDULER_PORT": "tcp://10.0.0.1:80", "SCHEDULER_URL": "x", "A__B": "c"}) == Config()


def test_every_default_is_a_value_that_would_be_accepted(tmp_path: Path) -> None:
    text = {
        setting.variable: ",".join(setting.default) if isinstance(setting.default, tuple) else str(setting.default)
        for setting in SETTINGS.values()
        if setting.default is not None
    }
    assert load(environ=text) == Config()


def public_pem(curve: ec.EllipticCurve) -> bytes:
    """The public half of a new key on this curve."""
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_keys_of_an_identity_provider(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(public_pem(ec.SECP256R1()))
    auth = load(
        environ={
            "SCHEDULER_AUTH__ALGORITHM": "ES256",
            "SCHEDULER_AUTH__PUBLIC_KEY_FILE": str(tmp_path / "key.pem"),
            "SCHEDULER_AUTH__KEY_ID": "2027-01",
        }
    ).auth
    assert (auth.algorithm, auth.public_key_file, auth.key_id) == ("ES256", tmp_path / "key.pem", "2027-01")
    url = "https://id.example.org/keys"
    auth = load(environ={"SCHEDULER_AUTH__ALGORITHM": "EdDSA", "SCHEDULER_AUTH__JWKS_URL": url}).auth
    assert (auth.algorithm, auth.jwks_url) == ("EdDSA", url)
    local = {"SCHEDULER_AUTH__ALGORITHM": "RS256", "SCHEDULER_AUTH__JWKS_URL": "http://127.0.0.1:9000/keys"}
    assert load(environ=local, flags={"dev": True}).auth.jwks_url == "http://127.0.0.1:9000/keys"


def test_settings_of_tokens_that_do_not_fit_together_are_told_at_once(tmp_path: Path) -> None:
    choices = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
    superfluous = f"is not used with HS256: set auth.algorithm to one of {choices}, or remove it"
    text = """[auth]
public_key_file = "key.pem"
jwks_url = "https://id.example.org/keys"
jwt_secret = "short"
"""
    assert problems(text, tmp_path=tmp_path) == [
        "scheduler.toml:4: auth.jwt_secret: must be 32 bytes or more for HS256, not 5",
        f"scheduler.toml:2: auth.public_key_file: {superfluous}",
        f"scheduler.toml:3: auth.jwks_url: {superfluous}",
    ]
    absent = tmp_path / "key.pem"
    text = f"""[auth]
algorithm = "RS256"
public_key_file = "{absent}"
jwks_url = "http://localhost/keys"
jwt_secret = "{SECRET}"
key_id = "a"
"""
    assert problems(text, tmp_path=tmp_path) == [
        "scheduler.toml:4: auth.jwks_url: is set together with auth.public_key_file: keep one of them",
        "scheduler.toml:5: auth.jwt_secret: is not used with RS256: remove it",
        "scheduler.toml:6: auth.key_id: is not used with auth.jwks_url, whose keys have their own names: remove it",
        "scheduler.toml:3: auth.public_key_file: key.pem cannot be read: No such file or directory",
        "scheduler.toml:4: auth.jwks_url: http on loopback is for development: set dev, or use https",
    ]
    assert problems(environ={"SCHEDULER_AUTH__ALGORITHM": "PS512"}) == [
        "SCHEDULER_AUTH__ALGORITHM: PS512 needs auth.public_key_file or auth.jwks_url"
    ]


def test_an_algorithm_that_is_none_is_the_only_problem_of_its_keys() -> None:
    environ = {"SCHEDULER_AUTH__ALGORITHM": "RS265", "SCHEDULER_AUTH__JWKS_URL": "https://id.example.org/keys"}
    (told,) = problems(environ=environ)
    assert told.startswith("SCHEDULER_AUTH__ALGORITHM: must be one of HS256, ")


@pytest.mark.parametrize(
    ("algorithm", "content", "wrong"),
    [
        ("RS256", public_pem(ec.SECP256R1()), "does not fit: RS256 needs an RSA key of 2048 to 8192 bits"),
        ("ES256", public_pem(ec.SECP384R1()), "does not fit: ES256 needs a key on the curve P-256"),
        ("EdDSA", public_pem(ec.SECP256R1()), "does not fit: EdDSA needs an Ed25519 key"),
        ("EdDSA", b"hello", "holds no public key in PEM: -----BEGIN PUBLIC KEY-----"),
    ],
)
def test_a_public_key_must_fit_its_algorithm(tmp_path: Path, algorithm: str, content: bytes, wrong: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    environ = {"SCHEDULER_AUTH__ALGORITHM": algorithm, "SCHEDULER_AUTH__PUBLIC_KEY_FILE": str(path)}
    assert problems(environ=environ) == [f"SCHEDULER_AUTH__PUBLIC_KEY_FILE: {path} {wrong}"]


@pytest.mark.parametrize(
    "url", ["http://id.example.org/keys", "id.example.org", "https://", "https://a:b@c/", "https://a/#b", "ftp://a/"]
)
def test_addresses_of_key_sets_that_are_refused(url: str) -> None:
    environ = {"SCHEDULER_AUTH__ALGORITHM": "RS256", "SCHEDULER_AUTH__JWKS_URL": url}
    (told,) = problems(environ=environ, flags={"dev": True})
    assert told.startswith("SCHEDULER_AUTH__JWKS_URL: must be")


@pytest.mark.parametrize("entry", ["10.0.0.1", "172.18.0.0/16", "::1", "2001:db8::/32"])
def test_networks_and_addresses_of_proxies_can_be_trusted(entry: str) -> None:
    assert load(environ={"SCHEDULER_SERVER__TRUSTED_PROXIES": entry}).server.trusted_proxies == (entry,)


@pytest.mark.parametrize("entry", ["proxy", "10.0.0.1/8", "10.0.0.1:80", "*"])
def test_what_is_no_network_cannot_be_trusted(entry: str) -> None:
    with pytest.raises(ConfigError, match="is no network"):
        load(environ={"SCHEDULER_SERVER__TRUSTED_PROXIES": entry})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://ann:se:c/r@et@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://:secret@db/x", "postgresql://:***@db/x"),
        ("postgresql:///x?host=/run&password=secret&user=ann", "postgresql:///x?host=/run&password=***&user=ann"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
