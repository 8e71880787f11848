"""Fetching from a server on this machine: what is checked, what is kept, and what is said when it fails."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nondet.data import fetch
from nondet.data.fetch import SOURCES, Source, folder, unpack
from nondet.errors import BadInput

CONTENT = {"set/train.bin": b"train" * 100, "set/test.bin": b"test" * 100}


class Server:
    """Files by name, and the names that were asked for. cut: how many bytes of an answer are kept back."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                outer.asked.append(name)
                content = outer.files.get(name)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write((content or b"")[: len(content or b"") - outer.cut])
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

    def stop(self) -> None:
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NONDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offer(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a file on the server as the source of the data set "small"; `promised` is the content its SHA-256 is of."""

    def put(content: bytes, promised: bytes | None = None, names: tuple[str, ...] = tuple(CONTENT)) -> None:
        server.files["set.tar.gz"] = content
        sha256 = hashlib.sha256(content if promised is None else promised).hexdigest()
        sources = {"small": (Source(server.url("set.tar.gz"), sha256, names),)}
        monkeypatch.setattr(fetch, "SOURCES", sources)

    return put


def archive(*members: tarfile.TarInfo, files: dict[str, bytes] = CONTENT) -> bytes:
    """A tar.gz of files, then of members without content."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return target.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def files(place: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if not p.is_dir()}


def test_an_archive_is_fetched_and_unpacked_once(server: Server, cache: Path, offer: Callable[..., None]) -> None:
    """Only the files that are wanted are taken out; the second call asks for nothing, even without the archive."""
    offer(archive(member("set/readme.html")))
    place = folder("small", None)
    assert place == cache / "small"
    assert {name: content for name, content in files(place).items() if name != "set.tar.gz"} == CONTENT
    (place / "set.tar.gz").unlink()
    assert folder("small", None) == place
    assert server.asked == ["set.tar.gz"]


def test_a_plain_file_is_fetched_once(server: Server, cache: Path, offer: Callable[..., None]) -> None:
    """It is kept as it came; one that was changed since is fetched again."""
    offer(b"as it is", names=())
    for _ in range(2):
        assert files(folder("small", None)) == {"set.tar.gz": b"as it is"}
    assert server.asked == ["set.tar.gz"]
    (cache / "small/set.tar.gz").write_bytes(b"changed")
    assert files(folder("small", None)) == {"set.tar.gz": b"as it is"}


def test_another_sum_is_refused_before_anything_is_unpacked(cache: Path, offer: Callable[..., None]) -> None:
    """Not even the file itself is kept."""
    offer(archive(), promised=b"something else")
    with pytest.raises(BadInput, match=r"set\.tar\.gz must have the SHA-256 [0-9a-f]{64} \(got another\); download it"):
        folder("small", None)
    assert files(cache) == {}


def test_an_answer_cut_short_is_refused(server: Server, cache: Path, offer: Callable[..., None]) -> None:
    """And the next call fetches it whole."""
    offer(archive())
    server.cut = 10
    with pytest.raises(BadInput, match=r"set\.tar\.gz must "):
        folder("small", None)
    assert files(cache) == {}
    server.cut = 0
    assert set(CONTENT) < set(files(folder("small", None)))


def test_without_a_server_the_way_out_is_said(server: Server, cache: Path, offer: Callable[..., None]) -> None:
    """File, source, and where to put it; put there, it is taken."""
    content = archive()
    offer(content)
    server.stop()
    with pytest.raises(BadInput, match="which failed") as caught:
        folder("small", None)
    text = str(caught.value)
    target = cache / "small/set.tar.gz"
    for part in ("set.tar.gz must be downloaded from", server.url("set.tar.gz"), repr(str(target)), "data=DIR"):
        assert part in text
    assert text.isprintable()
    target.write_bytes(content)
    assert (folder("small", None) / "set/test.bin").read_bytes() == CONTENT["set/test.bin"]


def test_a_refusal_is_the_only_thing_said(
    server: Server, cache: Path, offer: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a server that is not there nor a wrong sum leaves a line of its own beside the sentence."""
    offer(archive(), promised=b"something else")
    with pytest.raises(BadInput, match="SHA-256"):
        folder("small", None)
    server.stop()
    with pytest.raises(BadInput, match="which failed"):
        folder("small", None)
    assert capfd.readouterr() == ("", "")


def test_a_large_file_is_announced(
    server: Server,
    cache: Path,
    offer: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is on its way: its size and its source."""
    monkeypatch.setattr(fetch, "LARGE", 7)
    offer(b"as it is", names=())
    folder("small", None)
    assert capfd.readouterr() == ("", f"downloading 0 MB from {server.url('set.tar.gz')}\n")


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """What the system refuses is said in a sentence, as every other fault of the data is: here, a name too long."""
    with pytest.raises(BadInput, match=r"must be readable \(got 'File name too long' for '.*'\); make it readable"):
        folder("mnist", tmp_path / ("x" * 300))


def test_a_file_that_the_server_has_not(server: Server, cache: Path, offer: Callable[..., None]) -> None:
    """The server's answer is in the sentence."""
    offer(archive())
    server.files.clear()
    with pytest.raises(BadInput, match=r"which failed \(got status 404\); download it elsewhere and put it at "):
        folder("small", None)


HOSTILE = {
    "a step up": member("../x"),
    "a step up inside": member("set/../../x"),
    "an absolute name": member("/tmp/x"),
    "a link": member("set/x", tarfile.SYMTYPE, "/etc/passwd"),
    "a link to a folder": member("set/x", tarfile.SYMTYPE, ".."),
    "a hard link": member("set/x", tarfile.LNKTYPE, "set/train.bin"),
    "a pipe": member("set/x", tarfile.FIFOTYPE),
    "a device": member("set/x", tarfile.CHRTYPE),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_not_unpacked(
    tmp_path: Path, cache: Path, offer: Callable[..., None], hostile: tarfile.TarInfo
) -> None:
    """Even of the right SHA-256, and though the name is none of those that are wanted: no file leaves it."""
    offer(archive(hostile))
    with pytest.raises(BadInput, match="must contain only files and folders inside itself") as caught:
        folder("small", None)
    assert repr(hostile.name) in str(caught.value)
    assert set(files(tmp_path)) == {"cache/small/set.tar.gz"}
    assert [p.name for p in (cache / "small").iterdir()] == ["set.tar.gz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(files={"set/train.bin": b"x"}), r"must contain the file set/test\.bin \(got none\)"),
        (
            archive(member("set/test.bin", tarfile.DIRTYPE), files={"set/train.bin": b"x"}),
            r"must contain the file set/te",
        ),
        (b"<html>", "must be a complete tar archive"),
        (archive()[:-30], "must be a complete tar archive"),
    ],
    ids=["a missing file", "a folder of its name", "no archive", "cut"],
)
def test_an_archive_of_other_things_leaves_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    """No file is moved into place before all are unpacked."""
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"set\.tar\.gz' {message}"):
        unpack(path, tuple(CONTENT), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["set.tar.gz"]


def test_a_folder_that_is_given_is_taken(tmp_path: Path) -> None:
    """Nothing is fetched, whatever is in it; what is no folder is refused."""
    assert folder("cifar10", tmp_path) == tmp_path
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        with pytest.raises(BadInput, match=rf"data must name a folder \(got '.*/{name}', which is not one\)"):
            folder("cifar10", tmp_path / name)


@pytest.mark.parametrize("name", ["ptb", "text"])
def test_a_set_without_a_free_source_needs_a_folder(name: str) -> None:
    """The sentence says which."""
    with pytest.raises(BadInput, match=rf"{name} has no free official source.*data=DIR"):
        folder(name, None)


def test_without_pooch_the_way_out_is_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare machine trains on a folder that is given."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(BadInput, match=r"pooch must be installed .* or give data=DIR"):
        folder("mnist", None)


def test_the_cache_is_the_systems_where_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where other programs keep such files; each set has a folder of its own there."""
    monkeypatch.delenv("NONDET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    places: list[Path] = []
    monkeypatch.setattr(fetch, "_download", lambda source, place: places.append(place))
    place = folder("mnist", None)
    assert place.parts[-2:] == ("nondet", "mnist")
    assert places == [place] * 4


def test_every_source_is_named_by_a_sum_and_a_plain_file_name() -> None:
    """64 hexadecimal digits, no two alike, and a name that stays in its folder."""
    sources = [source for several in SOURCES.values() for source in several]
    assert all(len(bytes.fromhex(source.sha256)) == 32 for source in sources)
    assert len({source.sha256 for source in sources}) == len(sources)
    assert all(Path(source.name).name == source.name for source in sources)
