"""Files that appear whole or not at all: write beside the target, then rename."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from avcc.errors import AvccError

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def temporary(target: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, that file becomes ``target``.

    The path lies in ``target``'s own folder (a rename is atomic only within one file system) and
    has its extension (PyAV picks the container by it). If the block raises, the file is removed
    and ``target`` is as it was. A link is followed, never replaced. With ``overwrite=False`` an
    existing ``target`` is refused, before the work and again at the end. A device or a pipe
    (``/dev/null``, a FIFO) is written to, not replaced.

    Raises ``AvccError`` with a sentence: target exists, is a folder, or can't be written (an
    ``OSError`` of the block that names the file given to it, or a full disk and no file, says so
    too; others go through).
    """
    path = Path(os.path.realpath(target))
    kind = _kind(path, target)
    if kind == "folder":
        raise AvccError(f"{target} is a folder")
    if kind == "file" and not overwrite:
        raise _exists(target)
    if kind == "special":
        with tempfile.TemporaryDirectory(prefix="avcc-") as folder:
            work = Path(folder) / f"out{path.suffix}"
            yield work
            try:
                with open(work, "rb") as source, open(path, "wb") as sink:
                    shutil.copyfileobj(source, sink)
            except OSError as error:
                raise _unwritable(target, error) from error
        return
    # At most 160 bytes of the stem: what makes the name unique must not make it too long.
    work = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{path.suffix}")
    there = True  # before it is: a signal may end this at any instruction
    try:
        try:
            _reserve(work)
        except OSError as error:
            there = False
            raise _unwritable(target, error) from error
        yield work
        _sync(work)
        _move(work, path, target, overwrite)
    except OSError as error:
        # Nobody knows the file by its work name; and what a full disk says names no file at all.
        if error.filename == str(work) or (error.filename is None and error.errno in _FULL):
            raise _unwritable(target, error) from error
        raise
    finally:
        if there:
            work.unlink(missing_ok=True)


class Ends(AbstractContextManager["Ends"]):
    """Holds back, if it is to, what ended the block: a signal."""

    def __init__(self, keep: bool) -> None:
        self._kinds = (KeyboardInterrupt, SystemExit) if keep else ()
        self.reason: BaseException | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, self._kinds):
            self.reason = error
        return self.reason is not None


def _kind(path: Path, target: str | Path) -> str:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "none"
    except OSError as error:
        raise _unwritable(target, error) from error
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "special"


def _reserve(work: Path) -> None:
    """Create the empty file that is written to; its mode is what a plain ``open`` would give."""
    os.close(os.open(work, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sync(work: Path) -> None:
    # Without this a power cut after the rename could leave an empty file under the final name.
    handle = os.open(work, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move(work: Path, path: Path, target: str | Path, overwrite: bool) -> None:
    try:
        if overwrite:
            os.replace(work, path)
            return
        try:
            os.link(work, path)  # unlike rename, a link never replaces what came meanwhile
        except FileExistsError:
            raise _exists(target) from None
        except OSError:  # a file system without hard links
            if path.exists():
                raise _exists(target) from None
            os.replace(work, path)
    except OSError as error:
        raise _unwritable(target, error) from error


def _exists(target: str | Path) -> AvccError:
    return AvccError(f"{target} exists already and is left as it is")


def _unwritable(target: str | Path, error: OSError) -> AvccError:
    return AvccError(f"{target} can't be written: {(error.strerror or str(error)).lower()}")
