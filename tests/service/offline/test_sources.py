"""Sources to photos: what is found where, in which order, and what is left out."""

from __future__ import annotations

import io
import os
import pickle
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.offline import sources
from service.offline.addresses import Upload, filled_in
from service.offline.command import Request
from service.offline.errors import OutputError, SourceError
from service.offline.sources import LeftOut, Photo, _bounded, _decoded, count, names_in
from tests import s3
from tests.service.offline.made import photo

PHOTO = photo(200)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Photos, what is none, hidden files, and folders inside."""
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "in/c.webp", "in/deep/d.heic", "untold"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PHOTO if name != "notes.txt" else b"no photo")
    return tmp_path / "tree"


def photos(words: list[str], **options: object) -> Iterator[Photo]:
    return sources.photos(sources.places(words, **options))


def found(*words: str | Path, **options: object) -> list[str]:
    return [one.name for one in photos([str(word) for word in words], **options)]


def below(tree: Path, *names: str) -> list[str]:
    return [f"{tree.as_posix()}/{name}" for name in names]


def test_a_folder_gives_its_photos_in_order(tree: Path) -> None:
    left_out = LeftOut()
    assert found(tree, left_out=left_out) == below(tree, "a.png", "b.JPG", "untold")
    assert (left_out.files, left_out.folders) == (1, 1)
    assert count([str(tree)]) == 3


def test_folders_inside_are_looked_into_where_that_is_asked_for(tree: Path) -> None:
    (tree / "in" / "loop").symlink_to(tree)
    names = below(tree, "a.png", "b.JPG", "in/c.webp", "in/deep/d.heic", "untold")
    assert found(tree, recursive=True) == names
    assert count([str(tree)], recursive=True) == 5


def test_a_glob_that_no_shell_expanded_is_expanded(tree: Path) -> None:
    assert found(f"{tree}/*.[jp]*") == below(tree, "a.png")
    assert found(f"{tree}/**/*.webp") == below(tree, "in/c.webp")
    with pytest.raises(SourceError, match="nothing matches"):
        found(f"{tree}/*.tiff")


def test_a_name_with_a_globs_characters_is_a_name(tree: Path) -> None:
    odd = tree / "what[bold].txt"
    odd.write_bytes(PHOTO)
    assert found(odd) == [odd.as_posix()]


def test_what_is_named_is_looked_at_whatever_it_is(tree: Path) -> None:
    (text,) = photos([str(tree / "notes.txt")])
    assert text.read() == b"no photo"
    (missing,) = photos([str(tree / "none.jpg")])
    with pytest.raises(FileNotFoundError):
        missing.read()


def test_a_list_names_more(tree: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tree}/a.png\r\n\n{tree}/in\n")
    assert found(*names_in(str(listed))) == below(tree, "a.png", "in/c.webp")


def test_a_list_of_any_editor_is_read(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "#1.jpg").write_bytes(PHOTO)
    lines = f"# of May\n{tree}/a.png\n\n{tree}/b.JPG\n"
    monkeypatch.chdir(tree)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "list.txt").write_text(f"{lines}#1.jpg\n", encoding)
        assert list(names_in(str(tmp_path / "list.txt"))) == [*below(tree, "a.png", "b.JPG"), "#1.jpg"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a\xff.jpg\r\n"))))
    assert list(names_in("-")) == ["a\udcff.jpg"]
    assert not sys.stdin.closed
    with pytest.raises(SourceError, match=r"none\.txt: No such file"):
        list(names_in(str(tmp_path / "none.txt")))


def test_what_of_a_list_leads_nowhere_ends_nothing(tree: Path) -> None:
    names = ["gone[1].jpg", "x" * 5000, "zero\0.jpg", str(tree / "a.png")]
    assert count([], None) == 0
    *lost, last = photos(names, listed=True)
    assert [one.name for one in lost] == names[:-1]
    for one in lost:
        with pytest.raises(OSError, match=r"nothing matches|too long|such a name"):
            one.read()
    assert last.read() == PHOTO


def test_an_address_of_no_scheme_leads_nowhere_in_a_list(tree: Path) -> None:
    pytest.importorskip("fsspec")
    lost, last = photos(["nosuch://bucket/a.jpg", str(tree / "a.png")], listed=True)
    assert lost.name == "nosuch://bucket/a.jpg"
    with pytest.raises(OSError, match="scheme is not known"):
        lost.read()
    assert last.read() == PHOTO
    with pytest.raises(SourceError, match="scheme is not known"):
        list(photos(["nosuch://bucket/a.jpg"]))


def test_a_list_that_is_closed_in_the_middle_says_nothing(tmp_path: Path) -> None:
    """Where a run ends, the interpreter may close the file before it ends what reads it."""
    listed = tmp_path / "list.txt"
    listed.write_text("a.jpg\nb.jpg\n")
    stream = io.BufferedReader(io.FileIO(listed))
    lines = _decoded(stream)
    next(lines)
    stream.close()
    lines.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_folder_of_anything_is_looked_through(tree: Path) -> None:
    """Pipes, sockets and devices are waited for in vain; links may lead to themselves, or nowhere."""
    for name in ("pipe.jpg", "pipe", "pipe.mp4", "pipe.tar"):
        os.mkfifo(tree / name)
    (tree / "zero.jpg").symlink_to("/dev/zero")
    (tree / "loop.jpg").symlink_to("loop.jpg")
    (tree / "loop").symlink_to("loop")
    (tree / "z.jpg").symlink_to(tree / "gone.jpg")
    (tree / "x.jpg").mkdir()
    left_out = LeftOut()
    assert found(tree, left_out=left_out) == below(tree, "a.png", "b.JPG", "loop.jpg", "untold", "z.jpg")
    assert (left_out.files, left_out.folders) == (7, 2)
    matched = found(tree / "*", left_out=left_out)
    assert not {str(tree / name) for name in ("pipe", "pipe.jpg", "zero.jpg")} & set(matched), (
        "a glob names none of them either"
    )
    assert str(tree / "loop.jpg") in matched
    assert left_out.files == 7 + 5
    for one in photos([str(tree / name) for name in ("pipe.jpg", "pipe.mp4", "pipe.tar", "zero.jpg")], listed=True):
        with pytest.raises(OSError, match="it is a pipe or a device"):  # `find` lists them among photos
            one.read()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="every folder is open to root")
def test_a_closed_folder_inside_of_another_is_a_photo_that_cannot_be_read(tree: Path) -> None:
    (tree / "in").chmod(0)
    try:
        _, _, closed, _ = photos([str(tree)], recursive=True)
        with pytest.raises(OSError, match="Permission denied"):
            closed.read()
    finally:
        (tree / "in").chmod(0o755)


def shard(path: Path, mode: str = "w") -> Path:
    """A shard of WebDataset: photos, and what belongs to them."""
    with tarfile.open(path, mode) as tar:
        for name in ("000.png", "000.json", "001.jpg", "001.cls", "sub/002.PNG"):
            member = tarfile.TarInfo(name)
            member.size = len(PHOTO)
            tar.addfile(member, io.BytesIO(PHOTO))
    return path


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tgz", "w:gz"), ("tar.xz", "w:xz")])
def test_an_archive_gives_its_photos(tmp_path: Path, ending: str, mode: str) -> None:
    path = shard(tmp_path / f"shard.{ending}", mode)
    inside = list(photos([str(path)]))
    assert [one.name for one in inside] == [f"{path.as_posix()}/{name}" for name in ("000.png", "001.jpg", "sub/002.PNG")]
    assert all(one.read() == PHOTO and one.size == len(PHOTO) for one in inside)
    assert found(tmp_path) == [one.name for one in inside], "in a folder, too"
    assert count([str(path)]) is None


def test_what_an_archive_says_of_itself_is_bounded_and_its_links_are_no_photos(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind, data in (
            ("a.png", tarfile.REGTYPE, PHOTO), ("._a.png", tarfile.REGTYPE, b"of another system"),
            ("hard.png", tarfile.LNKTYPE, b""), ("soft.png", tarfile.SYMTYPE, b""), ("pipe.png", tarfile.FIFOTYPE, b""),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    with path.open("rb+") as file:  # a further header of 4 GiB in place of the end
        member = tarfile.TarInfo("x")
        member.type, member.size = tarfile.XHDTYPE, 2**32
        whole = path.read_bytes().rstrip(b"\0")
        file.seek(-(-len(whole) // 512) * 512)
        file.write(member.tobuf(tarfile.USTAR_FORMAT) + bytes(2048))
    first, hard, soft, last = photos([str(path)])
    assert first.read() == PHOTO
    for link in (hard, soft):
        with pytest.raises(OSError, match="links in archives"):
            link.read()
    assert last.name == path.as_posix()
    with pytest.raises(OSError, match="header is too large"):
        last.read()


def test_a_damaged_archive_gives_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = shard(tmp_path / "shard.tar")
    path.write_bytes(path.read_bytes()[: len(PHOTO) + 800])
    whole, broken = (pickle.loads(pickle.dumps(one)) for one in photos([str(path)]))  # as they are sent to other machines
    assert whole.read() == PHOTO
    assert broken.name == path.as_posix()
    with pytest.raises(OSError, match=r"unexpected end|truncated|data"):
        broken.read()


@pytest.mark.parametrize("damage", ["checksum", "cut"])
def test_an_archive_that_is_damaged_in_a_header_says_so(tmp_path: Path, damage: str) -> None:
    """To the standard library that is the archive's end."""
    path = shard(tmp_path / "shard.tar")
    data = bytearray(path.read_bytes())
    second = data.index(b"000.json")
    if damage == "cut":
        del data[second + 100 :]
    else:
        data[second + 148] ^= 1
    path.write_bytes(data)
    whole, broken = photos([str(path)])
    assert whole.read() == PHOTO
    assert broken.name == path.as_posix()
    with pytest.raises(OSError, match="damaged or cut off"):
        broken.read()


def test_an_archive_of_odd_headers_ends_no_run(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"GNU.sparse.map": "x,y"}
        tar.addfile(member)
    after = shard(tmp_path / "shard.tar")
    odd, *others = photos([str(path), str(after)])
    with pytest.raises(OSError):  # noqa: PT011 - in the words of the standard library
        odd.read()
    assert len(others) == 3


def test_a_glob_of_folders_goes_through_no_link(tree: Path) -> None:
    for name in ("self", "again"):
        (tree / name).symlink_to(tree, target_is_directory=True)
    (tree / ".hidden").mkdir()
    (tree / ".hidden/x.png").write_bytes(PHOTO)
    matched = found(str(tree / "**/*.png"))
    assert matched == sorted(set(matched))
    assert matched == [name for name in found(str(tree), recursive=True) if name.endswith(".png")]
    assert found(str(tree / "**" / "*.none"), listed=True) == [str(tree / "**" / "*.none")]


def test_a_list_that_can_be_read_once_is_not_counted(tree: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert Request(sources=(str(tree),), listed=str(pipe)).count() is None


@pytest.mark.parametrize("scheme", ["zip", "tar"])
def test_a_file_system_that_cannot_be_made_is_named(tree: Path, scheme: str) -> None:
    """Each raises errors of its own: of an archive's format, of sockets, of what else it has to be told."""
    pytest.importorskip("fsspec")
    with pytest.raises(SourceError, match=f"^{scheme}://a.jpg::"):
        found(f"{scheme}://a.jpg::{(tree / 'a.png').as_uri()}")


def test_the_bytes_of_an_address_are_text_in_a_table() -> None:
    (one,) = photos(["memory://folder/y\udcff.jpg"])
    assert one.name.encode() == b"memory://folder/y\\xff.jpg"


def test_a_stream_of_no_known_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def __enter__(self) -> Endless:
            return self

        def read(self, count: int = -1) -> bytes:
            assert 0 < count <= sources.PIECE
            return bytes(count)

    class System:
        def info(self, path: str) -> dict[str, Any]:
            return {"name": path, "size": None}

        def open(self, path: str, mode: str) -> Endless:
            return Endless()

    monkeypatch.setattr(sources, "LARGEST", 4 * sources.PIECE)
    monkeypatch.setattr(sources, "file_system", lambda _: (System(), "a.jpg", "http"))
    (one,) = photos(["http://host/a.jpg"])
    with pytest.raises(OSError, match="MiB"):
        one.read()


def test_a_stream_that_comes_in_small_pieces_is_read_whole() -> None:
    """As that of a web server without a length: a read of it gives what has come."""

    class Trickle(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            return super().read(min(16, count or 16))

    assert _bounded(Trickle(bytes(5000))) == bytes(5000)


@pytest.mark.parametrize("archived", [False, True])
def test_standard_input_is_a_photo_or_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archived: bool) -> None:
    data = shard(tmp_path / "shard.tar").read_bytes() if archived else PHOTO
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    names = []
    for one in photos(["-"]):
        assert one.read() == PHOTO
        names.append(one.name)
    assert names == (["-/000.png", "-/001.jpg", "-/sub/002.PNG"] if archived else ["-"])


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(sources.LARGEST + 1)
    (large,) = photos([str(tmp_path / "large.jpg")])
    with pytest.raises(OSError, match="256 MiB"):
        large.read()


def test_an_address_without_its_packages_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)  # as where it is not installed
    with pytest.raises(SourceError, match="extra `remote`"):
        found("s3://bucket/photos")


def test_a_folder_of_a_file_system_elsewhere() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("/bucket/b.jpg", "/bucket/a.png", "/bucket/in/c.jpg", "/bucket/notes.txt"):
        memory.pipe(name, PHOTO)
    left_out = LeftOut()
    assert found("memory://bucket", left_out=left_out) == ["memory://bucket/a.png", "memory://bucket/b.jpg"]
    assert (left_out.files, left_out.folders) == (1, 1)
    assert found("memory://bucket", recursive=True)[2] == "memory://bucket/in/c.jpg"
    (one,) = photos(["memory://bucket/a.png"])
    assert one.read() == PHOTO
    assert found("MEMORY://bucket/a.png") == ["MEMORY://bucket/a.png"]
    (missing,) = photos(["memory://bucket/none.jpg"])
    with pytest.raises(OSError, match="no such file"):
        missing.read()


def test_a_host_that_is_not_reached_is_no_missing_file() -> None:
    pytest.importorskip("aiohttp")
    with socket.socket() as closed:  # bound, and not listening
        closed.bind(("127.0.0.1", 0))
        (one,) = photos([f"http://127.0.0.1:{closed.getsockname()[1]}/x.jpg"])
        with pytest.raises(OSError, match="Cannot connect"):
            one.read()


def test_a_bucket_of_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with s3.bucket("photos", monkeypatch) as bucket:
        for name in ("day/a.jpg", "day/b.png", "day/more/c.jpg"):
            bucket.pipe(f"photos/{name}", PHOTO)
        bucket.put(str(shard(tmp_path / "shard.tar")), "photos/shards/0.tar")
        listed = list(photos(["s3://photos/day"], recursive=True))
        assert [one.name for one in listed] == [f"s3://photos/day/{name}" for name in ("a.jpg", "b.png", "more/c.jpg")]
        assert all(one.read() == PHOTO for one in listed)
        assert found("s3://photos/day/*.png") == ["s3://photos/day/b.png"]
        assert found("s3://photos/shards/0.tar")[0] == "s3://photos/shards/0.tar/000.png"
        (missing,) = photos(["s3://photos/none.jpg"])
        with pytest.raises(OSError, match="no such file"):
            missing.read()


def test_a_list_at_an_address_and_variables_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the jobs of an array have them, which no shell starts."""
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/lists/7.txt", b"a.jpg\n\nfolder/b c.jpg\r\n")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "7")
    address = filled_in("memory://lists/${AWS_BATCH_JOB_ARRAY_INDEX}.txt")
    assert list(names_in(address)) == ["a.jpg", "folder/b c.jpg"]
    assert filled_in("/local/$HOME.txt") == "/local/$HOME.txt"
    with pytest.raises(SourceError, match=r"none\.txt"):
        list(names_in("memory://lists/none.txt"))


def test_a_file_is_put_at_an_address_and_over_no_other(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    (tmp_path / "faces.csv").write_text("file,face\n")
    Upload("memory://tables/faces.csv", overwrite=False).put(tmp_path / "faces.csv")
    assert fsspec.filesystem("memory").cat("/tables/faces.csv") == b"file,face\n"
    with pytest.raises(OutputError, match="--overwrite"):
        Upload("memory://tables/faces.csv", overwrite=False)
    Upload("memory://tables/faces.csv", overwrite=True)


def test_nothing_is_put_at_an_address_of_the_web() -> None:
    """Which would be found out at the end alone, after hours maybe."""
    pytest.importorskip("aiohttp")
    with pytest.raises(OutputError, match=r"s3://bucket/faces\.csv"):
        Upload("http://localhost:1/faces.csv", overwrite=True)
