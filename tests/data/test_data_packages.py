"""Files inside archives, installed packages and what pip fetches; downloads that break off and go on."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from robustlab.core.errors import DataError
from robustlab.data.packages import Inside, Installed, PythonPackage
from robustlab.data.sources import Folder, Mirror, PublishedFile, Source, fetch, first_that_works

CONTENT = bytes(range(256)) * 40
FILE = PublishedFile("words/list.txt", hashlib.sha256(CONTENT).hexdigest())


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("prefix", ["", "./", "pack-1.0/data/"])
def test_an_archive_is_read_like_a_folder(tmp_path: Path, pack: type, prefix: str) -> None:
    (tmp_path / "all.bin").write_bytes(pack({f"{prefix}{FILE.name}": CONTENT, "other": b"no"}))
    source = Inside(Folder(tmp_path), "all.bin", prefix.removeprefix("./"))
    assert fetch([FILE], source) == [CONTENT]
    assert str(source) == f"folder {tmp_path}, all.bin"
    with pytest.raises(DataError, match=r"absent is not in all\.bin"):
        fetch([PublishedFile("absent", "")], Inside(Folder(tmp_path), "all.bin"))


def test_archives_inside_archives_are_read(tmp_path: Path) -> None:
    inner = tarred({FILE.name: CONTENT})
    (tmp_path / "outer.zip").write_bytes(zipped({"deep/inner.tar.gz": inner}))
    source = Inside(Inside(Folder(tmp_path), "outer.zip", "deep"), "inner.tar.gz")
    assert fetch([FILE], source) == [CONTENT]


def debian(files: bytes) -> bytes:
    parts = {b"debian-binary": b"2.0\n", b"control.tar.gz": tarred({"control": b"x"}), b"data.tar.xz": files}
    packed = b"!<arch>\n"
    for name, content in parts.items():
        head = name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"100644".ljust(8)
        packed += head + str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    return packed


def test_a_debian_package_is_read_without_debian(tmp_path: Path) -> None:
    for extra in ("", "longer"):
        files = lzma.compress(gzip.decompress(tarred({f"./usr/share/{FILE.name}": CONTENT, extra or "odd": b"1"})))
        (tmp_path / "made.deb").write_bytes(debian(files))
        assert fetch([FILE], Inside(Folder(tmp_path), "made.deb", "usr/share")) == [CONTENT]
        assert fetch([FILE], Inside(Folder(tmp_path), "made.deb", None)) == [CONTENT]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_files_are_found_in_any_folder_by_their_whole_name(tmp_path: Path, pack: type) -> None:
    (tmp_path / "all.bin").write_bytes(pack({"deep/otherwords/list.txt": b"no", f"deep/{FILE.name}": CONTENT}))
    assert fetch([FILE], Inside(Folder(tmp_path), "all.bin", None)) == [CONTENT]
    with pytest.raises(DataError, match=r"ist\.txt is not in all\.bin"):
        fetch([PublishedFile("ist.txt", "")], Inside(Folder(tmp_path), "all.bin", None))


@pytest.mark.parametrize(
    "damage",
    [b"", b"no archive", zipped({FILE.name: CONTENT})[:-30], tarred({"a": b"b"})[:40], b"!<arch>\n", debian(b"x")],
)
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "all.bin").write_bytes(damage)
    with pytest.raises(DataError, match=r"all\.bin is damaged or no archive|is not in all\.bin"):
        fetch([FILE], Inside(Folder(tmp_path), "all.bin"))


def test_an_installed_package_is_located_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_words_package"
    (package / "data" / "words").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "data" / FILE.name).write_bytes(CONTENT)
    source = Installed("toy_words_package", "data")
    with pytest.raises(DataError, match="not installed"):
        fetch([FILE], source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert fetch([FILE], source) == [CONTENT]
    assert "toy_words_package" not in sys.modules


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows."""
    info = "toy_words-1.0.dist-info"
    wheel = {
        f"toy_words/data/{FILE.name}": CONTENT,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toy-words\nVersion: 1.0\nRequires-Dist: absent-package\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "toy_words-1.0-py3-none-any.whl").write_bytes(zipped(wheel))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_pip_fetches_a_wheel_without_what_it_depends_on() -> None:
    source = PythonPackage("toy-words==1.0", "toy_words/data")
    assert fetch([FILE], source) == [CONTENT]
    assert str(source) == "Python package toy-words==1.0 (pip download)"


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_pips_own_words_are_handed_on() -> None:
    with pytest.raises(DataError, match=r"pip download .*absent-words==2' failed: ERROR: .*absent-words==2"):
        fetch([FILE], PythonPackage("absent-words==2", ""))


@pytest.mark.slow
def test_no_code_of_a_source_archive_of_another_content_is_run(index: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    setup = (
        f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='toy-source', version='1.0')\n"
    )
    members = {
        "toy-source-1.0/setup.py": setup.encode(),
        "toy-source-1.0/PKG-INFO": b"Name: toy-source\nVersion: 1.0\n",
    }
    (index / "toy-source-1.0.tar.gz").write_bytes(tarred(members))
    with pytest.raises(DataError, match=r"failed: +Got"):
        fetch([FILE], PythonPackage("toy-source==1.0", "toy-source-1.0", "0" * 64))
    assert not marker.exists()


def test_a_python_without_pip_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.data.packages.find_spec", lambda _: None)
    with pytest.raises(DataError, match="no pip"):
        fetch([FILE], PythonPackage("toy-words==1.0", ""))


class Broken:
    """A site whose first answer ends early; counts the bytes that it sent."""

    def __init__(self) -> None:
        self.url = ""
        self.ranges: list[str | None] = []
        self.obeys = True
        self.cut = len(CONTENT) // 2


@pytest.fixture
def broken() -> Iterator[Broken]:
    state = Broken()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is the protocol's
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.obeys else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : state.cut or None])
            state.cut = 0

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("obeys", [True, False])
def test_a_broken_download_goes_on_where_it_ended(broken: Broken, tmp_path: Path, obeys: bool) -> None:
    broken.obeys = obeys
    source = Mirror(broken.url, parts=tmp_path / "parts")
    with pytest.raises(DataError, match=r"truncated, 5120 of 10240 bytes"):
        fetch([FILE], source)
    assert fetch([FILE], source) == [CONTENT]
    assert broken.ranges == [None, "bytes=5120-"]
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_part_that_is_too_long_is_begun_anew(broken: Broken, tmp_path: Path) -> None:
    source = Mirror(broken.url, parts=tmp_path)
    with pytest.raises(DataError, match="truncated"):
        fetch([FILE], source)
    (part,) = tmp_path.iterdir()
    part.write_bytes(CONTENT + b"more")
    assert fetch([FILE], source) == [CONTENT]


def test_a_part_of_another_file_is_noticed_and_not_used_again(broken: Broken, tmp_path: Path) -> None:
    source = Mirror(broken.url, parts=tmp_path)
    with pytest.raises(DataError, match="truncated"):
        fetch([FILE], source)
    (part,) = tmp_path.iterdir()
    part.write_bytes(b"x" * 5120)
    sources: list[Source] = [source, source]
    assert first_that_works("it", [FILE], sources)[0] == [CONTENT]
