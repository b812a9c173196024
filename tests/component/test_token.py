"""The token: read, read again, never shown."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from consumer.adapters.scantrust.token import TokenSource
from consumer.errors import ConfigError

SECRET = "abcdef-0123456789"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"\n {SECRET}\t\r\n")
    return path


def test_a_configured_token_is_stripped_of_white_space() -> None:
    assert TokenSource(f" {SECRET}\n").current() == SECRET


def test_a_file_is_stripped_of_white_space_and_of_a_byte_order_mark(file: Path) -> None:
    assert TokenSource("", str(file)).current() == SECRET
    file.write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\n")
    assert TokenSource("", str(file)).current() == SECRET


def test_a_changed_file_is_read_again_at_most_once_a_second(file: Path, clock: Clock) -> None:
    source = TokenSource("", str(file), clock=clock)
    file.write_text("another")
    clock.now += 0.9
    assert source.current() == SECRET
    clock.now += 0.2
    assert source.current() == "another"


def test_a_file_put_in_place_by_rename_is_noticed_though_size_and_time_are_the_same(
    file: Path, clock: Clock
) -> None:
    source = TokenSource("", str(file), clock=clock)
    other = file.with_name("new")
    other.write_text(file.read_text().replace("abc", "xyz"))
    stat = file.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)
    clock.now += 1.1
    assert source.current() == SECRET.replace("abc", "xyz")


def test_refresh_reads_at_once_and_tells_whether_the_token_is_another(
    file: Path, clock: Clock
) -> None:
    source = TokenSource("", str(file), clock=clock)
    assert source.refresh() is False
    file.write_text("another")
    assert source.refresh() is True
    assert source.current() == "another"


def test_refresh_of_a_configured_token_changes_nothing() -> None:
    source = TokenSource(SECRET)
    assert source.refresh() is False
    assert source.current() == SECRET


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", None])
def test_a_file_gone_bad_keeps_the_last_token_and_says_so_once(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    source = TokenSource("", str(file), clock=clock)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            clock.now += 1.1
            assert source.current() == SECRET
        assert source.refresh() is False
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    assert SECRET not in caplog.text
    assert "two words" not in caplog.text
    file.write_text("good-again")
    clock.now += 1.1
    assert source.current() == "good-again"
    file.unlink()
    clock.now += 1.1
    assert source.current() == "good-again"
    assert len(caplog.records) == 2


def test_the_token_is_in_no_representation(file: Path) -> None:
    for source in (TokenSource(SECRET), TokenSource("", str(file))):
        assert SECRET not in repr(source) + str(source)


@pytest.mark.parametrize(
    "token",
    [f"UAT {SECRET}", f"{SECRET}\r\nX-Evil: 1", f"{SECRET}é", f"{SECRET}\x00", f"{SECRET}\x7f"],
)
def test_a_token_that_no_header_can_carry_is_a_configuration_error_that_does_not_quote_it(
    token: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_bytes(token.encode())
    for arguments in ((token, ""), ("", str(path))):
        with pytest.raises(ConfigError) as raised:
            TokenSource(*arguments)
        assert raised.value.problems
        assert "header" in str(raised.value)
        assert SECRET not in str(raised.value)


def test_no_usable_token_at_the_start_is_a_configuration_error_that_names_the_key(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"api\.token.*api\.token_file"):
        TokenSource("")
    with pytest.raises(
        ConfigError, match=r"api\.token_file: .*absent: cannot be read \(No such file"
    ):
        TokenSource("", str(tmp_path / "absent"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"api\.token_file: .*empty: no token in it"):
        TokenSource("", str(tmp_path / "empty"))


def test_many_threads_see_the_new_token_and_never_a_mixture(file: Path) -> None:
    source = TokenSource("", str(file))
    seen: set[str] = set()
    start = threading.Barrier(9)

    def read() -> None:
        start.wait()
        for _ in range(300):
            seen.add(source.current())
            source.refresh()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.wait()
    for number in range(50):
        other = file.with_name("new")
        other.write_text(f"token-{number:03}")
        other.replace(file)
    for thread in threads:
        thread.join()
    assert seen <= {SECRET} | {f"token-{number:03}" for number in range(50)}
    source.refresh()
    assert source.current() == "token-049"
