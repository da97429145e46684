"""The host and port that a URL addresses, and the URLs that two readers could understand differently."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.url import Target, is_denied, is_guarded, is_local, parse_target, split_url


def fullwidth(text: str) -> str:
    """The letters as East Asian fonts have them; they mean the ASCII ones."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("http://example.com", "http", "example.com", 80),
        ("HTTPS://Example.COM/Path", "https", "example.com", 443),
        ("http://example.com:8080?x=1", "http", "example.com", 8080),
        ("http://example.com#part", "http", "example.com", 80),
        ("http://xn--ls8h.test/", "http", "xn--ls8h.test", 80),
        ("http://XN--FIQS8S/", "http", "xn--fiqs8s", 80),
        ("http://127.0.0.1#@example.test/", "http", "127.0.0.1", 80),
        ("http://127。0。0。1/", "http", "127.0.0.1", 80),
        (f"http://{fullwidth('localhost')}/", "http", "localhost", 80),
        ("http://bücher.test/", "http", "xn--bcher-kva.test", 80),
        ("http://straße.test/", "http", "xn--strae-oqa.test", 80),
        ("http://a_b.example-1.test/", "http", "a_b.example-1.test", 80),
        ("http://app:9000/", "http", "app", 9000),
        ("http://1.2.3.4.nip.test/", "http", "1.2.3.4.nip.test", 80),
        ("http://0x7f.example/", "http", "0x7f.example", 80),
        ("http://[2001:DB8:0::1]:81/", "http", "2001:db8::1", 81),
        ("http://[::ffff:8.8.8.8]/", "http", "::ffff:808:808", 80),
        ("https://example.com/a@b:c\u00fc", "https", "example.com", 443),
    ],
)
def test_a_url_addresses_one_host_and_port(url: str, scheme: str, host: str, port: int) -> None:
    assert parse_target(url) == Target(scheme=scheme, host=host, port=port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//127.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http://",
        "http:///path",
        "http://?x",
        "http://:80/",
        "ftp://example.test/",
        "file:///etc/passwd",
        "http+unix://%2fvar%2frun%2fdocker.sock/",
        "data:text/plain,x",
        "jar:http://127.0.0.1/!/",
        "http://example.test:0/",
        "http://example.test:65536/",
        "http://example.test:/",
        "http://example.test:8o/",
        "http://127.0.0.1:80:80/",
        "http://example.test:\u0661/",
        "http://user@example.test/",
        "http://user:pass@example.test/",
        "http://example.test@127.0.0.1/",
        "http://@example.test/",
        " http://example.test/",
        "http://example.test/ ",
        "http://example.test/a b",
        "http://exa\nmple.test/",
        "http://example.test/\r\nX: 1",
        "http://example.test/\x00",
        "http://example.test/\x7f",
        "http://example.test/\u00a0",
        "http://exa\u200bmple.test/",
        "http://example.test/\u202e",
        "http://example.test/\ud800",
        "http:\\\\127.0.0.1/",
        "http://127.0.0.1\\@example.test/",
        "http://loc%61lhost/",
        "http://127.0.0.1%00.example.test/",
        "http://./",
        "http://../",
        "http://a..b/",
        "http://.a/",
        "http://public.test../",
        "http://127.0.0.1./",
        "http://" + "a" * 64 + ".test/",
        "http://" + "a." * 127 + "test/",
        "http://a,b/",
        "http://a;b/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]x/",
        "http://[fe80::1%eth0]/",
        "http://[fe80::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://[]/",
        "http://0x7f000001/",
        "http://0x/",
        "http://0x7f.1/",
        "http://127.0.0.0x1/",
        "http://0177.0.0.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://4294967296/",
        "http://010.8.8.8/",
        "http://256.256.256.256/",
        "http://example.1/",
        f"http://{fullwidth('127')}.1/",
        "http://xn--a\u00fc/",
        "http://xn--a/",
        "http://xn--/",
        "http://www.xn--a-.test/",
        "http://xn--0.test/",
        "http://xn--99999999999.test/",
        "http://XN--A.test./",
        "http://example.test/" + "a" * 2048,
    ],
)
def test_a_url_that_two_readers_could_understand_differently_is_refused(url: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        parse_target(url)
    assert refused.value.code == "VALIDATION_ERROR"
    assert list(refused.value.errors or {}) == ["url"]


@pytest.mark.parametrize(
    ("url", "authority", "netloc"),
    [
        ("http://example.com.:00080/", "example.com.", "example.com"),
        ("https://Example.com.:80/", "example.com.:80", "example.com:80"),
        ("http://b\u00fccher.test\u3002/", "xn--bcher-kva.test.", "xn--bcher-kva.test"),
        ("http://localhost./", "localhost.", "localhost"),
    ],
)
def test_an_absolute_name_keeps_its_dot_outside_the_host(url: str, authority: str, netloc: str) -> None:
    target = parse_target(url)
    assert target.is_absolute
    assert not target.host.endswith(".")
    assert (target.authority, target.netloc) == (authority, netloc)
    assert parse_target(f"{target.scheme}://{target.authority}/") == target


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_a_refusal(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://example.test{text}"):
        try:
            target = parse_target(url)
        except SchedulerError:
            continue
        assert target.host.isascii()
        assert parse_target(f"{target.scheme}://{target.authority}/") == target


def test_2048_characters_are_not_too_many() -> None:
    url = "http://example.test/"
    assert parse_target(url + "a" * (2048 - len(url))).host == "example.test"


def test_the_rest_is_kept_as_it_was_written() -> None:
    assert split_url("http://Example.test/%7Ea?x=%20#y")[1] == "/%7Ea?x=%20#y"


@pytest.mark.parametrize(
    ("url", "netloc", "endpoint"),
    [
        ("http://example.com/", "example.com", "example.com:80"),
        ("https://example.com:443/", "example.com", "example.com:443"),
        ("https://example.com:80/", "example.com:80", "example.com:80"),
        ("http://[::1]/", "[::1]", "[::1]:80"),
        ("http://[::1]:81/", "[::1]:81", "[::1]:81"),
    ],
)
def test_netloc_and_endpoint_of_a_target(url: str, netloc: str, endpoint: str) -> None:
    target = parse_target(url)
    assert (target.netloc, target.endpoint) == (netloc, endpoint)


def test_a_mapped_address_is_judged_as_what_it_maps() -> None:
    assert parse_target("http://[::ffff:7f00:1]/").address == ipaddress.ip_address("127.0.0.1")
    assert parse_target("http://example.com/").address is None
    assert is_denied(ipaddress.ip_address("::ffff:10.0.0.1"))
    assert not is_denied(ipaddress.ip_address("::ffff:8.8.8.8"))


@given(st.ip_addresses())
def test_guarded_addresses_are_denied_and_not_local(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert is_denied(address) or not (is_guarded(address) or is_local(address))
    assert not (is_guarded(address) and is_local(address))
