"""Whole files and folders or none: what is written takes the place of the old one when all of it is on the disk.

The content of a file is made in memory, so that only Python writes to the disk: a full one is an ``OSError``. What
is not complete has no name where the system can do that (Linux: ``O_TMPFILE``), so a process that is killed leaves
nothing behind. Elsewhere, for the instant in which the file gets its name, and for folders, it is called
``.snnax-<random>.tmp``; the process holds a lock on it, and the next write in that place removes those that nobody
holds.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from snnax.errors import ArgumentError, ConversionError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX, _OLD = ".snnax-", ".tmp", "old-"


def write_whole(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write files, all of them or none. A file that is there stays as it is until the new ones are complete.

    Of several writers at once the last one wins, with all of its files.

    A symbolic link stays, and what it leads to is replaced. A new file gets the mode that ``open`` gives it, another
    one keeps its own.

    Raises:
        OSError: where a file cannot be written: no room, no such folder, no permission, a folder or a device in its
            place; names the file.
    """
    drafts: list[_Draft] = []
    try:
        for path, content in contents.items():
            with _by_name(path):
                drafts.append(_Draft(_target(path)))
                drafts[-1].write(content)
        with _alone(drafts):
            for path, draft in zip(contents, drafts, strict=True):
                with _by_name(path):
                    draft.publish()
    finally:
        for draft in drafts:
            draft.close()


@contextmanager
def _alone(drafts: list[_Draft]) -> Iterator[None]:
    """Files that belong together take their places before another writer's take them."""
    if fcntl is None or len(drafts) < 2:
        yield
        return
    folder = os.open(drafts[0].target.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # no locks on this file system
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by flat path, ``"params/fc/kernel"``, as the content of a ``.npz`` file.

    Raises:
        ConversionError: for a name that such a file cuts short, or an array of a type that it does not hold.
    """
    for name, array in arrays.items():
        if "\x00" in name:
            raise ConversionError(
                name, "a NUL in the name of an array ends it in a .npz file", "Rename the node."
            )
        if array.dtype.kind not in "biuf":
            raise ConversionError(
                name, f"a .npz file cannot hold arrays of {array.dtype}", "Convert it to float32."
            )
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_picture(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib's in the format that the name of the file asks for.

    Raises:
        ArgumentError: for a format that matplotlib does not know.
        OSError: as :func:`write_whole`.
    """
    kind, known = path.suffix[1:].lower(), sorted(figure.canvas.get_supported_filetypes())
    if kind not in known:
        raise ArgumentError(f"{path}: the name of a picture ends in one of {', '.join(known)}.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    write_whole({path: buffer.getvalue()})


@contextmanager
def _by_name(path: Path) -> Iterator[None]:
    """Says of a failure which file it was, by the name that the caller knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    except ValueError as error:  # how Python refuses a NUL in a path
        raise OSError(errno.EINVAL, str(error), str(path)) from error


def _target(path: Path) -> Path:
    """The file to replace, behind symbolic links."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file, so it cannot be replaced")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written")
    return target


@contextmanager
def _signals_wait() -> Iterator[None]:
    """A request to end waits for the instant between naming a file and putting it in place.

    Linux can only link an unnamed file to a name that is free. A signal that another thread takes, or one that nobody
    can hold back, may still leave the name, which the next write there removes.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Draft:
    """One file that is being written.

    Attributes:
        name: where it is to be seen; ``None`` while it has no name.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.name: Path | None = None
        sweep(target.parent)
        self.file = self._without_name() or self._with_name()

    def write(self, content: bytes | memoryview) -> None:
        """All of it, to the disk itself."""
        self.file.seek(0)
        left = memoryview(content).cast("B")
        while left:
            left = left[self.file.write(left) :]
        os.fsync(self.file.fileno())
        if self.target.exists() and hasattr(os, "fchmod"):
            os.fchmod(self.file.fileno(), stat.S_IMODE(self.target.stat().st_mode))

    def publish(self) -> None:
        """Take the place of the target."""
        with _signals_wait():
            name = self.name or self._give_name()
            if os.name == "nt":  # which does not rename what is open
                self.file.close()
            os.replace(name, self.target)
            self.name = None
        _sync_folder(self.target.parent)

    def close(self) -> None:
        """Leave nothing but what was published."""
        self.file.close()
        if self.name is not None:
            self.name.unlink(missing_ok=True)

    def _without_name(self) -> io.FileIO | None:
        if not hasattr(os, "O_TMPFILE"):
            return None
        try:
            number = os.open(self.target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError:
            return None  # not on every file system; a named file fails for the same reason, or works
        _lock(number)
        return io.FileIO(number, "r+b")

    def _with_name(self) -> io.FileIO:
        while True:
            name = _fresh(self.target.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
            file = io.FileIO(os.open(name, flags | getattr(os, "O_BINARY", 0), 0o666), "r+b")
            if _hold(file.fileno(), name):
                self.name = name
                return file
            file.close()

    def _give_name(self) -> Path:
        name = _fresh(self.target.parent)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            # with the number of a folder Python asks for the file behind the link in /proc
            link = f"/proc/self/fd/{self.file.fileno()}"
            os.link(link, name.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
            self.name = name
        except OSError:  # no /proc, or not on this file system: write it again under a name
            with self.file as unnamed:
                unnamed.seek(0)
                content = unnamed.readall()
                self.file = self._with_name()
            self.write(content)
        finally:
            os.close(folder)
        return self.name or name


def _fresh(folder: Path) -> Path:
    return folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"


def _lock(number: int) -> bool | None:
    """Hold a file or folder as long as it is open, and no longer than the process lives.

    Returns:
        False if somebody else holds it; ``None`` where there are no locks, so that nobody sweeps either.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _hold(number: int, name: Path) -> bool:
    """Hold what was just made; False if another process swept it before it was held."""
    return _lock(number) is not False and name.exists()


@contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` to prepare another one in, which goes again with all that is still in it.

    Raises:
        OSError: where there cannot be one.
    """
    sweep(parent)
    while True:
        folder, held = _fresh(parent), None
        folder.mkdir()
        if fcntl is None:
            break
        with suppress(FileNotFoundError):  # as in _hold
            held = os.open(folder, os.O_RDONLY)
            if _hold(held, folder):
                break
            os.close(held)
    try:
        yield folder
    finally:
        _remove(folder)
        if held is not None:
            os.close(held)


def place(new: Path, target: Path, draft: Path) -> None:
    """Let the folder ``new`` take the place of ``target``; an old one waits in ``draft`` meanwhile."""
    while True:
        try:
            os.rename(new, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES) or not target.is_dir():
                raise
        else:
            return
        with suppress(FileNotFoundError):  # another writer may be at the same point
            os.rename(target, draft / f"{_OLD}{secrets.token_hex(4)}-{target.name}")


def _remove(folder: Path) -> None:
    """Remove a draft; an old folder whose place stayed empty goes back there."""
    for old in folder.glob(f"{_OLD}*"):
        home = folder.parent / old.name.removeprefix(_OLD).partition("-")[2]
        with suppress(OSError):
            if not home.exists():
                os.rename(old, home)
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder: drafts that nobody holds."""
    if fcntl is None:
        return
    try:
        left = [n for n in os.listdir(folder) if n.startswith(_PREFIX) and n.endswith(_SUFFIX)]
    except OSError:
        return  # what is wrong with the folder shows when it is written to
    for name in left:
        draft = folder / name
        try:
            number = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if _lock(number):
                _remove(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
        except OSError:
            pass  # not ours to remove
        finally:
            os.close(number)


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too, where folders can be asked for that."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError:
        pass
    finally:
        os.close(number)
